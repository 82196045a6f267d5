/**
 * Garbage, oversized and half-right bytes on every socket of a running agent: control plane, mesh, published port, DNS and API.
 *
 * Chance comes from a seed that a failure prints; VINE_FUZZ_RUNS sets how many inputs a socket gets (2,000; the soak sends 100,000) and
 * VINE_FUZZ_SEED replays a run. What counts: the process goes on with the same tasks, serves honest clients meanwhile, and keeps its size.
 */
import { createSocket } from 'node:dgram'
import { readFileSync } from 'node:fs'
import { connect, type NetConnectOpts } from 'node:net'
import dnsPacket from 'dns-packet'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { until } from '../until.ts'
import { ask, type RunningTask, runs, webProgram } from './clients.ts'
import { type Cluster, openCluster, see } from './cluster.ts'

const count = Number(process.env.VINE_FUZZ_RUNS ?? 2_000)
const seed = Number(process.env.VINE_FUZZ_SEED ?? 20_260_101)
/** 2,000 take 3 s on an idle machine. */
const timeoutMs = Math.max(60_000, count * 30)
/** Connections at one time: strangers are closed after their hello time only, so more would wait for each other. */
const atOnce = 32

let cluster: Cluster<2>
let before: readonly RunningTask[]

beforeAll(async () => {
  cluster = await openCluster({ nodes: 2 })
  const [n1] = cluster.agents
  await n1.ok('network', 'create', 'app')
  const what = ['--name', 'web', '--replicas', '2', '--network', 'app', '--publish', '8080:80']
  await n1.ok('service', 'create', '--detach', '--quiet', ...what, 'node', '-e', webProgram)
  before = await runs(cluster.agents, 'web', 2)
})

afterAll(() => cluster.close())

afterEach(async ({ task }) => {
  const [n1, n2] = cluster.agents
  const replay = `${task.name}; replay with VINE_FUZZ_SEED=${seed}\n${n1.said().slice(-2_000)}`
  expect(n1.isRunning(), replay).toBe(true)
  await see([n1, n2], [n1, n2])
  expect(await runs([n1, n2], 'web', 2), replay).toEqual(before)
  for (const { address } of cluster.agents) expect(await ask(address, 8080), replay).toMatch(/^n[12] /)
  expect(n1.said(), replay).not.toMatch(/"level":"error"/)
  // An idle agent has 160 MB at most; what is kept of garbage would show.
  await until(() => residentMb(n1.pid) < 400, { deadlineMs: 10_000, what: 'the agent to be small again' })
})

test(
  'the control plane outlives garbage',
  () => throwAt({ host: cluster.agents[0].inner, port: 7766 }, controlShapes),
  timeoutMs,
)

test('the mesh outlives garbage', () => throwAt({ host: cluster.agents[0].inner, port: 7767 }, meshShapes), timeoutMs)

test(
  'a published port outlives garbage',
  () => throwAt({ host: cluster.agents[0].address, port: 8080 }, [() => '']),
  timeoutMs,
)

test('the API outlives garbage', () => throwAt({ path: cluster.agents[0].socket }, apiShapes), timeoutMs)

test('the resolver of a task outlives garbage over TCP', () => throwAt(resolver(), dnsStreamShapes), timeoutMs)

test(
  'the resolver of a task outlives garbage over UDP, and answers honest questions meanwhile',
  async () => {
    const { host, port } = resolver()
    const random = mulberry(seed)
    const socket = createSocket('udp4')
    const answers = new Set<number>()
    socket.on('message', (reply) => {
      if (reply.length > 12 && reply.readUInt16BE(0) >= 60_000) answers.add(reply.readUInt16BE(0))
    })
    let honest = 0
    try {
      for (let i = 0; i < count; i++) {
        socket.send(pickOf(dnsShapes, random)(random), port, host)
        if (i % 50 !== 49) continue
        // Datagrams may be lost: an honest client asks again.
        const id = 60_000 + (honest++ % 5_000)
        await until(() => answers.has(id) || void socket.send(question(id), port, host), {
          deadlineMs: 5_000,
          everyMs: 100,
          what: `the answer to question ${i}`,
        })
      }
    } finally {
      socket.close()
    }
    expect(honest).toBe(Math.floor(count / 50))
  },
  timeoutMs,
)

type Shape = (random: () => number) => string | Uint8Array

const noise = (random: () => number, most: number) =>
  Uint8Array.from({ length: 1 + Math.floor(random() ** 3 * most) }, () => Math.floor(random() * 256))

const controlShapes: readonly Shape[] = [
  () => '\x13/multistream/1.0.0\n',
  (random) => Buffer.concat([Buffer.from('\x13/multistream/1.0.0\n\x07/noise\n'), noise(random, 600)]),
  (random) => Buffer.concat([Buffer.from('\x13/multistream/1.0.0\n'), noise(random, 60)]),
  () => Uint8Array.from({ length: 64 }, () => 0xff),
  () => 'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
]

