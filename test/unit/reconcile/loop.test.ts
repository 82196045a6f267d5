// The reconcile loop in a small world of several nodes: what a cluster promises of its services, on virtual time.
import { expect, test } from 'vitest'
import { FakeWorld } from './world.ts'

const web = { target: 80, published: 8080, protocol: 'tcp', mode: 'ingress' } as const

test('a service of one replica runs once, and its endpoint is written and ready', async () => {
  const world = await new FakeWorld(['n1', 'n2', 'n3']).start()
  world.createService('web', { ports: [web] })
  const ms = await world.until(() => world.servingOf('web').length === 1)
  expect(ms).toBeLessThan(300)
  expect(world.runningOf('web')).toHaveLength(1)
  const [endpoint] = [...(world.node('n2').view.endpoints.get('ingress')?.values() ?? [])]
  expect(endpoint?.value).toMatchObject({ ready: true, draining: false, ports: [{ target: 80 }] })
})

test('the tasks of a dead node run elsewhere at once, without the restart delay, and no others move', async () => {
  const world = await new FakeWorld(['n1', 'n2', 'n3', 'n4', 'n5']).start()
  world.createService('web', { replicas: 5, ports: [web] })
  await world.until(() => world.servingOf('web').length === 5)
  const before = world.runningOf('web')
  expect(new Set(before.map(({ node }) => node)).size).toBe(5)
  world.kill('n3')
  await world.run(300)
  const ms = await world.until(() => world.runningOf('web').length === 5)
  expect(ms).toBeLessThan(300)
  const after = world.runningOf('web')
  expect(after.filter((a) => before.some((b) => b.task === a.task))).toHaveLength(4)
  expect(world.starts).toHaveLength(6)
})

test('a task that is killed leaves the table at once and is replaced after its restart delay, with its last words', async () => {
  const world = await new FakeWorld(['n1', 'n2']).start()
  world.createService('web', { replicas: 2, ports: [web] })
  await world.until(() => world.servingOf('web').length === 2)
  const [victim] = world.runningOf('web')
  world.exit(victim?.task ?? '', 137, 'Segmentation fault')
  await world.run(20)
  for (const node of world.nodes.values())
    expect(node.view.endpoints.get('ingress')?.has(victim?.task ?? '')).toBe(false)
  expect(world.node('n1').view.tasks.get(victim?.task ?? '')?.value).toMatchObject({
    state: 'failed',
    error: 'task: non-zero exit (137): Segmentation fault',
  })
  await world.run(4_900)
  expect(world.runningOf('web')).toHaveLength(1)
  await world.run(300)
  expect(world.runningOf('web')).toHaveLength(2)
})

test.for([
  ['any', 0, true],
  ['any', 1, true],
  ['on-failure', 0, false],
  ['on-failure', 1, true],
  ['none', 0, false],
  ['none', 1, false],
] as const)('restart condition %s after exit %i: restarted %s', async ([condition, code, restarted]) => {
  const world = await new FakeWorld(['n1', 'n2']).start()
  world.createService('job', { template: { RestartPolicy: { Condition: condition, Delay: 1e9 } } })
  await world.until(() => world.runningOf('job').length === 1)
  world.exit(world.runningOf('job')[0]?.task ?? '', code)
  await world.run(3_000)
  expect(world.runningOf('job')).toHaveLength(restarted ? 1 : 0)
})

test('a program that keeps failing is started once and restarted max-attempts times', async () => {
  const world = await new FakeWorld(['n1', 'n2']).start()
  world.programs.set('web', { ends: { afterMs: 50, code: 1 } })
  world.createService('bad', { template: { RestartPolicy: { Delay: 1e8, MaxAttempts: 3 } } })
  await world.run(10_000)
  expect(world.starts).toHaveLength(4)
})

test('a node without the program rejects the slot, says why, and the service runs elsewhere', async () => {
  const world = await new FakeWorld(['n1', 'n2', 'n3']).start()
  world.programs.set('web', { missingOn: ['n1', 'n2'] })
  world.createService('web', { replicas: 2 })
  await world.until(() => world.servingOf('web').length === 2)
  expect(world.runningOf('web').map(({ node }) => node)).toEqual(['n3', 'n3'])
  const rejected = [...world.node('n3').view.tasks.values()].filter(({ value }) => value.state === 'rejected')
  expect(rejected.length).toBeGreaterThan(0)
  expect(rejected[0]?.value.error).toBe('no program "web"')
})

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

