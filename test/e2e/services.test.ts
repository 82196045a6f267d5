/** Services on a healthy cluster: changed, drained, published, logged and named, as their clients and operators see it. */
import { execFile, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { promisify } from 'node:util'
import dnsPacket from 'dns-packet'
import { afterAll, afterEach, beforeAll, expect, onTestFailed, test } from 'vitest'
import { needs } from '../needs.ts'
import { root } from '../tidy/source.ts'
import { until } from '../until.ts'
import { ask, keepAsking, runningTasks, runs, webProgram } from './clients.ts'
import { type Agent, type Cluster, openCluster } from './cluster.ts'
import { isAlive, processesOf } from './processes.ts'

let cluster: Cluster<3>
let n1: Agent
let n2: Agent
let n3: Agent

beforeAll(async () => {
  cluster = await openCluster({ nodes: 3 })
  ;[n1, n2, n3] = cluster.agents
  await n1.ok('network', 'create', 'app')
})

afterEach(async () => {
  await n1.ok('node', 'update', '--availability', 'active', 'n2')
  const names = (await n1.ok('service', 'ls', '--quiet')).split('\n').filter((id) => id !== '')
  if (names.length > 0) await n1.ok('service', 'rm', ...names)
  await until(() => cluster.agents.every((agent) => tasksOn(agent).length === 0), {
    deadlineMs: 15_000,
    what: 'all tasks to end',
  })
})

afterAll(() => cluster.close())

test('an update replaces one slot after another, start-first, and no request of a client fails', async () => {
  await web('--replicas', '3', '--update-order', 'start-first')
  const before = await runs(cluster.agents, 'web', 3)
  const asker = keepAsking(
    cluster.agents.map(({ address }) => address),
    8080,
  )
  await n2.ok('service', 'update', '--detach', '--quiet', '--env-add', 'ROUND=2', 'web')
  const seen: number[] = []
  const after = await until(
    async () => {
      const tasks = await runningTasks(n3, 'web')
      const isNew = (id: string) => !before.some((task) => task.id === id)
      seen.push(tasks.length)
      const fresh = tasks.filter(({ id }) => isNew(id))
      return fresh.length === 3 && tasks.length === 3 ? tasks : undefined
    },
    { deadlineMs: 30_000, everyMs: 50, what: 'all three to be replaced' },
  )
  await asker.stop()
  expect(asker.failures).toEqual([])
  expect(asker.asked).toBeGreaterThan(50)
  expect(Math.min(...seen)).toBe(3)
  // One more than set, or a moment in which the next begins while the last one's end is not yet told.
  expect(Math.max(...seen)).toBeLessThanOrEqual(5)
  await until(() => before.every(({ pid }) => !isAlive(pid)), { deadlineMs: 5_000, what: 'the old tasks to end' })
  expect(after.every(({ pid }) => isAlive(pid))).toBe(true)
})

test('a program that dies at its stop signal loses no request that it is answering', async () => {
  const slow = `const e = process.env
require('http').createServer((q, r) => setTimeout(() => r.end(e.GRAPEVINE_TASK), 250)).listen(e.PORT, e.GRAPEVINE_ADDRESS)`
  const flags = ['--name', 'web', '--publish', '8080:80', '--replicas', '3', '--update-order', 'start-first']
  await n1.ok('service', 'create', '--detach', '--quiet', ...flags, 'node', '-e', slow)
  const before = await runs(cluster.agents, 'web', 3)
  const hosts = cluster.agents.map(({ address }) => address)
  const askers = Array.from({ length: 4 }, () => keepAsking(hosts, 8080))
  await n2.ok('service', 'update', '--detach', '--quiet', '--env-add', 'ROUND=2', 'web')
  await until(() => before.every(({ pid }) => !isAlive(pid)), { deadlineMs: 30_000, what: 'the old tasks to end' })
  for (const asker of askers) await asker.stop()
  expect(askers.flatMap(({ failures }) => failures)).toEqual([])
  expect(askers.every(({ asked }) => asked > 8)).toBe(true)
})

test('a drained node loses its tasks to others without a failed request, and gets none until it is active again', async () => {
  await web('--replicas', '3', '--update-order', 'start-first')
  await runs(cluster.agents, 'web', 3)
  const asker = keepAsking(
    cluster.agents.map(({ address }) => address),
    8080,
  )
  await n1.ok('node', 'update', '--availability', 'drain', 'n2')
  const spread = async () => (await runs(cluster.agents, 'web', 3)).map(({ node }) => node)
  await until(async () => !(await spread()).includes('n2') && tasksOn(n2).length === 0, {
    deadlineMs: 15_000,
    what: 'n2 to be empty',
  })
  await asker.stop()
  expect(asker.failures).toEqual([])
  expect(await n3.ok('node', 'ls')).toMatch(/n2\s+Ready\s+Drain/)
  await n1.ok('service', 'scale', '--detach', 'web=5')
  const five = await runs(cluster.agents, 'web', 5)
  expect(five.some(({ node }) => node === 'n2')).toBe(false)
  await n1.ok('node', 'update', '--availability', 'active', 'n2')
  await n1.ok('service', 'scale', '--detach', 'web=6')
  expect((await runs(cluster.agents, 'web', 6)).some(({ node }) => node === 'n2')).toBe(true)
})

test('scaling up and down leaves the other tasks alone', async () => {
  await n1.ok('service', 'create', '--detach', '--quiet', '--name', 's', '--replicas', '2', 'sleep', '1000')
  const two = await runs(cluster.agents, 's', 2)
  await n2.ok('service', 'scale', '--detach', 's=7')
  const seven = await runs(cluster.agents, 's', 7)
  for (const task of two) expect(seven).toContainEqual(task)
  const counts = ['n1', 'n2', 'n3'].map((name) => seven.filter(({ node }) => node === name).length)
  expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
  await n3.ok('service', 'scale', '--detach', 's=2')
  const left = await runs(cluster.agents, 's', 2)
  for (const task of left) expect(seven).toContainEqual(task)
})

test('a program that is not there is told at creation, in service ps and in why, and the cluster is otherwise well', async () => {
  const made = await n1.vine('service', 'create', '--detach', '--name', 'none', 'no-such-program-here')
  expect(made.code).toBe(0)
  expect(made.err).toMatch(/no-such-program-here/)
  await until(
    async () =>
      /no-such-program-here/.test((await n2.ok('service', 'ps', '--no-trunc', 'none')).split('\n').slice(1).join('\n')),
    {
      deadlineMs: 10_000,
      everyMs: 100,
      what: 'service ps to say so',
    },
  )
  expect(await n2.ok('service', 'ps', '--no-trunc', 'none')).toMatch(/Rejected|Pending/)
  expect((await n2.vine('status')).out).toMatch(/none/)
})

test('a port that another program holds on one node is told there, and the other nodes serve', async () => {
  const squatter = createServer((_, response) => response.end('somebody else'))
  await new Promise<void>((resolve) => squatter.listen({ host: n2.address, port: 8080 }, resolve))
  try {
    await web('--replicas', '2')
    await runs(cluster.agents, 'web', 2)
    for (const agent of [n1, n3]) expect(await ask(agent.address, 8080)).toMatch(/^n[123] /)
    expect(await ask(n2.address, 8080)).toBe('somebody else')
    await until(async () => /n2: .*8080/.test((await n3.vine('service', 'ps', 'web')).err), {
      deadlineMs: 10_000,
      everyMs: 100,
      what: 'service ps on another node to name the node and the port',
    })
  } finally {
    squatter.closeAllConnections()
    await new Promise((resolve) => squatter.close(resolve))
  }
  await until(async () => /^n[123] /.test(await ask(n2.address, 8080)), {
    deadlineMs: 15_000,
    what: 'n2 to take the port',
  })
})

test('service logs -f merges what the tasks of all nodes say, and goes on as they say more', async () => {
  await n1.ok(
    'service',
    'create',
    '--detach',
    '--quiet',
    '--name',
    'talk',
    '--replicas',
    '3',
    'sh',
    '-c',
    'i=0; while :; do i=$((i+1)); echo "line $i"; sleep 0.2; done',
  )
  await runs(cluster.agents, 'talk', 3)
  const following = spawn(process.execPath, [join(root, 'agent', 'main.ts'), 'service', 'logs', '-f', 'talk'], {
    env: { PATH: process.env.PATH, VINE_SOCKET: n2.socket },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  following.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  try {
    const from = (name: string) => text.split('\n').filter((line) => line.includes(`@${name}`))
    await until(() => ['n1', 'n2', 'n3'].every((name) => from(name).length >= 3), {
      deadlineMs: 10_000,
      what: 'lines from all',
    })
    const sofar = from('n3').length
    await until(() => from('n3').length > sofar + 3, { deadlineMs: 10_000, what: 'further lines' })
    for (const name of ['n1', 'n2', 'n3']) {
      const numbers = from(name).map((line) => Number(/line (\d+)$/.exec(line)?.[1]))
      expect(numbers.slice(0, -1), name).toEqual(numbers.slice(0, -1).map((_, i) => i + (numbers[0] ?? 0)))
    }
  } finally {
    following.kill('SIGINT')
  }
})

test('a name is resolved as a task on another node sees it, and unknown, empty and other types end as they should', async () => {
  await web('--replicas', '2', '--network', 'app')
  const tasks = await runs(cluster.agents, 'web', 2)
  const asker = cluster.agents.find(({ name }) => !tasks.some(({ node }) => node === name)) ?? n1
  const a = await asker.vine('resolve', 'tasks.web', '--from', 'web.1')
  expect(a).toMatchObject({ code: 0, err: '' })
  expect(a.out.trim().split('\n')).toHaveLength(2)
  expect(await asker.vine('resolve', 'web', 'AAAA', '--from', 'web.1')).toMatchObject({ code: 2 })
  expect(await asker.vine('resolve', 'nobody.app', '--from', 'web.1')).toMatchObject({ code: 2 })
  expect(await asker.vine('resolve', 'web', '--from', 'web.9')).toMatchObject({ code: 1 })
  const srv = await asker.ok('resolve', '_80._tcp.web', 'SRV', '--from', 'web.2')
  expect(srv.split('\n')).toHaveLength(2)
})

test('the resolver of a task answers over UDP and TCP, and denies what is not there', async () => {
  const { host, port } = await resolverOf()
  const answer = await queryUdp(host, port, 'web.app')
  expect(answer.answers?.length).toBe(1)
  expect((await queryUdp(host, port, 'tasks.web')).answers).toHaveLength(2)
  const denied = await queryUdp(host, port, 'nobody.app.vine.internal')
  expect([denied.rcode, denied.answers]).toEqual(['NXDOMAIN', []])
})

test('dig asks the resolver of a task, over UDP and TCP', async () => {
  const dig = needs('dig')
  const { host, port } = await resolverOf()
  for (const how of ['+notcp', '+tcp']) {
    const { stdout } = await promisify(execFile)(dig, [`@${host}`, '-p', String(port), how, '+short', 'tasks.web', 'A'])
    expect(stdout.trim().split('\n')).toHaveLength(2)
  }
})

test('a published UDP port answers on every node, and goes on when the task behind it is killed', async () => {
  const echo = `const s = require('dgram').createSocket('udp4')
s.on('message', (m, r) => s.send(process.env.GRAPEVINE_NODE + ' ' + m, r.port, r.address)); s.bind(process.env.PORT, process.env.GRAPEVINE_ADDRESS)`
  await n1.ok(
    'service',
    'create',
    '--detach',
    '--quiet',
    '--name',
    'echo',
    '--replicas',
    '2',
    '--restart-delay',
    '1s',
    '--publish',
    '5300:53/udp',
    'node',
    '-e',
    echo,
  )
  const [first] = await runs(cluster.agents, 'echo', 2)
  for (const agent of cluster.agents) {
    await until(() => sayUdp(agent.address, 5300, 'hello'), {
      deadlineMs: 5_000,
      what: `an echo through ${agent.name}`,
    })
  }
  process.kill(first?.pid ?? 0, 'SIGKILL')
  for (const agent of cluster.agents) {
    const reply = await until(() => sayUdp(agent.address, 5300, 'again'), {
      deadlineMs: 5_000,
      what: `an echo through ${agent.name}`,
    })
    expect(reply).toMatch(/^n[123] again$/)
  }
})

test('a node that hosts no task of a network holds none of its endpoint records, in what it says, on its disk and in its memory', async () => {
  const alias = 'alias-of-endpoints-alone'
  await n1.ok('network', 'create', 'secret')
  await n1.ok(
    'service',
    'create',
    '--detach',
    '--quiet',
    '--name',
    'hidden',
    '--replicas',
    '2',
    '--hostname',
    '{{.Node.Hostname}}-told-by-endpoints',
    '--constraint',
    'node.hostname!=n3',
    '--network',
    `name=secret,alias=${alias}`,
    'sleep',
    '1000',
  )
  await runs(cluster.agents, 'hidden', 2)
  const told = async (agent: Agent) =>
    JSON.parse(await agent.ok('network', 'inspect', '--verbose', 'secret'))[0].Services
  await until(async () => (await told(n1)).hidden?.Tasks.length === 2, {
    deadlineMs: 5_000,
    what: 'n1 to hold both endpoints',
  })
  expect(await told(n3)).toEqual({})
  // Only an endpoint record holds the hostname after its template was filled in.
  const names = ['n1-told-by-endpoints', 'n2-told-by-endpoints']
  const disk = (agent: Agent) =>
    readdirSync(agent.dir)
      .filter((file) => file.startsWith('state.'))
      .map((file) => readFileSync(join(agent.dir, file), 'latin1'))
      .join('')
  expect(names.map((name) => disk(n1).includes(name))).toEqual([true, true])
  expect(names.map((name) => disk(n3).includes(name))).toEqual([false, false])
  const [holder, stranger] = await Promise.all([n1.heap(), n3.heap()])
  expect(names.map((name) => holder.includes(name))).toEqual([true, true])
  expect(names.map((name) => stranger.includes(name))).toEqual([false, false])
  await n1.ok('service', 'rm', 'hidden')
  await until(async () => (await n1.vine('network', 'rm', 'secret')).code === 0, {
    deadlineMs: 10_000,
    what: 'the network to be free',
  })
})

function web(...flags: readonly string[]): Promise<string> {
  onTestFailed(() => {
    for (const agent of cluster.agents) process.stderr.write(`--- ${agent.name} said:\n${agent.said().slice(-3_000)}\n`)
  })
  const what = ['--name', 'web', '--publish', '8080:80', ...flags]
  return n1.ok('service', 'create', '--detach', '--quiet', ...what, 'node', '-e', webProgram)
}

/** Where the resolver of a task of `web` listens, which this starts with two tasks on `app`. */
async function resolverOf(): Promise<{ readonly host: string; readonly port: number }> {
  await web('--replicas', '2', '--network', 'app')
  const [task] = await runs(cluster.agents, 'web', 2)
  const environment = readFileSync(`/proc/${task?.pid}/environ`, 'utf8').split('\0')
  const [host = '', port = ''] = (environment.find((line) => line.startsWith('GRAPEVINE_DNS=')) ?? '')
    .slice('GRAPEVINE_DNS='.length)
    .split(':')
  return { host, port: Number(port) }
}

async function queryUdp(host: string, port: number, name: string) {
  const packet = dnsPacket.encode({
    type: 'query',
    id: 7,
    flags: dnsPacket.RECURSION_DESIRED,
    questions: [{ type: 'A', name }],
  })
  const reply = await until(() => exchange(host, port, packet), { deadlineMs: 5_000, what: `an answer for ${name}` })
  return dnsPacket.decode(reply) as ReturnType<typeof dnsPacket.decode> & { readonly rcode: string }
}

async function sayUdp(host: string, port: number, text: string): Promise<string | undefined> {
  return (await exchange(host, port, Buffer.from(text)))?.toString()
}

/** One datagram there and one back; undefined after half a second. */
function exchange(host: string, port: number, packet: Buffer): Promise<Buffer | undefined> {
  const socket = createSocket('udp4')
  return new Promise((resolve) => {
    const done = (reply?: Buffer) => {
      clearTimeout(timer)
      socket.close()
      resolve(reply)
    }
    const timer = setTimeout(() => done(), 500)
    socket.on('message', done)
    socket.on('error', () => done())
    socket.send(packet, port, host)
  })
}

/** Tasks that the agent's runtime has, by their folders' shims. */
function tasksOn(agent: Agent): readonly number[] {
  return processesOf(`${agent.dir}/tasks`)
}