const meshShapes: readonly Shape[] = [
  // A TLS record that says it is a hello, and is none.
  (random) => Buffer.concat([Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]), noise(random, 512)]),
  (random) => Buffer.concat([Buffer.from([23, 3, 3, 255, 255]), noise(random, 100)]),
  () => Buffer.from([21, 3, 3, 0, 2, 2, 40]),
  () => 'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
]

const paths = [
  '/services/create',
  '/networks/create',
  '/services/web/update?version=1',
  '/nodes/n1/update',
  '/grapevine/token',
]
const body = (text: string, random: () => number) =>
  `POST ${pickOf(paths, random)} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`
const apiShapes: readonly Shape[] = [
  () => `GET /${'a'.repeat(100_000)} HTTP/1.1\r\n\r\n`,
  (random) =>
    `GET /${encodeURIComponent(Buffer.from(noise(random, 40)).toString('latin1'))} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
  (random) => body('{"Name":', random),
  (random) => body('['.repeat(20_000), random),
  (random) =>
    body(
      JSON.stringify({
        Name: Buffer.from(noise(random, 80)).toString('latin1'),
        TaskTemplate: { ContainerSpec: { Image: 7 } },
      }),
      random,
    ),
  (random) => body(`{"__proto__":{"x":1},"Name":"${'n'.repeat(Math.floor(random() * 2_000))}"}`, random),
  () => 'POST /services/create HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n{}',
  () => 'POST /services/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\nabc',
]

const question = (id: number, name = 'tasks.web') =>
  dnsPacket.encode({ type: 'query', id, flags: dnsPacket.RECURSION_DESIRED, questions: [{ type: 'A', name }] })
const dnsShapes: readonly Shape[] = [
  (random) => noise(random, 600),
  (random) => {
    const packet = Buffer.from(question(1 + Math.floor(random() * 50_000)))
    for (let i = 0; i < 3; i++) packet[Math.floor(random() * packet.length)] = Math.floor(random() * 256)
    return packet
  },
  (random) => question(2, 'tasks.web').subarray(0, Math.floor(random() * 27)),
  // A name that points at itself.
  () => Buffer.from('0003010000010000000000000' + '0c00c00010001', 'hex'),
  (random) => question(4, Array.from({ length: 20 }, () => String(Math.floor(random() * 1e9))).join('.')),
]
const dnsStreamShapes: readonly Shape[] = [
  (random) => {
    const packet = pickOf(dnsShapes, random)(random)
    const lie = random() < 0.3 ? Math.floor(random() * 65_536) : packet.length
    return Buffer.concat([Buffer.from([lie >> 8, lie & 255]), Buffer.from(packet)])
  },
]

/** Sends each input over a connection of its own, which ends when the other side ends it, or when a moment has passed after the last byte. */
async function throwAt(target: NetConnectOpts, shapes: readonly Shape[]): Promise<void> {
  const random = mulberry(seed)
  const all: readonly Shape[] = [...shapes, (r) => noise(r, 2_000), (r) => noise(r, r() < 0.01 ? 1_000_000 : 64)]
  let left = count
  const throwers = Array.from({ length: atOnce }, async () => {
    while (left-- > 0) await throwOne(target, pickOf(all, random)(random), random() < 0.5)
  })
  await Promise.all(throwers)
}

/** 20 ms: an answer on loopback takes one; whoever waits for more bytes is left with what it has. */
const patienceMs = 20

function throwOne(target: NetConnectOpts, bytes: string | Uint8Array, politely: boolean): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(target)
    const timer = setTimeout(() => socket.destroy(), 2_000)
    socket.on('error', () => {})
    socket.on('close', () => {
      clearTimeout(timer)
      resolve()
    })
    socket.resume()
    socket.write(bytes, () => {
      if (politely) socket.end()
      setTimeout(() => socket.destroy(), patienceMs)
    })
  })
}

/** The resolver of the first node's task. */
function resolver(): { readonly host: string; readonly port: number } {
  const task = before.find(({ node }) => node === 'n1')
  const environment = readFileSync(`/proc/${task?.pid}/environ`, 'utf8')
  const [, host = '', port = ''] = /GRAPEVINE_DNS=([\d.]+):(\d+)/.exec(environment) ?? []
  return { host, port: Number(port) }
}

function residentMb(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}

function pickOf<T>(items: readonly T[], random: () => number): T {
  return items[Math.floor(random() * items.length)] as T
}

/** Mulberry32: a small generator with a seed. */
function mulberry(start: number): () => number {
  let state = start
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}