test('an agent that restarts adopts its tasks and starts or stops nothing', async () => {
  const world = await new FakeWorld(['n1', 'n2']).start()
  world.createService('web', { replicas: 4, ports: [web] })
  await world.until(() => world.servingOf('web').length === 4)
  const before = world.runningOf('web')
  world.node('n1').need = 5
  await world.restartAgent('n1')
  await world.run(5_000)
  expect(world.runningOf('web')).toEqual(before)
  expect(world.starts).toHaveLength(4)
  expect(world.stops).toHaveLength(0)
})

test('an agent that knows less than others waits 2 s before it stops what it does not know', async () => {
  const world = await new FakeWorld(['n1', 'n2']).start()
  world.createService('web', { replicas: 2 })
  await world.until(() => world.servingOf('web').length === 2)
  world.node('n1').need = 5
  await world.restartAgent('n1')
  world.write(world.node('n2'), { scope: 'cluster', kind: 'service', id: 'web', value: null })
  await world.run(1_900)
  expect(world.runningOf('web').map(({ node }) => node)).toEqual(['n1'])
  await world.run(500)
  expect(world.runningOf('web')).toHaveLength(0)
})

test('both halves of a partition run the service, and afterwards every slot runs once', async () => {
  const ids = ['n1', 'n2', 'n3', 'n4']
  const world = await new FakeWorld(ids).start()
  world.createService('web', { replicas: 4, ports: [web] })
  await world.until(() => world.servingOf('web').length === 4)
  const before = world.runningOf('web').map(({ task }) => task)
  world.cut(['n1', 'n2'], ['n3', 'n4'])
  await world.until(() => world.runningOf('web').length === 8)
  await world.run(2_000)
  world.heal()
  await world.until(() => world.runningOf('web').length === 4)
  expect(world.runningOf('web').map(({ task }) => task)).toEqual(before)
})

test('grapevine.partition=stop: only the side with the lowest id of two halves goes on', async () => {
  const world = await new FakeWorld(['n1', 'n2', 'n3', 'n4']).start()
  world.createService('db', { replicas: 4, labels: { 'grapevine.partition': 'stop' } })
  await world.until(() => world.servingOf('db').length === 4)
  world.cut(['n1', 'n2'], ['n3', 'n4'])
  await world.run(5_000)
  expect(
    world
      .runningOf('db')
      .map(({ node }) => node)
      .sort(),
  ).toEqual(['n1', 'n1', 'n2', 'n2'])
})

test('an isolated node waits 10 s, then starts no more than its bound in each 10 s', async () => {
  const ids = Array.from({ length: 10 }, (_, i) => `n${i}`)
  const world = await new FakeWorld(ids).start()
  world.createService('web', { replicas: 20 })
  await world.until(() => world.servingOf('web').length === 20)
  const onIsolated = () => world.runningOf('web').filter(({ node }) => node === 'n5').length
  expect(onIsolated()).toBe(2)
  world.cut(
    ['n5'],
    ids.filter((id) => id !== 'n5'),
  )
  await world.run(9_000)
  expect(onIsolated()).toBe(2)
  await world.run(5_000)
  expect(onIsolated()).toBe(6)
  await world.run(8_000)
  expect(onIsolated()).toBeLessThanOrEqual(12)
  world.heal()
  await world.until(() => world.runningOf('web').length === 20)
})

test('a node that joined gets its share start-first after it stayed 30 s, and not before', async () => {
  const world = new FakeWorld(['n1', 'n2', 'n3'])
  world.update('n3', (m) => ({ ...m, liveness: 'dead' }))
  await world.start()
  world.createService('web', { replicas: 6, ports: [web] })
  await world.until(() => world.servingOf('web').length === 6)
  world.update('n3', (m) => ({ ...m, liveness: 'alive' }))
  await world.run(29_000)
  expect(world.runningOf('web').filter(({ node }) => node === 'n3')).toHaveLength(0)
  let fewest = 6
  await world.until(() => {
    fewest = Math.min(fewest, world.servingOf('web').length)
    return (
      world.runningOf('web').filter(({ node }) => node === 'n3').length === 2 && world.runningOf('web').length === 6
    )
  })
  expect(fewest).toBe(6)
  await world.run(60_000)
  expect(world.starts).toHaveLength(8)
})

