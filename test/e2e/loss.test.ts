/** What is lost and what goes on when agents, nodes or the whole cluster die. */
import { expect, test } from 'vitest'
import { until } from '../until.ts'
import { ask, keepAsking, runningTasks, runs, webProgram } from './clients.ts'
import { type Agent, createCluster, see } from './cluster.ts'
import { isAlive, processesOf, signal } from './processes.ts'

test('a client of the surviving nodes does not notice the death of another: its tasks leave the names and run elsewhere', async () => {
  const { agents } = await createCluster({ nodes: 3 })
  const [n1, n2, n3] = agents
  await n1.ok('network', 'create', 'app')
  await createWeb(n1, 3, '--network', 'app')
  const before = await runs(agents, 'web', 3)
  const slot = before.find(({ node }) => node === 'n1')?.slot
  const names = async () => (await n2.ok('resolve', 'tasks.web', '--from', `web.${slot}`)).split('\n').sort()
  expect(await names()).toHaveLength(3)
  const old = await names()
  const asker = keepAsking([n1.address, n2.address], 8080)
  await until(() => asker.asked > 20, { deadlineMs: 5_000, what: 'some requests' })
  await n3.killNode()
  await see([n1, n2], [n1, n2])
  expect((await runs([n1, n2], 'web', 3)).some(({ node }) => node === 'n3')).toBe(false)
  const now = await until(async () => ((await names()).length === 3 ? names() : undefined), {
    deadlineMs: 5_000,
    what: 'three tasks to be named',
  })
  expect(now).not.toEqual(old)
  await asker.stop()
  // A request may fail only if it was open on the lost node; each client has one open at a time.
  expect(asker.failures.length, asker.failures.join('\n')).toBeLessThanOrEqual(2)
  expect(await n1.vine('status')).toMatchObject({ code: 1, out: expect.stringContaining('n3 is down') })
  await n3.start()
  await see(agents, agents)
  await runs(agents, 'web', 3)
})

test('a node that goes silent is replaced, and when it speaks again every slot has one task', async () => {
  const { agents } = await createCluster({ nodes: 3 })
  const [n1, n2, n3] = agents
  await createWeb(n1, 3)
  await runs(agents, 'web', 3)
  n3.freeze()
  await see([n1, n2], [n1, n2])
  expect((await runs([n1, n2], 'web', 3)).some(({ node }) => node === 'n3')).toBe(false)
  for (const { address } of [n1, n2]) expect(await ask(address, 8080)).toMatch(/^n[12] /)
  n3.thaw()
  await see(agents, agents)
  await runs(agents, 'web', 3)
  for (const { address } of agents) expect(await ask(address, 8080)).toMatch(/^n[123] /)
  await until(() => processesOf(`${n3.dir}/tasks`).length <= 2, {
    deadlineMs: 10_000,
    what: 'n3 to run one task at most',
  })
})

test('the bootstrap node and then the majority are lost, and the survivor schedules, scales and lets others join', async () => {
  const cluster = await createCluster({ nodes: 3 })
  const [n1, n2, n3] = cluster.agents
  await n1.killNode()
  await n2.ok('service', 'create', '--detach', '--quiet', '--name', 'a', '--replicas', '2', 'sleep', '1000')
  await runs([n2, n3], 'a', 2)
  const n4 = cluster.add()
  await n4.start({ join: [n3], token: await n3.ok('token', '--quiet') })
  await see([n2, n3, n4], [n2, n3, n4])
  await Promise.all([n2.killNode(), n4.killNode()])
  await see([n3], [n3])
  // A node that sees fewer than half waits 10 s before it replaces, and then starts in doses.
  await n3.ok('service', 'create', '--detach', '--quiet', '--name', 'b', '--replicas', '2', 'sleep', '1000')
  await runs([n3], 'a', 2, 30_000)
  await runs([n3], 'b', 2, 30_000)
  await n3.ok('service', 'scale', '--detach', 'b=3')
  await runs([n3], 'b', 3, 30_000)
})

