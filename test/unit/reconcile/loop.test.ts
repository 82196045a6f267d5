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