test('an agent that leaves drains and stops its tasks, and they run elsewhere', async () => {
  const world = await new FakeWorld(['n1', 'n2', 'n3']).start()
  world.createService('web', { replicas: 3, ports: [web] })
  await world.until(() => world.servingOf('web').length === 3)
  let left = false
  void world
    .node('n1')
    .loop.drainAndStopAll()
    .then(() => {
      left = true
    })
  await world.until(() => left)
  world.node('n1').alive = false
  for (const id of ['n2', 'n3']) world.setLiveness(world.node(id), 'n1', 'left')
  await world.until(() => world.servingOf('web', world.node('n2')).length === 3)
  expect(world.runningOf('web').filter(({ node }) => node === 'n1')).toHaveLength(0)
})

test('a task that fails its health check is stopped and replaced, and says what the check said', async () => {
  const world = await new FakeWorld(['n1', 'n2']).start()
  let code = 0
  world.programs.set('web', { health: () => code })
  const check = { Test: ['CMD', 'true'], Interval: 1e9, Retries: 2 }
  world.createService('web', { ports: [web], container: { Healthcheck: check } })
  const ms = await world.until(() => world.servingOf('web').length === 1)
  expect(ms).toBeGreaterThanOrEqual(1_000)
  const [first] = world.runningOf('web')
  code = 1
  await world.until(() => !world.runningOf('web').some(({ task }) => task === first?.task))
  expect(world.node('n1').view.tasks.get(first?.task ?? '')?.value).toMatchObject({
    state: 'failed',
    error: 'its health check failed: probe',
  })
  code = 0
  await world.until(() => world.servingOf('web').length === 1)
})

test('a scope that is not caught up delays a start by 2 s, and the task says that it is degraded', async () => {
  const world = new FakeWorld(['n1'])
  await world.start()
  world.write(world.node('n1'), {
    scope: 'cluster',
    kind: 'network',
    id: 'net',
    value: {
      spec: { Name: 'net' },
      created: { ms: 0, counter: 0, node: '' },
      subnet: '10.0.1.0/24',
      gateway: '10.0.1.1',
    },
  })
  await world.run(100)
  world.node('n1').need = 1
  world.createService('web', { networks: ['net'] })
  await world.run(1_900)
  expect(world.starts).toHaveLength(0)
  expect(world.node('n1').held.networks).toEqual(['net'])
  await world.until(() => world.servingOf('web').length === 1)
  expect(world.servingOf('web')[0]?.value.degraded).toBe(true)
})

test('a full subnet is said in the record of the slot, and the others serve', async () => {
  const world = await new FakeWorld(['n1']).start()
  world.write(world.node('n1'), {
    scope: 'cluster',
    kind: 'network',
    id: 'net',
    value: {
      spec: { Name: 'net' },
      created: { ms: 0, counter: 0, node: '' },
      subnet: '10.0.1.0/29',
      gateway: '10.0.1.1',
    },
  })
  world.createService('web', { networks: ['net'], replicas: 6 })
  await world.until(() => world.servingOf('web').length === 4)
  const addresses = world.servingOf('web').map(({ value }) => value.addresses[0]?.address)
  expect(addresses.sort()).toEqual(['10.0.1.3', '10.0.1.4', '10.0.1.5', '10.0.1.6'])
  const errors = [...world.node('n1').view.tasks.values()].flatMap(({ value }) => value.error ?? [])
  expect(errors).toContain('network "net" has no free address')
})

test('of two claims on one slot the later is withdrawn before it starts', async () => {
  const world = await new FakeWorld(['n1', 'n2']).start()
  world.cut(['n1'], ['n2'])
  world.createService('web', {}, world.node('n1'))
  world.createService('web', {}, world.node('n2'))
  await world.run(50)
  const holder = world.node('n1').view.tasks.size === 1 ? 'n1' : 'n2'
  const other = holder === 'n1' ? 'n2' : 'n1'
  const [first] = [...world.node(holder).view.tasks.values()]
  if (first === undefined) throw new Error('nobody claimed the slot')
  const later = {
    ...first.value,
    node: other,
    boot: `boot-${other}`,
    created: { ...first.value.created, ms: first.value.created.ms + 1 },
  }
  world.write(world.node(other), { scope: 'cluster', kind: 'task', id: 'later', value: later })
  world.heal()
  await world.run(1_000)
  expect(world.starts.map(({ node }) => node)).toEqual([holder])
  expect([...world.node('n1').view.tasks.keys()]).toEqual([first.id])
})

