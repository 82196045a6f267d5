/** Wrong orders get one clear sentence and change nothing; two agents with one identity do not harm the cluster; what was acknowledged stays. */
import { cpSync, mkdirSync } from 'node:fs'
import { request } from 'node:http'
import { expect, test } from 'vitest'
import { until } from '../until.ts'
import { runs, webProgram } from './clients.ts'
import { createCluster, see } from './cluster.ts'
import { isAlive } from './processes.ts'

test('a wrong order is refused with a sentence, and nothing of it stays', async () => {
  const { agents } = await createCluster({ nodes: 2 })
  const [n1, n2] = agents
  await n1.ok('network', 'create', '--subnet', '10.50.0.0/24', 'app')
  await n1.ok(
    'service',
    'create',
    '--detach',
    '--quiet',
    '--name',
    'web',
    '--publish',
    '8080:80',
    'node',
    '-e',
    webProgram,
  )
  await runs(agents, 'web', 1)
  const create = (...words: readonly string[]) => ['service', 'create', '--detach', ...words, 'sleep', '1000']
  const cases: readonly (readonly [readonly string[], number, RegExp])[] = [
    [create('--name', 'web'), 1, /^name conflicts with an existing object: service web already exists\n/],
    [
      create('--name', 'x', '--publish', '8080:80'),
      1,
      /^port 8080 is already in use by service "web" as an ingress port\n/,
    ],
    [create('--name', 'x', '--publish', '99999:80'), 125, /"99999"\nPorts are numbers from 1 to 65535$/m],
    [
      create('--name', 'x', '--network', 'nowhere'),
      1,
      /^network nowhere not found\nCreate it with: vine network create$/m,
    ],
    [
      create('--name', 'x', '--constraint', 'node.labels.a'),
      1,
      /^constraint expected one operator from ==, !=: "node\.labels\.a"\n/,
    ],
    [create('--name', 'x y'), 1, /^name must be valid as a DNS name component, "x y" is not$/m],
    [create('--name', 'x', '--secret', 's'), 125, /^--secret is not supported: /],
    [['service', 'scale', '--detach', 'web=-1'], 125, /^invalid scale "web=-1"\nWrite it as SERVICE=REPLICAS/],
    [['service', 'rm', 'nothing'], 1, /^no such service: nothing\n/],
    [
      ['network', 'create', '--subnet', '10.50.0.0/16', 'other'],
      1,
      /Pool overlaps with other one on this address space\nNetwork "app" has part of it$/m,
    ],
    [['network', 'create', '--subnet', 'abc', 'other'], 1, /^invalid subnet abc: /],
    [['network', 'rm', 'nothing'], 1, /^network nothing not found\n/],
    [
      ['node', 'update', '--availability', 'gone', 'n1'],
      125,
      /^invalid value "gone" for --availability\nIt is active, pause or drain$/m,
    ],
    [
      ['service', 'create', '--detach', '--no-such-flag', 'sleep'],
      125,
      /^unknown flag '--no-such-flag'\nSee 'vine service create --help'$/m,
    ],
  ]
  for (const [words, code, sentence] of cases) {
    const ran = await n2.vine(...words)
    expect([ran.code, ran.out], words.join(' ')).toEqual([code, ''])
    expect(ran.err, words.join(' ')).toMatch(sentence)
    expect(ran.err, words.join(' ')).not.toMatch(/\n\s+at |undefined|\[object/)
  }
  const post = (path: string, body: string) => postRaw(n2.socket, path, body)
  expect(await post('/services/create', '{"Name":')).toMatchObject({ status: 400 })
  expect(await post('/services/create', `{"Name":"${'n'.repeat(8 * 1024 * 1024)}"}`)).toMatchObject({ status: 413 })
  const [web] = await n2.client.get<readonly { readonly ID: string; readonly Spec: object }[]>('/services')
  expect(await post(`/services/${web?.ID}/update?version=1`, JSON.stringify(web?.Spec))).toMatchObject({
    text: expect.stringContaining('out of sequence'),
  })
  expect(await n1.client.get<readonly unknown[]>('/services')).toHaveLength(1)
  const networks = await n1.client.get<readonly { readonly Name: string }[]>('/networks')
  expect(networks.map(({ Name }) => Name)).not.toContain('other')
  expect((await n1.vine('status')).code).toBe(0)
})

test('what was acknowledged a moment before all agents were killed is there when they are back', async () => {
  const { agents } = await createCluster({ nodes: 2 })
  const [n1, n2] = agents
  await n1.ok('network', 'create', 'late')
  await n1.ok('service', 'create', '--detach', '--quiet', '--name', 'late', '--replicas', '2', 'sleep', '1000')
  await Promise.all(agents.map((agent) => agent.killNode()))
  // The other one alone has it too: a write is acknowledged when two disks hold it.
  await n2.start()
  expect(await n2.ok('service', 'ls')).toContain('late')
  expect(await n2.ok('network', 'ls')).toContain('late')
  await n1.start()
  await see(agents, agents)
  await runs(agents, 'late', 2)
})

test('of two agents with one identity, made by copying a data directory, the later one ends and says why', async () => {
  const cluster = await createCluster({ nodes: 2 })
  const [n1, n2] = cluster.agents
  await n1.ok('service', 'create', '--detach', '--quiet', '--name', 'a', '--replicas', '2', 'sleep', '1000')
  await runs(cluster.agents, 'a', 2)
  const copy = cluster.add()
  mkdirSync(copy.dir)
  for (const file of ['identity.key', 'cluster.json', 'state.snapshot', 'state.log-1'])
    cpSync(`${n2.dir}/${file}`, `${copy.dir}/${file}`, { errorOnExist: false, force: true })
  await copy.launch()
  expect(await copy.ended()).toBe(1)
  expect(copy.said()).toMatch(/copy/)
  await see(cluster.agents, cluster.agents)
  await until(async () => (await n1.vine('status')).code === 0, { deadlineMs: 15_000, what: 'all to be well' })
  const two = await runs(cluster.agents, 'a', 2)
  expect(two.every(({ pid }) => isAlive(pid))).toBe(true)
  await n2.ok('service', 'scale', '--detach', 'a=4')
  await runs(cluster.agents, 'a', 4)
})

test('host-mode ports keep tasks apart, a third has no node and says so; a global service follows the nodes', async () => {
  const cluster = await createCluster({ nodes: 2 })
  const [n1, n2] = cluster.agents
  const port = 'mode=host,published=9100,target=80'
  const what = ['--name', 'h', '--replicas', '3', '--publish', port]
  await n1.ok('service', 'create', '--detach', '--quiet', ...what, 'node', '-e', webProgram)
  await n1.ok('service', 'create', '--detach', '--quiet', '--name', 'g', '--mode', 'global', 'sleep', '1000')
  await until(async () => /no suitable node.*host-mode port/.test(await n2.ok('service', 'ps', '--no-trunc', 'h')), {
    deadlineMs: 10_000,
    everyMs: 100,
    what: 'the third task to say why it waits',
  })
  const n3 = cluster.add()
  await n3.start({ join: [n2], token: await n2.ok('token', '--quiet') })
  const all = [n1, n2, n3]
  const three = await runs(all, 'h', 3)
  expect(three.map(({ node }) => node).sort()).toEqual(['n1', 'n2', 'n3'])
  await until(async () => (await n1.ok('service', 'ls', '--filter', 'name=g')).includes('3/3'), {
    deadlineMs: 10_000,
    everyMs: 100,
    what: 'a task of g on each node',
  })
})

function postRaw(
  socketPath: string,
  path: string,
  body: string,
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const asking = request(
      { socketPath, path, method: 'POST', headers: { 'content-type': 'application/json' } },
      (answer) => {
        let text = ''
        answer.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk
        })
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }))
      },
    )
    asking.on('error', reject)
    asking.end(body)
  })
}
