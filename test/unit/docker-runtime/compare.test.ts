// What is there against what is known, with an engine that is a list: nothing that runs is taken for ended, and nothing of nobody stays.
import type Docker from 'dockerode'
import { beforeEach, expect, test } from 'vitest'
import { compare } from '../../../agent/runtime/docker/adoption.ts'
import { label } from '../../../agent/runtime/docker/labels.ts'
import type { Entry, Known } from '../../../agent/runtime/docker/tasks.ts'

let there: { readonly Id: string; readonly State: string; readonly Labels: Readonly<Record<string, string>> }[]
let onList: () => void
let known: Known
let ended: string[]
let lost: string[]

beforeEach(() => {
  there = []
  onList = () => {}
  ended = []
  lost = []
  const docker = {
    async listContainers() {
      const found = [...there]
      onList()
      return found
    },
    getContainer: (id: string) => ({
      async remove() {
        there = there.filter(({ Id }) => Id !== id)
      },
    }),
  }
  known = {
    ...{ node: 'n', engine: { docker: docker as unknown as Docker, arch: 'amd64', version: '1' } },
    ...{ entries: new Map(), sandboxes: new Map(), starting: new Set() },
  }
})

/** A task with both of its containers, in this state. */
function add(task: string, { state = 'running', isStarted = true } = {}): void {
  for (const [Id, role] of [
    [`${task}-net`, 'net'],
    [`${task}-own`, 'task'],
  ] as const)
    there.push({
      Id,
      State: Id.endsWith('net') ? 'running' : state,
      Labels: { [label.task]: task, [label.role]: role },
    })
  known.sandboxes.set(task, `${task}-net`)
  const entry = { task, container: `${task}-own`, isStarted, isDead: false, onEnd: new Set<() => void>() }
  known.entries.set(task, entry as unknown as Entry)
}

async function look(): Promise<void> {
  await compare(known, {
    ended: async ({ task }) => void ended.push(task),
    lost: ({ task }) => void lost.push(task),
  })
}

const left = () => there.map(({ Id }) => Id)

test('a task whose end nobody heard of has ended, and one whose sandbox is gone is lost', async () => {
  add('a', { state: 'exited' })
  add('b')
  there = there.filter(({ Id }) => Id !== 'b-net')
  await look()
  expect([ended, lost]).toEqual([['a'], ['b']])
})

test('what somebody paused, and what started while the list was on its way, has not ended', async () => {
  add('a', { state: 'paused' })
  onList = () => add('b')
  await look()
  expect([ended, lost, left()]).toEqual([[], [], ['a-net', 'a-own', 'b-net', 'b-own']])
})

test('containers of no known task are removed, but for those that are just being made', async () => {
  add('a')
  add('late', { state: 'created' })
  known.entries.delete('late')
  known.sandboxes.delete('late')
  add('begun', { state: 'created', isStarted: false })
  known.entries.get('begun')!.container = ''
  there.push({ Id: 'new-net', State: 'created', Labels: { [label.task]: 'new', [label.role]: 'net' } })
  known.starting.add('new')
  await look()
  expect([left(), ended, lost]).toEqual([['a-net', 'a-own', 'begun-net', 'begun-own', 'new-net'], [], []])
})
