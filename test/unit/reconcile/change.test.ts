// What changes on request: scale, update, drain, labels, removal. Each on several nodes and virtual time.
import { expect, test } from 'vitest'
import { FakeWorld } from './world.ts'

const web = { target: 80, published: 8080, protocol: 'tcp', mode: 'ingress' } as const

test('scaling down takes from the node with most copies and leaves the rest untouched', async () => {
  const world = await new FakeWorld(['n1', 'n2', 'n3']).start()
  world.createService('web', { replicas: 5, ports: [web] })
  await world.until(() => world.servingOf('web').length === 5)
  const before = world.runningOf('web')
  world.createService('web', { replicas: 2, ports: [web] })
  await world.until(() => world.runningOf('web').length === 2)
  const after = world.runningOf('web')
  expect(after.every((a) => before.some((b) => b.task === a.task))).toBe(true)
  expect(new Set(after.map(({ node }) => node)).size).toBe(2)
  await world.run(3_000)
  expect(world.starts).toHaveLength(5)
  world.createService('web', { replicas: 4, ports: [web] })
  await world.until(() => world.servingOf('web').length === 4)
  expect(world.runningOf('web').filter((a) => after.some((b) => b.task === a.task))).toHaveLength(2)
})

test('an update replaces one slot after another, each healthy before the next', async () => {
  const world = await new FakeWorld(['n1', 'n2', 'n3']).start()
  world.createService('web', { replicas: 3, ports: [web] })
  await world.until(() => world.servingOf('web').length === 3)
  let fewest = 3
  world.createService('web', { replicas: 3, ports: [web], generation: 2, container: { Env: ['V=2'] } })
  const isNew = () =>
    world.runningOf('web').every(({ task }) => world.starts.findIndex((s) => s.plan.task === task) >= 3)
  await world.until(() => {
    fewest = Math.min(fewest, world.servingOf('web').filter(({ value }) => value.stopping !== true).length)
    return isNew() && world.servingOf('web').length === 3
  })
  expect(fewest).toBe(2)
  expect(world.starts).toHaveLength(6)
})

test('a start-first update never has fewer than all serving, and a drained task stops only when every node has applied that', async () => {
  const world = await new FakeWorld(['n1', 'n2', 'n3']).start()
  const options = { replicas: 3, ports: [web], order: 'start-first' as const }
  world.createService('web', options)
  await world.until(() => world.servingOf('web').length === 3)
  let fewest = 3
  world.createService('web', { ...options, generation: 2, container: { Env: ['V=2'] } })
  await world.until(() => {
    const ready = [...(world.node('n1').view.endpoints.get('ingress')?.values() ?? [])]
    fewest = Math.min(fewest, ready.filter(({ value }) => value.ready && !value.draining).length)
    return world.stops.length === 3 && world.servingOf('web').length === 3
  })
  expect(fewest).toBe(3)
  expect(world.starts).toHaveLength(6)
  const ended = [...world.node('n1').view.tasks.values()].filter(({ value }) => value.state === 'shutdown')
  expect(ended).toHaveLength(3)
  expect(ended.every(({ value }) => value.drainMissing === undefined)).toBe(true)
})

test('who is back while a task drains is asked too, before the task is stopped', async () => {
  const world = await new FakeWorld(['n1', 'n2', 'n3']).start()
  world.createService('web', { replicas: 1, ports: [web] })
  await world.until(() => world.servingOf('web').length === 1)
  const { node: host, task } = world.runningOf('web')[0]!
  const [asker, away] = ['n1', 'n2', 'n3'].filter((id) => id !== host) as [string, string]
  world.cut([away], [host, asker])
  await world.run(1_000)
  // What is under way keeps it for two seconds.
  world.flows.set(task, () => 1)
  const changed = { replicas: 1, ports: [web], generation: 2, container: { Env: ['V=2'] } }
  world.createService('web', changed, world.node(asker))
  await world.until(() => world.node(host).view.tasks.get(task)?.value.stopping === true)
  await world.run(1_000)
  expect(world.stops).toEqual([])
  // It is believed in again and cannot be asked yet: who does not confirm is named.
  world.setLiveness(world.node(host), away, 'alive')
  await world.until(() => world.stops.length === 1)
  await world.run(100)
  expect(world.node(host).view.tasks.get(task)?.value.drainMissing).toEqual([away])
})

