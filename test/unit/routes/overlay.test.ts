// What the kernel of a node is told of the overlay: networks, nodes and where each address is.
import { expect, test } from 'vitest'
import { nodesOnLoopback, overlay } from '../../../agent/core/routes/overlay.ts'
import type { Liveness, View } from '../../../agent/core/view.ts'
import type { TaskValue } from '../../../protocol/model.ts'
import { type TaskIs, view } from './builders.ts'

const created = { ms: 1, counter: 0, node: 'n1' }

/** Networks `net` and `ingress`; every node runs the linux data plane, but for those named. */
function seen(
  tasks: readonly TaskIs[],
  members: Readonly<Record<string, Liveness>>,
  userspace: readonly string[] = [],
) {
  const plain = view({ tasks, members })
  for (const [id, { record }] of plain.members) {
    const dataplane = userspace.includes(id) ? 'userspace' : 'linux'
    Object.assign(record.value, { dataplane, addresses: [`192.0.2.${id.slice(1)}`] })
  }
  const networks: View['networks'] = new Map(
    ['net', 'ingress'].map((id, i) => {
      const value = { spec: { Name: id }, created, subnet: `10.${i}.0.0/16`, gateway: `10.${i}.0.1` }
      return [id, { id, value, version: created, author: { node: 'n1', log: 'l' } }]
    }),
  )
  return overlay({ ...plain, networks })
}

const on = (id: string, node: string, address: string, task: Partial<TaskValue> = {}): TaskIs => ({
  id,
  node,
  task: { addresses: [{ network: 'net', address }], ...task },
})
const all = { n1: 'alive', n2: 'alive', n3: 'alive' } as const

test('a node that forwards in user space is told nothing', () => {
  expect(seen([], all, ['n1'])).toBeUndefined()
})

test('a node carries ingress and the networks of its own tasks, and knows of every address on these', () => {
  const tasks = [on('a', 'n1', '10.0.64.1'), on('b', 'n2', '10.0.64.2')]
  expect(seen(tasks, all)).toMatchObject({
    networks: [{ id: 'ingress' }, { id: 'net' }],
    nodes: [{ node: 'n2', address: '192.0.2.2' }, { node: 'n3' }],
    places: [
      { address: '10.0.64.1', task: 'a', node: 'n1' },
      { address: '10.0.64.2', task: 'b', node: 'n2' },
    ],
  })
  expect(seen(tasks.slice(1), all)).toMatchObject({ networks: [{ id: 'ingress' }], places: [] })
})

test('the way to a node does not end with its agent, only when it has left', () => {
  const tasks = [on('a', 'n1', '10.0.64.1'), on('b', 'n2', '10.0.64.2')]
  const tasksOf = (liveness: Liveness) => seen(tasks, { n1: 'alive', n2: liveness })?.places.map(({ task }) => task)
  expect(tasksOf('dead')).toEqual(['a', 'b'])
  expect(tasksOf('left')).toEqual(['a'])
  expect(seen(tasks, { n1: 'alive', n2: 'dead' })?.nodes).toMatchObject([{ node: 'n2' }])
  expect(seen(tasks, { n1: 'alive', n2: 'left' })?.nodes).toEqual([])
})

test('a node whose address is a loopback one is no place to send to', () => {
  const plain = view({ tasks: [], members: all })
  for (const [id, address] of [
    ['n1', '192.0.2.1'],
    ['n2', '127.0.0.2'],
    ['n3', '192.0.2.3'],
  ] as const)
    Object.assign(plain.members.get(id)!.record.value, { dataplane: 'linux', addresses: [address] })
  expect(overlay(plain)?.nodes.map(({ node }) => node)).toEqual(['n3'])
  expect(nodesOnLoopback(plain)).toEqual(['n2'])
})

test('a task that ended, or whose node has rebooted, is nowhere', () => {
  const gone = [on('b', 'n2', '10.0.64.2', { state: 'failed' }), on('c', 'n2', '10.0.64.3', { boot: 'earlier' })]
  expect(seen([on('a', 'n1', '10.0.64.1'), ...gone], all)?.places.map(({ task }) => task)).toEqual(['a'])
})

