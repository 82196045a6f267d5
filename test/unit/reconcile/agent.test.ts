// What an agent does with its tasks when it restarts, leaves, or knows too little.
import { expect, test } from 'vitest'
import { FakeWorld } from './world.ts'

const web = { target: 80, published: 8080, protocol: 'tcp', mode: 'ingress' } as const

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

test('tasks that were lost with their node are no failures of it: it starts others at once', async () => {
  const world = await new FakeWorld(['n1']).start()
  world.createService('web', { replicas: 2 })
  await world.until(() => world.servingOf('web').length === 2)
  const [node, old] = [world.node('n1'), world.runningOf('web').map(({ task }) => task)]
  for (const kept of node.running.values()) {
    const exit = { code: undefined, signal: undefined, lastLine: '', atMs: world.wall() }
    kept.observed = { ...kept.observed, running: false, exit }
  }
  await world.restartAgent('n1')
  const states = old.map((id) => node.view.tasks.get(id)?.value.state)
  expect(states).toEqual(['orphaned', 'orphaned'])
  await world.run(2_000)
  expect(world.servingOf('web')).toHaveLength(2)
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

test('an agent that does not find itself among the members leaves its tasks alone', async () => {
  const world = await new FakeWorld(['n1', 'n2']).start()
  world.createService('web', { replicas: 2 })
  await world.until(() => world.servingOf('web').length === 2)
  const { view } = world.node('n1')
  view.maps.members.delete('n1')
  view.revision += 1
  await world.run(5_000)
  expect(world.runningOf('web').map(({ node }) => node)).toContain('n1')
  expect(world.stops).toHaveLength(0)
})