test('an update whose tasks never become healthy stops at the first slot', async () => {
  const world = await new FakeWorld(['n1', 'n2', 'n3']).start()
  world.createService('web', { replicas: 3, ports: [web] })
  await world.until(() => world.servingOf('web').length === 3)
  world.programs.set('bad', { ends: { afterMs: 10, code: 1 } })
  world.createService('web', { replicas: 3, ports: [web], generation: 2, container: { Image: 'bad' } })
  await world.run(30_000)
  expect(world.servingOf('web')).toHaveLength(2)
})

test('a change of labels restarts nothing', async () => {
  const world = await new FakeWorld(['n1', 'n2']).start()
  world.createService('web', { replicas: 2 })
  await world.until(() => world.servingOf('web').length === 2)
  world.createService('web', { replicas: 2, labels: { tier: 'front' }, generation: 1 })
  await world.run(5_000)
  expect(world.starts).toHaveLength(2)
})

test('a drained node gives up its tasks, a paused one keeps them and gets none', async () => {
  const world = await new FakeWorld(['n1', 'n2', 'n3']).start()
  world.createService('web', { replicas: 3 })
  await world.until(() => world.servingOf('web').length === 3)
  const set = (id: string, Availability: 'drain' | 'pause' | 'active') =>
    world.update(id, (m) => ({ ...m, node: { ...m.node, spec: { ...m.node.spec, Availability } } }))
  set('n2', 'pause')
  set('n1', 'drain')
  await world.until(
    () => world.runningOf('web').every(({ node }) => node !== 'n1') && world.servingOf('web').length === 3,
  )
  expect(
    world
      .runningOf('web')
      .map(({ node }) => node)
      .sort(),
  ).toEqual(['n2', 'n3', 'n3'])
})

test('a task whose node loses the label that it needs is moved', async () => {
  const world = new FakeWorld(['n1', 'n2', 'n3'])
  const label = (id: string, zone: string) =>
    world.update(id, (m) => ({ ...m, node: { ...m.node, spec: { ...m.node.spec, Labels: { zone } } } }))
  label('n1', 'a')
  await world.start()
  world.createService('db', { template: { Placement: { Constraints: ['node.labels.zone==a'] } } })
  await world.until(() => world.runningOf('db')[0]?.node === 'n1')
  label('n3', 'a')
  label('n1', 'b')
  await world.until(() => world.runningOf('db').length === 1 && world.runningOf('db')[0]?.node === 'n3')
})

test('a global service runs on every node, and on one that joins', async () => {
  const world = new FakeWorld(['n1', 'n2', 'n3'])
  world.update('n3', (m) => ({ ...m, liveness: 'dead' }))
  await world.start()
  world.createService('agent', { replicas: 'global' })
  await world.until(() => world.servingOf('agent').length === 2)
  world.update('n3', (m) => ({ ...m, liveness: 'alive' }))
  await world.until(() => world.servingOf('agent').length === 3)
  expect(
    world
      .runningOf('agent')
      .map(({ node }) => node)
      .sort(),
  ).toEqual(['n1', 'n2', 'n3'])
})

test('a removed service leaves no task and no record', async () => {
  const world = await new FakeWorld(['n1', 'n2']).start()
  world.createService('web', { replicas: 3, ports: [web] })
  await world.until(() => world.servingOf('web').length === 3)
  world.write(world.node('n2'), { scope: 'cluster', kind: 'service', id: 'web', value: null })
  await world.until(() => world.runningOf('web').length === 0)
  await world.run(200)
  for (const { view } of world.nodes.values()) {
    expect(view.tasks.size).toBe(0)
    expect(view.endpoints.get('ingress')?.size ?? 0).toBe(0)
  }
})

