// What becomes of tasks: placed, claimed, started, killed, failing, restarted. Each on several nodes and virtual time.
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

test('a node whose disk is full rejects the slot at once, and the service runs elsewhere', async () => {
  const world = await new FakeWorld(['n1', 'n2']).start()
  world.programs.set('web', { noRoomOn: ['n1'] })
  world.createService('web', { replicas: 2 })
  const ms = await world.until(() => world.servingOf('web').length === 2)
  // Before the restart delay of 5 s, which is for programs that ran and failed.
  expect(ms).toBeLessThan(4_000)
  expect(world.runningOf('web').map(({ node }) => node)).toEqual(['n2', 'n2'])
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

test('a task that lost its network is replaced, and its record says how it lost it', async () => {
  const world = await new FakeWorld(['n1']).start()
  world.createService('web', { ports: [web] })
  await world.until(() => world.servingOf('web').length === 1)
  const [first] = world.runningOf('web')
  for (const lose of world.node('n1').losses) lose(first?.task ?? '', 'another program removed it')
  await world.until(() => !world.runningOf('web').some(({ task }) => task === first?.task))
  expect(world.node('n1').view.tasks.get(first?.task ?? '')?.value).toMatchObject({
    state: 'failed',
    error: 'another program removed it',
  })
  await world.until(() => world.servingOf('web').length === 1)
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

test('of a slot that keeps failing the last five tasks are remembered, and no more', async () => {
  const world = await new FakeWorld(['n1', 'n2']).start()
  world.programs.set('web', { ends: { afterMs: 50, code: 1 } })
  world.createService('bad', { template: { RestartPolicy: { Delay: 1e8 } } })
  await world.until(() => world.starts.length >= 12)
  await world.run(500)
  const ended = [...world.node('n1').view.tasks.values()].filter(({ value }) => value.state === 'failed')
  expect(ended).toHaveLength(5)
})

test('of a slot with more attempts so many tasks are remembered that they can be counted', async () => {
  const world = await new FakeWorld(['n1']).start()
  world.programs.set('web', { ends: { afterMs: 50, code: 1 } })
  world.createService('bad', { template: { RestartPolicy: { Delay: 1e8, MaxAttempts: 7 } } })
  await world.run(20_000)
  expect(world.starts).toHaveLength(8)
  expect(world.node('n1').view.tasks.size).toBe(8)
})

test('what tasks of a removed service left on their machines is removed with their records', async () => {
  const world = await new FakeWorld(['n1', 'n2']).start()
  world.createService('web', { replicas: 4 })
  await world.until(() => world.servingOf('web').length === 4)
  const tasks = world.runningOf('web').map(({ task }) => task)
  world.write(world.node('n2'), { scope: 'cluster', kind: 'service', id: 'web', value: null })
  await world.run(5_000)
  expect(world.node('n1').view.tasks.size).toBe(0)
  expect(world.removed.toSorted()).toEqual(tasks.toSorted())
})
