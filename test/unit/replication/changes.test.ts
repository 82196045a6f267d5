// What a node tells of changes that operators made, here or elsewhere.
import { expect, it } from 'vitest'
import { tellChanges } from '../../../agent/loops/changes.ts'
import type { NodeEvent } from '../../../agent/world.ts'
import { createNet, memberValue, serviceValue, taskValue } from './cluster.ts'

const startedMs = 1_800_000_000_000

it('tells each creation, change and removal once, on every node, and nothing of single tasks', async () => {
  const net = createNet()
  const [a, b] = [await net.add('n1'), await net.add('n2')]
  const told: Omit<NodeEvent, 'atMs'>[] = []
  tellChanges({ view: b.view, events: { emit: (event) => told.push(event) }, startedMs })
  a.view.put({ scope: 'cluster', kind: 'member', id: 'n1', value: memberValue({ name: 'n1' }) })
  a.view.put({ scope: 'cluster', kind: 'task', id: 't1', value: taskValue('n1') })
  for (const value of [serviceValue('web'), serviceValue('web', { generation: 2 }), null]) {
    a.view.put({ scope: 'cluster', kind: 'service', id: 's1', value })
    await net.advance(200)
  }
  expect(told.map(({ type, action, id, name }) => [type, action, id, name])).toEqual([
    ['service', 'create', 's1', 'web'],
    ['service', 'update', 's1', 'web'],
    ['service', 'remove', 's1', 'web'],
  ])
  expect(told[0]!.sentence).toMatch(/^service web was created on \S+$/)
})

it('tells nothing of what was so before the agent began', async () => {
  const net = createNet()
  const [a, b] = [await net.add('n1'), await net.add('n2')]
  const told: unknown[] = []
  tellChanges({ view: b.view, events: { emit: (event) => told.push(event) }, startedMs: startedMs + 60_000 })
  a.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: serviceValue('web') })
  await net.advance(200)
  expect([b.view.services.has('s1'), told]).toEqual([true, []])
})