test('a takeover that never becomes healthy is dropped, and the old task serves on', async () => {
  const world = await new FakeWorld(['n1', 'n2']).start()
  world.createService('web', { ports: [web], order: 'start-first' })
  await world.until(() => world.servingOf('web').length === 1)
  const [old] = world.runningOf('web')
  world.programs.set('slow', { listensAfterMs: 1e9 })
  const update = { ports: [web], order: 'start-first' as const, generation: 2, container: { Image: 'slow' } }
  world.createService('web', update)
  await world.run(59_000)
  expect(world.runningOf('web')).toHaveLength(2)
  await world.run(3_000)
  expect(world.runningOf('web')).toEqual([old])
  expect(world.servingOf('web').map(({ id }) => id)).toEqual([old?.task])
})

test('a task gets its stop signal when what is under way on its flows has ended', async () => {
  const world = await new FakeWorld(['n1', 'n2']).start()
  world.createService('web', { ports: [web] })
  await world.until(() => world.servingOf('web').length === 1)
  let requests = 2
  world.flows.set(world.runningOf('web')[0]?.task ?? '', () => requests)
  world.createService('web', { ports: [web], replicas: 0 })
  await world.run(1_000)
  expect(world.stops).toEqual([])
  requests = 0
  expect(await world.until(() => world.stops.length === 1)).toBeLessThanOrEqual(100)
})

test.for([
  ['2 s', undefined, 2_000],
  ['half its stop grace', 1e9, 500],
] as const)('a flow that never ends delays the stop signal by %s and no more', async ([_, StopGracePeriod, waitMs]) => {
  const world = await new FakeWorld(['n1', 'n2']).start()
  const container = StopGracePeriod === undefined ? {} : { StopGracePeriod }
  world.createService('web', { replicas: 2, ports: [web], container })
  await world.until(() => world.servingOf('web').length === 2)
  const [busy] = world.runningOf('web')
  world.flows.set(busy?.task ?? '', () => 1)
  world.createService('web', { replicas: 0, ports: [web], container })
  await world.until(() => world.stops.length === 2)
  const [first, last] = world.stops
  expect(last?.task).toBe(busy?.task)
  const laterMs = (last?.atMs ?? 0) - (first?.atMs ?? 0)
  expect(laterMs).toBeGreaterThanOrEqual(waitMs)
  expect(laterMs).toBeLessThanOrEqual(waitMs + 100)
})

test('a task is stopped as it was started, whatever its service says since, also when that is gone', async () => {
  const world = await new FakeWorld(['n1', 'n2']).start()
  const container = { StopSignal: 'SIGINT', StopGracePeriod: 3e9 }
  world.createService('web', { container })
  world.createService('other', { container })
  await world.until(() => world.servingOf('web').length + world.servingOf('other').length === 2)
  world.createService('web', { replicas: 0, container: { StopSignal: 'SIGHUP' } })
  world.write(world.node('n1'), { scope: 'cluster', kind: 'service', id: 'other', value: null })
  await world.until(() => world.stops.length === 2)
  for (const { how } of world.stops) expect(how).toEqual({ signal: 'SIGINT', graceMs: 3_000 })
})

test('a task that fails its health check is stopped without regard to its flows', async () => {
  const world = await new FakeWorld(['n1', 'n2']).start()
  let code = 0
  world.programs.set('web', { health: () => code })
  world.createService('web', {
    ports: [web],
    container: { Healthcheck: { Test: ['CMD', 'x'], Interval: 1e9, Retries: 1 } },
  })
  await world.until(() => world.servingOf('web').length === 1)
  world.flows.set(world.runningOf('web')[0]?.task ?? '', () => 1)
  code = 1
  expect(await world.until(() => world.stops.length === 1)).toBeLessThan(1_200)
})

test('an agent that gives way to another of its id ends what it started, leaves what it found, and writes nothing', async () => {
  const world = await new FakeWorld(['n1', 'n2']).start()
  world.createService('found', { replicas: 'global' })
  await world.until(() => world.servingOf('found').length === 2)
  await world.restartAgent('n1')
  world.createService('started', { replicas: 'global' })
  await world.until(() => world.servingOf('started').length === 2)
  const records = JSON.stringify([...world.node('n2').records])
  void world.node('n1').loop.abandon()
  await world.run(2_000)
  expect(world.runningOf('found').map(({ node }) => node)).toEqual(['n1', 'n2'])
  expect(world.runningOf('started').map(({ node }) => node)).toEqual(['n2'])
  expect(JSON.stringify([...world.node('n2').records])).toBe(records)
})
