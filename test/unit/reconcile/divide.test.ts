// What happens when nodes see different things: partitions, deaf nodes, flapping, return and rebalance.
import { expect, test } from 'vitest'
import { FakeWorld } from './world.ts'

const web = { target: 80, published: 8080, protocol: 'tcp', mode: 'ingress' } as const

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

test('nodes that waited as a minority take turns then: none claims more than it may run, for itself or for another', async () => {
  const world = await new FakeWorld(['n1', 'n2', 'n3', 'n4', 'n5']).start()
  world.cut(['n1', 'n2'], ['n3', 'n4', 'n5'])
  await world.run(1_000)
  world.createService('web', { replicas: 6, template: { Placement: { MaxReplicas: 1 } } }, world.node('n1'))
  await world.run(20_000)
  const nodes = world.starts.map(({ node }) => node)
  expect(nodes.sort()).toEqual(['n1', 'n2'])
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