test('all agents are killed at once with their tasks and started again: every service is back', async () => {
  const { agents } = await createCluster({ nodes: 3 })
  const [n1, n2, n3] = agents
  await createWeb(n2, 3)
  await n1.ok('service', 'create', '--detach', '--name', 'all', '--mode', 'global', 'sleep', '1000')
  await runs(agents, 'web', 3)
  await until(async () => (await runningTasks(n1, 'all')).length === 3, {
    deadlineMs: 10_000,
    what: 'the global service',
  })
  await Promise.all(agents.map((agent) => agent.killNode()))
  await Promise.all([n3, n1, n2].map((agent) => agent.start()))
  await see(agents, agents)
  await runs(agents, 'web', 3)
  await until(async () => (await runningTasks(n1, 'all')).length === 3, {
    deadlineMs: 15_000,
    what: 'the global service',
  })
  for (const { address } of agents) expect(await ask(address, 8080)).toMatch(/^n[123] /)
  await until(async () => (await n1.vine('status')).code === 0, { deadlineMs: 10_000, what: 'all to be well' })
})

test('an agent killed alone leaves its tasks running, and adopts them with the same pids when it is back', async () => {
  const { agents } = await createCluster({ nodes: 2 })
  const [n1] = agents
  await createWeb(n1, 4)
  const before = await runs(agents, 'web', 4)
  const own = before.filter(({ node }) => node === 'n1')
  expect(own).toHaveLength(2)
  await n1.killAgent()
  expect(own.every(({ pid }) => isAlive(pid))).toBe(true)
  await n1.start()
  await see(agents, agents)
  const after = await runs(agents, 'web', 4)
  expect(after.filter(({ node }) => node === 'n1')).toEqual(own)
  expect(own.every(({ pid }) => isAlive(pid))).toBe(true)
  expect(await ask(n1.address, 8080)).toMatch(/^n[12] /)
})

test('an agent stopped with --keep-tasks keeps its slots and tasks until it is back', async () => {
  const { agents } = await createCluster({ nodes: 2 })
  const [n1, n2] = agents
  await createWeb(n1, 2)
  const before = await runs(agents, 'web', 2)
  const own = before.find(({ node }) => node === 'n2')
  await n2.ok('agent', 'stop', '--keep-tasks')
  expect(await n2.ended()).toBe(0)
  // Long enough to be found dead, were it not announced: the floor of the suspicion time is 1.6 s.
  const began = performance.now()
  await until(() => performance.now() - began > 4_000, { deadlineMs: 5_000, what: 'four seconds' })
  expect(isAlive(own?.pid ?? 0)).toBe(true)
  expect(await runningTasks(n1, 'web')).toHaveLength(2)
  await n2.start()
  await see(agents, agents)
  expect(await runs(agents, 'web', 2)).toEqual(before)
})

test('a task that is killed is avoided at once and replaced after its restart delay', async () => {
  const { agents } = await createCluster({ nodes: 2 })
  const [n1, n2] = agents
  await createWeb(n1, 2, '--restart-delay', '3s')
  const before = await runs(agents, 'web', 2)
  const victim = before.find(({ node }) => node === 'n2')
  const killed = performance.now()
  signal(victim?.pid ?? 0, 'SIGKILL')
  await until(async () => (await runningTasks(n1, 'web')).length === 1, {
    deadlineMs: 5_000,
    what: 'the end to be known',
  })
  for (let i = 0; i < 10; i++) expect(await ask(n2.address, 8080)).toMatch(/^n1 /)
  const after = await runs(agents, 'web', 2)
  expect(performance.now() - killed).toBeGreaterThan(3_000)
  expect(after.map(({ id }) => id)).not.toContain(victim?.id)
  expect(after.map(({ id }) => id)).toContain(before.find(({ node }) => node === 'n1')?.id)
  const ps = await n1.ok('service', 'ps', '--no-trunc', 'web')
  expect(ps).toMatch(/Failed .*137/)
})

function createWeb(agent: Agent, replicas: number, ...flags: readonly string[]): Promise<string> {
  const what = ['--name', 'web', '--replicas', String(replicas), '--publish', '8080:80', ...flags]
  return agent.ok('service', 'create', '--detach', '--quiet', ...what, 'node', '-e', webProgram)
}
