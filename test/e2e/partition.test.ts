/** The cluster is cut in two by doors between the agents (agent/demo/gate.ts), and mended. */
import { expect, test } from 'vitest'
import { until } from '../until.ts'
import { ask, keepAsking, runningTasks, runs, webProgram } from './clients.ts'
import { type Agent, createCluster, see } from './cluster.ts'

test('both halves of a cut cluster serve and take orders; healed, counts are the set ones and nothing is held twice', async () => {
  const cluster = await createCluster({ nodes: 4, doors: true })
  const [n1, n2, n3, n4] = cluster.agents
  const [left, right] = [
    [n1, n2],
    [n3, n4],
  ] as const
  await n1.ok('network', 'create', 'app')
  await createWeb(n1, 'web', '8080:80', '--replicas', '4', '--network', 'app')
  await runs(cluster.agents, 'web', 4)
  cluster.cut(left, right)
  await Promise.all([see(left, left), see(right, right)])
  await Promise.all([runs(left, 'web', 4), runs(right, 'web', 4)])
  for (const half of [left, right]) {
    const names = new Set(half.map(({ name }) => name))
    for (const { address } of half)
      for (let i = 0; i < 4; i++) expect(names).toContain((await ask(address, 8080)).split(' ')[0])
  }
  await n1.ok('service', 'scale', '--detach', 'web=3')
  await createWeb(n2, 'left', '8081:80', '--network', 'app')
  await createWeb(n4, 'right', '8082:80', '--network', 'app')
  const asker = keepAsking(
    cluster.agents.map(({ address }) => address),
    8080,
  )
  cluster.mend()
  await see(cluster.agents, cluster.agents)
  const web = await runs(cluster.agents, 'web', 3, 30_000)
  const others = [await runs(cluster.agents, 'left', 1), await runs(cluster.agents, 'right', 1)].flat()
  await asker.stop()
  expect(asker.failures).toEqual([])
  const addresses = [...web, ...others].flatMap((task) => task.addresses)
  expect(addresses.length).toBeGreaterThanOrEqual(5)
  expect(new Set(addresses).size).toBe(addresses.length)
  for (const { address } of cluster.agents)
    for (const port of [8080, 8081, 8082]) expect(await ask(address, port)).toMatch(/^n[1234] /)
  await until(async () => (await n3.vine('status')).code === 0, { deadlineMs: 10_000, what: 'all to be well' })
})

test('what two nodes create at one moment with the same name, port or subnet: the earlier wins, the other waits and recovers', async () => {
  const cluster = await createCluster({ nodes: 2, doors: true })
  const [n1, n2] = cluster.agents
  // So short that nobody is declared dead: the moment before gossip arrives, drawn out.
  cluster.cut([n1], [n2])
  await Promise.all([
    n1.ok('network', 'create', '--subnet', '10.77.0.0/24', 'x'),
    n2.ok('network', 'create', '--subnet', '10.77.0.0/24', 'y'),
  ])
  await createWeb(n1, 'same', '8080:80')
  await createWeb(n2, 'same', '8081:80')
  await createWeb(n1, 'port-a', '9000:80')
  await createWeb(n2, 'port-b', '9000:80')
  cluster.mend()
  await see(cluster.agents, cluster.agents)
  const verdicts = await until(
    async () => {
      const texts = await Promise.all(cluster.agents.map(async (agent) => (await agent.vine('status')).out))
      return texts.every((text) => text === texts[0] && text.split('\n').length >= 4) ? texts[0] : Promise.reject(texts)
    },
    { deadlineMs: 15_000, everyMs: 200, what: 'both to tell the same conflicts' },
  )
  expect(verdicts).toMatch(/same/)
  expect(verdicts).toMatch(/9000/)
  expect(verdicts).toMatch(/10\.77\.0\.0\/24/)
  await runs(cluster.agents, 'port-a', 1)
  for (const agent of cluster.agents) {
    expect(await runningTasks(agent, 'port-b')).toEqual([])
    expect(await ask(agent.address, 9000)).toMatch(/^n[12] /)
  }
  expect(await n2.ok('service', 'ps', '--no-trunc', 'port-b')).toMatch(/9000.*port-a/)
  await n2.ok('service', 'rm', 'port-a')
  await n2.ok('network', 'rm', 'x')
  const named =
    await n1.client.get<
      readonly { readonly ID: string; readonly CreatedAt: string; readonly Spec: { readonly Name: string } }[]
    >('/services')
  const [first] = named.filter(({ Spec }) => Spec.Name === 'same').sort((a, b) => (a.CreatedAt < b.CreatedAt ? -1 : 1))
  expect(named.filter(({ Spec }) => Spec.Name === 'same')).toHaveLength(2)
  await n2.ok('service', 'rm', first?.ID ?? '')
  await runs(cluster.agents, 'port-b', 1)
  await runs(cluster.agents, 'same', 1)
  expect(await ask(n1.address, 8081)).toMatch(/^n[12] /)
  await until(async () => (await n1.vine('status')).code === 0, { deadlineMs: 10_000, what: 'all to be well' })
})

function createWeb(agent: Agent, name: string, port: string, ...flags: readonly string[]): Promise<string> {
  const what = ['--name', name, '--publish', port, ...flags]
  return agent.ok('service', 'create', '--detach', '--quiet', ...what, 'node', '-e', webProgram)
}
