// place(): where each slot runs. Tables for the filters, laws for what every node must agree on.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { claimOrder, type Placement, place } from '../../../agent/core/placement/place.ts'
import type { Member, Stamped, View } from '../../../agent/core/view.ts'
import type { ServiceValue, TaskValue } from '../../../protocol/model.ts'
import { at, member, network, service, task, type ViewParts, view } from './build.ts'

const nodes = (n: number) => Array.from({ length: n }, (_, i) => member(`n${i + 1}`))

function whereabouts(placement: Placement, id: string): readonly (string | undefined)[] {
  return (placement.services.get(id) ?? []).map(({ node }) => node)
}

/** How many slots each node has, sorted. */
function counts(placement: Placement, id: string, members: readonly Member[]): readonly number[] {
  return members.map((m) => whereabouts(placement, id).filter((node) => node === m.id).length).sort((a, b) => a - b)
}

/** The view once everybody did what place() says. */
function settle(parts: ViewParts, generation = 0): View {
  const first = place(view(parts), 0)
  const tasks: Stamped<TaskValue>[] = [...(parts.tasks ?? [])]
  for (const [id, plans] of first.services) {
    const of = parts.services?.find((s) => s.id === id) as Stamped<ServiceValue>
    for (const plan of plans) {
      if (plan.task !== undefined || plan.node === undefined) continue
      tasks.push(task(`${id}-${plan.slot}-${generation}`, of, { slot: plan.slot, node: plan.node }))
    }
  }
  return view({ ...parts, tasks })
}

test('place() gives n nodes counts that differ by at most one', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 0, max: 40 }), (n, replicas) => {
      const members = nodes(n)
      const result = counts(place(view({ members, services: [service('web', { replicas })] }), 0), 'web', members)
      expect((result.at(-1) ?? 0) - (result[0] ?? 0)).toBeLessThanOrEqual(1)
      expect(result.reduce((a, b) => a + b, 0)).toBe(replicas)
    }),
  )
})

test('place() answers alike for equal views, whatever order their maps are in', () => {
  fc.assert(
    fc.property(arbitraryParts(), fc.infiniteStream(fc.nat()), (parts, chance) => {
      const shuffled: ViewParts = {
        ...parts,
        self: 'n1',
        members: shuffle(parts.members ?? [], chance),
        services: shuffle(parts.services ?? [], chance),
        tasks: shuffle(parts.tasks ?? [], chance),
      }
      const [a, b] = [place(view(parts), 50), place(view(shuffled), 50)]
      expect([...b.services]).toEqual([...a.services])
      expect([...b.load].sort()).toEqual([...a.load].sort())
    }),
  )
})

test('place() moves only the slots of the node that left', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 8 }), fc.integer({ min: 1, max: 20 }), (n, replicas) => {
      const services = [service('a', { replicas }), service('b', { replicas: 3, created: at(1) })]
      const before = settle({ members: nodes(n), services })
      const members = nodes(n).map((m) => (m.id === 'n2' ? member('n2', { liveness: 'dead' }) : m))
      const after = place(view({ members, services, tasks: [...before.tasks.values()] }), 0)
      for (const [id, plans] of place(before, 0).services) {
        plans.forEach((plan, i) => {
          const now = after.services.get(id)?.[i]
          if (plan.node === 'n2') expect(now?.node).not.toBe('n2')
          else expect(now).toMatchObject({ slot: plan.slot, node: plan.node, task: plan.task })
        })
      }
    }),
  )
})

test('place() finds nothing more to do once everybody did what it says', () => {
  const settled = settle({
    members: nodes(5),
    services: [service('a', { replicas: 7 }), service('b', { replicas: 'global' })],
  })
  for (const plans of place(settled, 0).services.values()) {
    for (const plan of plans)
      expect(plan).toMatchObject({ task: expect.any(String), leave: undefined, replaces: undefined })
  }
})