test('a slot whose holder never hears of it is claimed by another node within two claim steps', async () => {
  for (const deaf of ['n1', 'n2', 'n3']) {
    const world = await new FakeWorld(['n1', 'n2', 'n3']).start()
    const from = deaf === 'n1' ? 'n2' : 'n1'
    for (const other of world.nodes.keys()) world.cuts.add(`${other} ${deaf}`)
    world.createService('web', {}, world.node(from))
    const ms = await world.until(() => world.runningOf('web').length === 1)
    expect(ms).toBeLessThan(700)
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

test('an address taken on both sides of a partition is held once after it, without a gap in service', async () => {
  const world = await new FakeWorld(['n1', 'n2']).start()
  world.write(world.node('n1'), {
    scope: 'cluster',
    kind: 'network',
    id: 'net',
    value: {
      spec: { Name: 'net' },
      created: { ms: 0, counter: 0, node: '' },
      subnet: '10.0.1.0/28',
      gateway: '10.0.1.1',
    },
  })
  await world.run(100)
  world.cut(['n1'], ['n2'])
  await world.run(1_000)
  world.createService('a', { networks: ['net'], replicas: 5 }, world.node('n1'))
  world.createService('b', { networks: ['net'], replicas: 5 }, world.node('n2'))
  await world.until(() => world.servingOf('a', world.node('n1')).length === 5)
  await world.until(() => world.servingOf('b', world.node('n2')).length === 5)
  const held = () => [...world.node('n1').view.tasks.values()].filter(({ value }) => value.state === 'running')
  world.heal()
  await world.run(10)
  expect(new Set(held().map(({ value }) => value.addresses[0]?.address)).size).toBeLessThan(10)
  await world.until(() => {
    for (const id of ['a', 'b']) expect(world.servingOf(id).length).toBeGreaterThanOrEqual(5)
    return held().length === 10 && new Set(held().map(({ value }) => value.addresses[0]?.address)).size === 10
  })
})

test('a node that flaps does not drag tasks about', async () => {
  const world = await new FakeWorld(['n1', 'n2', 'n3']).start()
  world.createService('web', { replicas: 6 })
  await world.until(() => world.servingOf('web').length === 6)
  const set = (liveness: 'alive' | 'dead') => {
    for (const id of ['n1', 'n2']) world.setLiveness(world.node(id), 'n3', liveness)
  }
  world.kill('n3')
  await world.until(() => world.runningOf('web').length === 6)
  const started = world.starts.length
  world.node('n3').alive = true
  await world.restartAgent('n3')
  for (let i = 0; i < 8; i++) {
    set('alive')
    await world.run(20_000)
    set('dead')
    await world.run(5_000)
  }
  expect(world.starts.length).toBe(started)
})

test('a start-first service is evened out over all tasks, a lone stop-first one stays', async () => {
  const world = new FakeWorld(['n1', 'n2'])
  world.update('n2', (m) => ({ ...m, liveness: 'dead' }))
  await world.start()
  for (let i = 0; i < 4; i++) world.createService(`s${i}`, { order: 'start-first' })
  for (let i = 0; i < 4; i++) world.createService(`d${i}`)
  await world.until(() => world.node('n1').running.size === 8)
  world.update('n2', (m) => ({ ...m, liveness: 'alive' }))
  await world.until(() => world.node('n2').running.size === 4 && world.node('n1').running.size === 4, 60_000)
  await world.run(60_000)
  expect([...world.node('n2').running.values()].map(({ plan }) => plan.service[0])).toEqual(['s', 's', 's', 's'])
  expect(world.starts).toHaveLength(12)
})

test('a task that was being stopped when its agent died is stopped when the agent is back', async () => {
  const world = await new FakeWorld(['n1']).start()
  world.createService('web')
  await world.until(() => world.servingOf('web').length === 1)
  const [task] = world.servingOf('web')
  if (task === undefined) throw new Error('no task')
  world.node('n1').loop.stop()
  world.write(world.node('n1'), {
    scope: 'cluster',
    kind: 'task',
    id: task.id,
    value: { ...task.value, stopping: true },
  })
  await world.restartAgent('n1')
  await world.until(() => !world.runningOf('web').some((r) => r.task === task.id))
  await world.until(() => world.servingOf('web').length === 1)
})
