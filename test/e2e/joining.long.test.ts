/** How nodes come and go: joining in any order, through anyone, with the right token; leaving, and coming back. */
import { cpSync } from 'node:fs'
import { expect, test } from 'vitest'
import { until } from '../until.ts'
import { runs } from './clients.ts'
import { createCluster, see, tokenOf } from './cluster.ts'
import { isAlive, processesOf } from './processes.ts'

test('nodes join by address in any order: through one that has not joined yet, and before the founder is there', async () => {
  const { agents } = await createCluster({ nodes: 4, started: false })
  const [founder, second, third, fourth] = agents
  await founder.start()
  const token = await tokenOf(founder)
  await founder.ok('agent', 'stop', '--keep-tasks')
  await founder.ended()
  // Fourth knows third, third second, second the founder, and none of these is there.
  await fourth.launch({ join: [third], token })
  await until(() => fourth.said().includes('Cannot join through'), {
    deadlineMs: 10_000,
    what: 'the joiner to say why',
  })
  expect(fourth.said()).toMatch(/Cannot join through \S+: \S+ refuses connections/)
  await Promise.all([third.launch({ join: [second], token }), second.launch({ join: [founder], token })])
  await founder.start()
  await Promise.all([second.ready(), third.ready(), fourth.ready()])
  await see(agents, agents)
})

test('a node joins through any member after the bootstrap node died for good', async () => {
  const cluster = await createCluster({ nodes: 2 })
  const [n1, n2] = cluster.agents
  const token = await tokenOf(n1)
  await n1.killNode()
  await see([n2], [n2])
  const n3 = cluster.add()
  // The dead one stays in its list, and does not stand in the way.
  await n3.start({ join: [n1, n2], token })
  await see([n2, n3], [n2, n3])
})

test('a joiner hears within 5 s why it is not let in, and goes on trying', async () => {
  const cluster = await createCluster({ nodes: 1 })
  const other = await createCluster({ nodes: 1 })
  const [founder] = cluster.agents
  const rotatedOut = await tokenOf(founder)
  const newest = await founder.ok('token', '--quiet', '--rotate')
  const expired = await founder.ok('token', '--quiet', '--ttl', '1s')
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ['a token of another cluster', await tokenOf(other.agents[0]), /other cluster|another cluster/i],
    ['a token that was rotated out', rotatedOut, /token/i],
    ['an expired token', expired, /token.*expired|expired.*token/i],
  ]
  const issued = performance.now()
  await until(() => performance.now() - issued > 1_500, { deadlineMs: 3_000, what: 'the token to expire' })
  await Promise.all(
    cases.map(async ([what, token, sentence]) => {
      const joiner = cluster.add()
      await joiner.launch({ join: [founder], token })
      await until(() => joiner.said().includes('Cannot join through'), { deadlineMs: 5_000 + 5_000, what })
      expect(joiner.said(), what).toMatch(sentence)
      expect(joiner.isRunning(), what).toBe(true)
    }),
  )
  const garbled = cluster.add()
  await garbled.launch({ join: [founder], token: `${newest.slice(0, -4)}AAAA` })
  expect(await garbled.ended()).not.toBe(0)
  expect(garbled.said()).toMatch(/token/i)
  await see([founder], [founder])
  const late = cluster.add()
  await late.start({ join: [founder], token: newest })
  await see([founder, late], [founder, late])
})

test('a node that gets SIGTERM moves its tasks and leaves, and comes back with its data directory and no token', async () => {
  const { agents } = await createCluster({ nodes: 2 })
  const [n1, n2] = agents
  await n1.ok('service', 'create', '--detach', '--quiet', '--name', 'a', '--replicas', '4', 'sleep', '1000')
  const before = await runs(agents, 'a', 4)
  n2.signal('SIGTERM')
  expect(await n2.ended()).toBe(0)
  expect(before.filter(({ node }) => node === 'n2').some(({ pid }) => isAlive(pid))).toBe(false)
  expect((await runs([n1], 'a', 4)).every(({ node }) => node === 'n1')).toBe(true)
  // A node that left is no trouble: it is not missed.
  await until(async () => (await n1.vine('status')).code === 0, { deadlineMs: 5_000, what: 'all to be well' })
  await n2.start()
  await see(agents, agents)
})