test('one slot of many services spreads over the nodes', () => {
  const members = nodes(4)
  const services = Array.from({ length: 100 }, (_, i) => service(`s${i}`, { created: at(i) }))
  const { load } = place(view({ members, services }), 0)
  expect([...load.values()]).toEqual([25, 25, 25, 25])
})

test.for<[string, Member, string]>([
  ['is drained', member('n1', { availability: 'drain' }), 'no suitable node (1 node not available for new tasks)'],
  ['is paused', member('n1', { availability: 'pause' }), 'no suitable node (1 node not available for new tasks)'],
  [
    'lacks memory',
    member('n1', { value: { resources: { nanoCpus: 1e9, memoryBytes: 1 } } }),
    'no suitable node (insufficient resources on 1 node)',
  ],
  ['lacks the label', member('n1'), 'no suitable node (scheduling constraints not satisfied on 1 node)'],
  ['is dead', member('n1', { liveness: 'dead' }), 'no suitable node'],
  [
    'is another platform',
    member('n1', { labels: { disk: 'ssd' }, value: { platform: { os: 'linux', arch: 'arm64' } } }),
    'no suitable node (unsupported platform on 1 node)',
  ],
])('a slot is placed nowhere when the only node %s, and says so', ([, only, why]) => {
  const asked = service('db', {
    template: {
      Placement: { Constraints: ['node.labels.disk == ssd'], Platforms: [{ OS: 'linux', Architecture: 'x86_64' }] },
      Resources: { Reservations: { MemoryBytes: 100 } },
    },
  })
  const [plan] = place(view({ members: [only], services: [asked] }), 0).services.get('db') ?? []
  expect(plan).toMatchObject({ node: undefined, why })
})

const rejected = { state: 'rejected', retryAtMs: 5_000, error: 'program not found: nosuch' } as const

test('an update to what runs nowhere stops at its first slot, and the others serve on', () => {
  const web = service('web', { replicas: 2, generation: 2 })
  const [only] = nodes(1) as [Member]
  const old = task('web-2-1', web, { slot: '2', node: 'n1', template: 'old' })
  const tried = task('web-1-2', web, { slot: '1', node: 'n1', created: at(2), updates: true, ...rejected })
  const plans = place(view({ members: [only], services: [web], tasks: [tried, old] }), 10).services.get('web')
  expect(plans).toMatchObject([
    { slot: '1', node: undefined },
    { slot: '2', task: 'web-2-1', node: 'n1', leave: undefined },
  ])
})

test('a slot that was empty before the update holds up nobody', () => {
  const web = service('web', { replicas: 2, generation: 2 })
  const [only] = nodes(1) as [Member]
  const old = task('web-2-1', web, { slot: '2', node: 'n1', template: 'old' })
  const tried = task('web-1-2', web, { slot: '1', node: 'n1', created: at(2), ...rejected })
  const plans = place(view({ members: [only], services: [web], tasks: [tried, old] }), 10).services.get('web')
  expect(plans).toMatchObject([
    { slot: '1', node: undefined },
    { slot: '2', leave: 'it is updated' },
  ])
})

test('a start-first update to what runs nowhere keeps every old task', () => {
  const web = service('web', { replicas: 1, generation: 2, order: 'start-first' })
  const [only] = nodes(1) as [Member]
  const old = task('web-1-1', web, { slot: '1', node: 'n1', template: 'old' })
  const tried = task('web-1-2', web, { slot: '1', node: 'n1', created: at(2), replaces: 'web-1-1', ...rejected })
  const plans = place(view({ members: [only], services: [web], tasks: [tried, old] }), 10).services.get('web')
  expect(plans).toMatchObject([{ slot: '1', task: 'web-1-1', node: 'n1', leave: undefined }])
})

test('max replicas per node leaves the rest pending until a node joins', () => {
  const services = [service('web', { replicas: 5, template: { Placement: { MaxReplicas: 2 } } })]
  const two = place(view({ members: nodes(2), services }), 0)
  expect(whereabouts(two, 'web').filter((node) => node === undefined)).toHaveLength(1)
  expect(two.services.get('web')?.at(-1)?.why).toBe('no suitable node (max replicas per node limit exceed on 2 nodes)')
  expect(whereabouts(place(view({ members: nodes(3), services }), 0), 'web')).not.toContain(undefined)
})