test('the place of a guest is known while it has an address, and its network is here where it is', () => {
  const guest = (id: string, node: string, address?: string) => {
    const value = {
      network: 'net',
      node,
      boot: `boot-${node}`,
      created,
      container: id,
      name: id,
      aliases: [],
      alone: false,
    }
    const stamp = { version: created, author: { node, log: 'l' } }
    return [id, { id, value: address === undefined ? value : { ...value, address }, ...stamp }] as const
  }
  const value = { spec: { Name: 'net' }, created, subnet: '10.0.0.0/16', gateway: '10.0.0.1' }
  const network = { id: 'net', value, version: created, author: { node: 'n1', log: 'l' } }
  const plain = view({ tasks: [], members: all })
  for (const [id, { record }] of plain.members)
    Object.assign(record.value, { dataplane: 'linux', addresses: [`192.0.2.${id.slice(1)}`] })
  const guests = new Map([guest('g1', 'n1', '10.0.64.1'), guest('g2', 'n2', '10.0.64.2'), guest('g3', 'n2')])
  const known = { ...plain, guests, networks: new Map([['net', network]]) }
  expect(overlay(known)?.places.map(({ task }) => task)).toEqual(['g1', 'g2'])
  expect(overlay(known)?.networks.map(({ id }) => id)).toEqual(['net'])
  guests.delete('g1')
  expect(overlay(known)?.networks).toEqual([])
})

test('an address that a task of a dead node still claims is the live one that has it now', () => {
  const tasks = [on('a', 'n1', '10.0.64.1'), on('b', 'n2', '10.0.64.2'), on('c', 'n3', '10.0.64.2')]
  const members = { n1: 'alive', n2: 'dead', n3: 'alive' } as const
  expect(seen(tasks, members)?.places.map(({ task }) => task)).toEqual(['a', 'c'])
  expect(seen([...tasks].reverse(), members)?.places.map(({ task }) => task)).toEqual(['a', 'c'])
})

test('texts of records that are no addresses do not come out: they would become words for programs of root', () => {
  const bad = '10.0.64.9\nlink delete dev eth0'
  const tasks = [on('a', 'n1', '10.0.64.1'), on('b', 'n2', bad), on('c', 'n2', '10.0.64.07')]
  expect(seen(tasks, all)?.places.map(({ task }) => task)).toEqual(['a'])
  expect(networkWith({ gateway: '10.0.0.1; reboot' })).toEqual([])
  expect(networkWith({ subnet: '10.0.0.0/16; reboot' })).toEqual([])
  expect(networkWith({})).toEqual(['net'])

  function networkWith(change: { gateway?: string; subnet?: string }) {
    const value = { spec: { Name: 'net' }, created, subnet: '10.0.0.0/16', gateway: '10.0.0.1', ...change }
    const network = { id: 'net', value, version: created, author: { node: 'n1', log: 'l' } }
    const plain = view({ tasks: tasks.slice(0, 1), members: { n1: 'alive' } })
    Object.assign(plain.members.get('n1')!.record.value, { dataplane: 'linux', addresses: ['192.0.2.1'] })
    return overlay({ ...plain, networks: new Map([['net', network]]) })?.networks.map(({ id }) => id)
  }
})

test('a node that told its key of WireGuard is known by it, in base64', () => {
  const plain = view({ tasks: [], members: all })
  for (const [id, { record }] of plain.members)
    Object.assign(record.value, { dataplane: 'linux', addresses: [`192.0.2.${id.slice(1)}`] })
  Object.assign(plain.members.get('n2')!.record.value, {
    wireguard: { key: new Uint8Array(32).fill(255), port: 51_820 },
  })
  const key = Buffer.alloc(32, 255).toString('base64')
  expect(overlay(plain)?.nodes.map(({ wireguard }) => wireguard)).toEqual([{ key, port: 51_820 }, undefined])
})
