// Which endpoints are in the forwarding table, and where.
import { expect, test } from 'vitest'
import { routes } from '../../../agent/core/routes/routes.ts'
import { service, type TaskIs, view } from './builders.ts'

const names = (tasks: readonly TaskIs[], members?: Parameters<typeof view>[0]['members']) =>
  routes(view({ tasks, ...(members === undefined ? {} : { members }) })).published[0]!.backends.map((b) => b.task)

test('a published port leads to the running tasks of its service, on every node', () => {
  const tasks = [
    { id: 't2', node: 'n2' },
    { id: 't1', node: 'n1' },
  ]
  const table = routes(view({ tasks }))
  expect(table.published).toMatchObject([{ protocol: 'tcp', port: 8080, target: 80, mode: 'ingress', service: 's1' }])
  expect(table.published[0]!.backends.map((b) => [b.task, b.local])).toEqual([
    ['t1', true],
    ['t2', false],
  ])
})

test.for<readonly [string, Partial<TaskIs>]>([
  ['a task that has ended', { task: { state: 'failed' } }],
  ['a task that is only starting', { task: { state: 'starting' } }],
  ['a task that its node stops', { task: { stopping: true } }],
  ['a draining endpoint', { endpoint: { draining: true } }],
  ['a task of an earlier boot of its node', { task: { boot: 'old' }, endpoint: { boot: 'old' } }],
  ['an endpoint of an earlier boot', { endpoint: { boot: 'old' } }],
])('%s gets no new flow', ([, is]) => {
  expect(
    names([
      { id: 't1', node: 'n1' },
      { id: 't2', node: 'n2', ...is },
    ]),
  ).toEqual(['t1'])
})

test('the endpoints of a dead node are gone, those of a suspect one are marked', () => {
  const tasks = [
    { id: 't1', node: 'n1' },
    { id: 't2', node: 'n2' },
    { id: 't3', node: 'n3' },
  ]
  const table = routes(view({ tasks, members: { n1: 'alive', n2: 'suspect', n3: 'dead' } }))
  expect(table.published[0]!.backends.map((b) => [b.task, b.suspect])).toEqual([
    ['t1', false],
    ['t2', true],
  ])
})

test.each(['outOfReach', 'stale'] as const)(
  'the endpoints of a node that lives, but is %s, are marked like those of a suspect one',
  (doubt) => {
    const tasks = [
      { id: 't1', node: 'n2' },
      { id: 't2', node: 'n3' },
    ]
    const table = routes(view({ tasks, members: { n1: 'alive', n2: 'alive', n3: 'alive' }, [doubt]: ['n2'] }))
    expect(table.published[0]!.backends.map((b) => [b.task, b.suspect])).toEqual([
      ['t1', true],
      ['t2', false],
    ])
  },
)

test('an unready endpoint is marked unhealthy, not left out', () => {
  const table = routes(view({ tasks: [{ id: 't1', node: 'n1', endpoint: { ready: false } }] }))
  expect(table.published[0]!.backends).toMatchObject([{ task: 't1', healthy: false }])
})

test('a service in conflict is not published; the earlier one keeps the port', () => {
  const services = [service('s1', { createdMs: 2 }), service('s2', { createdMs: 1 })]
  expect(routes(view({ services })).published.map((r) => r.service)).toEqual(['s2'])
})

test('a host-mode port leads to tasks of this node only, and exists only where there is one', () => {
  const services = [service('s1', { ports: [{ protocol: 'tcp', target: 80, published: 8080, mode: 'host' }] })]
  const tasks = [
    { id: 't1', node: 'n1' },
    { id: 't2', node: 'n2' },
  ]
  const members = { n1: 'alive', n2: 'alive', n3: 'alive' } as const
  expect(routes(view({ services, tasks, members })).published[0]!.backends.map((b) => b.task)).toEqual(['t1'])
  expect(routes(view({ services, tasks, members, self: 'n3' })).published).toEqual([])
})

test('services and tasks of a network are routed where one of its tasks runs, and nowhere else', () => {
  const services = [service('s1', { networks: ['net1'], labels: { 'grapevine.affinity': 'client-ip' } })]
  const tasks = [
    { id: 't1', node: 'n1', networks: ['ingress', 'net1'] },
    { id: 't2', node: 'n2', networks: ['net1'] },
  ]
  const members = { n1: 'alive', n2: 'alive', n3: 'alive' } as const
  const here = routes(view({ services, tasks, members }))
  expect(here.services).toMatchObject([
    {
      network: 'net1',
      service: 's1',
      vip: '10.0.0.2',
      ports: [{ protocol: 'tcp', target: 80 }],
      options: { affinity: 'client-ip', proxyProtocol: false },
    },
  ])
  expect(here.tasks.map((t) => [t.network, t.task])).toEqual([
    ['net1', 't1'],
    ['net1', 't2'],
  ])
  const elsewhere = routes(view({ services, tasks, members, self: 'n3' }))
  expect([elsewhere.services, elsewhere.tasks]).toEqual([[], []])
})

test('ports a service only exposes are open inside its networks', () => {
  const services = [service('s1', { networks: ['net1'], ports: [], labels: { 'grapevine.expose': '5432,53/udp' } })]
  const tasks = [{ id: 't1', node: 'n1', networks: ['net1'], endpoint: { ports: [] } }]
  expect(routes(view({ services, tasks })).services[0]!.ports).toEqual([
    { protocol: 'tcp', target: 5432 },
    { protocol: 'udp', target: 53 },
  ])
})

test('the order in which records came does not show in the table', () => {
  const tasks = ['t3', 't1', 't2'].map((id) => ({ id, node: 'n1', networks: ['ingress', 'net1'] }))
  const services = [service('s2', { networks: ['net1'], ports: [] }), service('s1', { networks: ['net1'] })]
  const one = routes(view({ services, tasks }))
  const other = routes(view({ services: services.toReversed(), tasks: tasks.toReversed() }))
  expect(other).toEqual(one)
})