test('tasks with the same host-mode port never share a node', () => {
  const ports = [{ protocol: 'tcp', target: 80, published: 80, mode: 'host' }] as const
  const services = [
    service('a', { ports: [...ports], replicas: 2 }),
    service('b', { ports: [...ports], created: at(1) }),
  ]
  const result = place(view({ members: nodes(2), services }), 0)
  expect([...whereabouts(result, 'a')].sort()).toEqual(['n1', 'n2'])
  expect(result.services.get('b')?.[0]?.why).toBe('no suitable node (host-mode port already in use on 2 nodes)')
})

test('memory that is reserved is not given twice, and running tasks have theirs before new ones', () => {
  const members = [member('n1', { value: { resources: { nanoCpus: 1e9, memoryBytes: 100 } } })]
  const reserve = (MemoryBytes: number) => ({ Resources: { Reservations: { MemoryBytes } } })
  const old = service('old', { created: at(1), template: reserve(60) })
  const late = service('late', { created: at(2), template: reserve(60) })
  const tasks = [task('t', late, { slot: '1', node: 'n1' })]
  const result = place(view({ members, services: [old, late], tasks }), 0)
  expect(whereabouts(result, 'late')).toEqual(['n1'])
  expect(result.services.get('old')?.[0]?.why).toBe('no suitable node (insufficient resources on 1 node)')
})

test('a spread preference evens out the branches, also where one has more nodes', () => {
  const members = ['n1', 'n2', 'n3'].map((id) => member(id, { labels: { zone: id === 'n3' ? 'b' : 'a' } }))
  const preferences = [{ Spread: { SpreadDescriptor: 'node.labels.zone' } }]
  const services = [service('web', { replicas: 6, template: { Placement: { Preferences: preferences } } })]
  expect(whereabouts(place(view({ members, services }), 0), 'web').filter((node) => node === 'n3')).toHaveLength(3)
})

test('a node on which the template failed five times in five minutes is the last choice, and no more after that', () => {
  const web = service('web', { replicas: 1 })
  const failed = Array.from({ length: 5 }, (_, i) =>
    task(`f${i}`, web, { slot: '9', node: 'n1', state: 'failed', stateMs: 1000 }),
  )
  const busy = service('busy', { created: at(-1) })
  const load = [task('b', busy, { slot: '1', node: 'n2' })]
  const parts = { members: nodes(2), services: [busy, web], tasks: [...failed, ...load] }
  const node = (nowMs: number) => {
    const plans = place(view({ ...parts }), nowMs).services.get('web')
    return plans?.[0]?.node
  }
  expect(node(10_000)).toBe('n2')
  expect(node(400_000)).toBe('n1')
})

test('a rejection keeps its node out until it expires, and its reason is told', () => {
  const web = service('web')
  const tasks = [
    task('r', web, { slot: '1', node: 'n1', state: 'rejected', retryAtMs: 5_000, error: 'no program "web"' }),
  ]
  const parts = { members: nodes(1), services: [web], tasks }
  expect(place(view(parts), 4_999).services.get('web')?.[0]?.why).toBe(
    'no suitable node (rejected on 1 node: no program "web")',
  )
  expect(whereabouts(place(view(parts), 5_000), 'web')).toEqual(['n1'])
})

test('of two tasks in one slot the newer generation holds it, then the earlier creation', () => {
  const web = service('web', { generation: 2 })
  const holder = (tasks: readonly Stamped<TaskValue>[]) =>
    place(view({ members: nodes(2), services: [web], tasks }), 0).services.get('web')?.[0]?.task
  const a = task('a', web, { slot: '1', node: 'n1', created: at(5) })
  const b = task('b', web, { slot: '1', node: 'n2', created: at(4) })
  expect(holder([a, b])).toBe('b')
  expect(holder([a, { ...b, value: { ...b.value, generation: 1 } }])).toBe('a')
})