test('a node that was removed stops its tasks and ends, and is told so each time it comes back', async () => {
  const { agents } = await createCluster({ nodes: 3 })
  const [n1, n2, n3] = agents
  await n1.ok('service', 'create', '--detach', '--quiet', '--name', 'a', '--replicas', '3', 'sleep', '1000')
  const own = (await runs(agents, 'a', 3)).filter(({ node }) => node === 'n3')
  expect(await n1.vine('node', 'rm', 'n3')).toMatchObject({ code: 1, err: expect.stringContaining("can't be removed") })
  await n1.ok('node', 'rm', '--force', 'n3')
  expect(await n3.ended()).toBe(3)
  expect(own.some(({ pid }) => isAlive(pid))).toBe(false)
  await see([n1, n2], [n1, n2])
  await runs([n1, n2], 'a', 3)
  await n3.launch({ join: [n1] })
  expect(await n3.ended()).toBe(3)
  expect(n3.said().match(/This node was removed from the cluster; it ends/g)).toHaveLength(2)
  expect(n3.said()).not.toContain('Still trying')
  expect(await n1.client.get<readonly unknown[]>('/nodes')).toHaveLength(2)
})

test('a node that was removed while its agent was down ends at its start, and takes the tasks that went on with it', async () => {
  const { agents } = await createCluster({ nodes: 3 })
  const [n1, n2, n3] = agents
  await n1.ok('service', 'create', '--detach', '--quiet', '--name', 'a', '--replicas', '3', 'sleep', '1000')
  const own = (await runs(agents, 'a', 3)).filter(({ node }) => node === 'n3')
  await n3.killAgent()
  await n2.ok('node', 'rm', '--force', 'n3')
  await runs([n1, n2], 'a', 3)
  expect(own.every(({ pid }) => isAlive(pid))).toBe(true)
  const before = n3.said().length
  await n3.launch()
  expect(await n3.ended()).toBe(3)
  expect(n3.said().slice(before)).toContain('This node was removed from the cluster; it ends')
  expect(n3.said().slice(before)).not.toContain('Published ports answer')
  expect(own.some(({ pid }) => isAlive(pid))).toBe(false)
  await runs([n1, n2], 'a', 3)
})

test('an agent on a copy of a data directory ends by itself, and the node that was copied goes on', async () => {
  const cluster = await createCluster({ nodes: 3 })
  const [n1, , n3] = cluster.agents
  await n1.ok('service', 'create', '--detach', '--quiet', '--name', 'a', '--replicas', '3', 'sleep', '1000')
  const before = await runs(cluster.agents, 'a', 3)
  const copy = cluster.add()
  cpSync(n3.dir, copy.dir, { recursive: true, filter: (path) => !path.includes('/tasks') })
  await copy.launch()
  // How soon is asked on virtual time, in test/unit/replication/durability.test.ts.
  expect(await copy.ended()).toBe(1)
  expect(copy.said()).toContain('its data directory is a copy')
  expect(processesOf(`${copy.dir}/tasks`), 'what the copy had started').toEqual([])
  expect(n3.isRunning()).toBe(true)
  await see(cluster.agents, cluster.agents)
  const after = await runs(cluster.agents, 'a', 3)
  expect(after.map(({ node }) => node)).toContain('n3')
  for (const agent of cluster.agents) expect(agent.isRunning()).toBe(true)
  expect(before.filter(({ node }) => node !== 'n3').every((task) => after.some(({ id }) => id === task.id))).toBe(true)
})