test('services in conflict, and those on networks in conflict, are not placed', () => {
  const networks = [network('net', '10.0.1.0/24', at(1)), network('clash', '10.0.1.0/25', at(2))]
  const services = [
    service('web', { created: at(1) }),
    service('later', { name: 'web', created: at(2) }),
    service('inner', { networks: ['clash'], created: at(3) }),
    service('lost', { networks: ['gone'], created: at(4) }),
  ]
  const { barred, services: placed } = place(view({ members: nodes(1), services, networks }), 0)
  expect([...placed.keys()]).toEqual(['web'])
  expect(Object.fromEntries(barred)).toEqual({
    later: 'name "web" belongs to an earlier service',
    inner: 'its network is in conflict: subnet 10.0.1.0/25 overlaps with that of network "net", which is older',
    lost: 'network gone does not exist',
  })
})

test('of the nodes that may claim an empty slot each has its own turn', () => {
  const members = nodes(6)
  const [plan] = place(view({ members, services: [service('web')] }), 0).services.get('web') ?? []
  if (plan === undefined) throw new Error('no plan')
  expect(members.map(({ id }) => claimOrder(plan, id)).sort()).toEqual([0, 1, 2, 3, 4, 5])
  expect(claimOrder(plan, 'stranger')).toBe(-1)
})

test('1,000 services with 5,000 tasks on 50 nodes are placed in little CPU time', () => {
  const members = nodes(50)
  const services = Array.from({ length: 1000 }, (_, i) => service(`s${i}`, { replicas: 5, created: at(i) }))
  const settled = settle({ members, services })
  // CPU time, not the clock: other work on the machine is not ours. 100 ms: ten times what it takes on an idle core.
  const timesMs = Array.from({ length: 5 }, (_, i) => {
    const fresh = { ...settled, revision: i + 2 }
    const before = process.cpuUsage()
    place(fresh, 0)
    return process.cpuUsage(before).user / 1000
  })
  expect(Math.min(...timesMs)).toBeLessThan(100)
})

function arbitraryParts(): fc.Arbitrary<ViewParts> {
  const slotTask = fc.record({
    slot: fc.integer({ min: 1, max: 6 }),
    node: fc.integer({ min: 1, max: 5 }),
    ms: fc.nat(3),
    generation: fc.integer({ min: 1, max: 2 }),
    state: fc.constantFrom('assigned', 'starting', 'running', 'failed', 'shutdown', 'rejected') as fc.Arbitrary<
      TaskValue['state']
    >,
    stopping: fc.boolean(),
    stale: fc.boolean(),
  })
  return fc
    .record({
      replicas: fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 1, maxLength: 4 }),
      availability: fc.array(fc.constantFrom('active', 'active', 'drain', 'pause'), { minLength: 5, maxLength: 5 }),
      tasks: fc.array(slotTask, { maxLength: 20 }),
      order: fc.constantFrom('start-first', 'stop-first'),
    })
    .map(({ replicas, availability, tasks, order }) => {
      const members = availability.map((a, i) => member(`n${i + 1}`, { availability: a as 'active' }))
      const services = replicas.map((r, i) =>
        service(`s${i}`, { replicas: r, order: order as 'start-first', created: at(i % 2) }),
      )
      const made = tasks.map((t, i) => {
        const of = services[i % services.length] as Stamped<ServiceValue>
        const { slot, node, ms, generation, state, stopping, stale } = t
        const built = task(`t${i}`, of, {
          slot: String(slot),
          node: `n${node}`,
          created: at(ms),
          generation,
          state,
          stopping,
        })
        return stale ? { ...built, value: { ...built.value, template: 'old' } } : built
      })
      return { self: 'n1', members, services, tasks: made }
    })
}

function shuffle<T>(items: readonly T[], chance: fc.Stream<number>): readonly T[] {
  const left = [...items]
  const result: T[] = []
  while (left.length > 0) result.push(...left.splice((chance.next().value as number) % left.length, 1))
  return result
}
