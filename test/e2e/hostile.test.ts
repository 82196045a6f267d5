/**
 * Garbage, oversized and half-right bytes of strangers on every socket of a running agent: control plane, mesh, published port, DNS and API.
 *
 * What a member may send beyond them is in hostile-member.test.ts. What counts: the agent is unharmed (victims.ts), serves honest clients
 * meanwhile, and the other agent hears nothing of it.
 */
import { createSocket } from 'node:dgram'
import { connect, type NetConnectOpts, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { bent, type Chance, chance, fuzzRuns, fuzzTimeoutMs, manyInputs, mark, noise, pickOf, spoilt } from '../fuzz.ts'
import { until } from '../until.ts'
import { ask } from './clients.ts'
import { answersTcp, droppedBy, openVictims, question, type Victims } from './victims.ts'

/** Connections at one time: strangers are closed after their hello time only, so more would wait for each other. */
const atOnce = 32

let victims: Victims
let heardBefore: number

beforeAll(async () => {
  victims = await openVictims()
  heardBefore = await droppedBy(victims.other, /./)
})

afterAll(() => victims.cluster.close())

afterEach(async ({ task }) => {
  await victims.unharmed(task.name)
  expect(await droppedBy(victims.other, /./), 'what the other agent dropped').toBe(heardBefore)
})

const control = () => ({ host: victims.attacked.inner, port: 7766 })
const mesh = () => ({ host: victims.attacked.inner, port: 7767 })
const published = () => ({ host: victims.attacked.address, port: 8080 })
const api = () => ({ path: victims.attacked.socket })

test(
  `control plane: ${manyInputs} of strangers are outlived`,
  () => throwAt(control(), controlShapes, chance('control')),
  fuzzTimeoutMs,
)

test(
  `mesh: ${manyInputs} of strangers are outlived`,
  () => throwAt(mesh(), meshShapes, chance('mesh of strangers')),
  fuzzTimeoutMs,
)

test(
  `published port: ${manyInputs} are outlived`,
  () => throwAt(published(), [() => ''], chance('published')),
  fuzzTimeoutMs,
)

test(
  `API: ${manyInputs} are outlived, and nothing is made of them`,
  () => throwAt(api(), apiShapes, chance('api')),
  fuzzTimeoutMs,
)

test(
  `DNS: ${manyInputs} over TCP are outlived`,
  () => throwAt(victims.resolver, dnsStreamShapes, chance('dns over tcp')),
  fuzzTimeoutMs,
)

test(
  `DNS: ${manyInputs} over UDP are outlived, and honest questions answered meanwhile`,
  async () => {
    const { host, port } = victims.resolver
    const random = chance('dns over udp')
    const socket = createSocket('udp4')
    const answers = new Set<number>()
    socket.on('message', (reply) => {
      if (reply.length > 12 && reply.readUInt16BE(0) >= 60_000) answers.add(reply.readUInt16BE(0))
    })
    let honest = 0
    try {
      for (let i = 0; i < fuzzRuns; i++) {
        socket.send(pickOf(dnsShapes, random)(random), port, host)
        if (i % 50 !== 49) continue
        // Datagrams may be lost: an honest client asks again.
        const id = 60_000 + (honest++ % 5_000)
        answers.delete(id)
        await until(() => answers.has(id) || void socket.send(question(id), port, host), {
          deadlineMs: 5_000,
          everyMs: 100,
          what: `the answer to question ${i}`,
        })
      }
    } finally {
      socket.close()
    }
    expect(honest).toBe(Math.floor(fuzzRuns / 50))
  },
  fuzzTimeoutMs,
)

test('clients that begin and say no more, or a byte now and then, keep nobody waiting and are closed', async () => {
  const { attacked, cluster, resolver } = victims
  const strangers = [
    ...begin(control(), 100, '\x13/multistream/1.0.0\n\x07/no'),
    ...begin(mesh(), 100, Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252])),
  ]
  // Fewer: a task may have 64 connections to its resolver, and keeps only itself waiting. One that goes on is never idle.
  const resolving = begin(resolver, 40, Buffer.from([0, 40, 0, 7, 1]))
  // A published port is as patient as its task, and the API's time for headers is looked at twice a minute: these go when we do.
  const patient = [
    ...begin(published(), 100, 'GET / HTTP/1.1\r\nX-Long: '),
    ...begin(api(), 100, 'POST /services/create HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{"Name":'),
  ]
  const all = [...strangers, ...resolving, ...patient]
  const drip = setInterval(() => {
    for (const [i, socket] of all.entries()) if (i % 2 === 0 && socket.writable) socket.write('a')
  }, 500)
  try {
    await until(() => all.every((socket) => !socket.connecting), {
      deadlineMs: 5_000,
      what: 'slow clients to be connected',
    })
    for (const { address } of cluster.agents) expect(await ask(address, 8080)).toMatch(/^n[12] /)
    expect((await attacked.client.get<readonly unknown[]>('/nodes')).length).toBe(2)
    expect(await answersTcp(resolver)).toBe(true)
    await until(() => [...strangers, ...resolving.filter((_, i) => i % 2 === 1)].every((socket) => socket.destroyed), {
      deadlineMs: 20_000,
      everyMs: 100,
      what: 'slow clients to be closed',
    })
    expect(patient.filter((socket) => socket.destroyed)).toEqual([])
  } finally {
    clearInterval(drip)
    for (const socket of all) socket.destroy()
  }
})

type Shape = (random: Chance) => string | Uint8Array

const hello = Buffer.from('\x13/multistream/1.0.0\n')
const noise1 = Buffer.from('\x13/multistream/1.0.0\n\x07/noise\n')
const http = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'

const controlShapes: readonly Shape[] = [
  () => hello,
  (random) => Buffer.concat([noise1, noise(random, 600)]),
  // The first message of the handshake: a length, and a key that is none.
  (random) => Buffer.concat([noise1, Buffer.from([0, 32]), noise(random, 32)]),
  (random) => Buffer.concat([hello, noise(random, 60)]),
  (random) => spoilt(noise1, random),
  () => '\x13/multistream/9.9.9\n\x07/noise\n',
  () => Uint8Array.from({ length: 64 }, () => 0xff),
  () => http,
]

/** The head of a TLS 1.3 hello of a client: record, version, length; then what should follow. */
const tlsHello = Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3])
const meshShapes: readonly Shape[] = [
  (random) => Buffer.concat([tlsHello, noise(random, 512)]),
  (random) => Buffer.concat([tlsHello, Buffer.alloc(508, pickOf([0, 1, 255], random))]),
  (random) => spoilt(Buffer.concat([tlsHello, Buffer.alloc(508)]), random),
  (random) => Buffer.concat([Buffer.from([23, 3, 3, 255, 255]), noise(random, 100)]),
  () => Buffer.from([21, 3, 3, 0, 2, 2, 40]),
  () => http,
]

const paths = [
  '/services/create',
  '/services/web/update?version=1',
  '/nodes/n1/update?version=1',
  '/v9.9/services/create',
  '/v0.1/services/create',
  '/grapevine/nowhere',
]
const body = (text: string, random: Chance) =>
  `POST ${pickOf(paths, random)} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`
/** A good service whose name is taken, so that nothing comes of it however it is bent. */
const taken = {
  Name: 'web',
  Labels: { color: mark },
  TaskTemplate: {
    ContainerSpec: { Image: 'node', Args: ['-e', mark], Env: [`A=${mark}`], Labels: {} },
    Networks: [{ Target: 'app', Aliases: [mark] }],
    RestartPolicy: { Condition: 'any', Delay: 1_000_000_000, MaxAttempts: 3 },
    Placement: { Constraints: ['node.role==worker'] },
  },
  Mode: { Replicated: { Replicas: 2 } },
  EndpointSpec: { Mode: 'vip', Ports: [{ Protocol: 'tcp', TargetPort: 80, PublishedPort: 9090 }] },
}
const apiShapes: readonly Shape[] = [
  () => `GET /${'a'.repeat(100_000)} HTTP/1.1\r\n\r\n`,
  (random) =>
    `GET /${encodeURIComponent(Buffer.from(noise(random, 40)).toString('latin1'))} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
  (random) => body(JSON.stringify(bent(taken, random)) ?? '', random),
  (random) => body(JSON.stringify(bent(bent(taken, random), random)) ?? '', random),
  (random) => spoilt(Buffer.from(body('{}', random)), random),
  (random) => body('{"Name":', random),
  (random) => body('['.repeat(20_000), random),
  (random) => body(`${'{"Name":'.repeat(5_000)}1${'}'.repeat(5_000)}`, random),
  (random) => body(`{"__proto__":{"x":1},"Name":"${'n'.repeat(64 + Math.floor(random() * 2_000))}"}`, random),
  () => 'POST /services/create HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n{}',
  () => 'POST /services/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\nabc',
  (random) => `GET /events?filters=${'%7B'.repeat(Math.floor(random() * 1_000))} HTTP/1.1\r\nHost: x\r\n\r\n`,
]

const dnsShapes: readonly Shape[] = [
  (random) => noise(random, 600),
  (random) => spoilt(question(1 + Math.floor(random() * 50_000)), random),
  (random) => question(2, 'tasks.web').subarray(0, Math.floor(random() * 27)),
  // A name that points at itself.
  () => Buffer.from('0003010000010000000000000' + '0c00c00010001', 'hex'),
  (random) => question(4, Array.from({ length: 20 }, () => String(Math.floor(random() * 1e9))).join('.')),
  // Counts of records that are not there, other operations, replies, and EDNS of another version (RFC 6891).
  (random) => {
    const packet = Buffer.from(question(5))
    packet.writeUInt16BE(Math.floor(random() * 65_536), 4 + 2 * Math.floor(random() * 4))
    return packet
  },
  (random) => {
    const packet = Buffer.from(question(6))
    packet[2] = Math.floor(random() * 256)
    return packet
  },
  (random) => {
    const packet = Buffer.from(question(7))
    packet.writeUInt16BE(1, 10)
    return Buffer.concat([packet, Buffer.from([0, 0, 41, 255, 255, 0, 1 + Math.floor(random() * 255), 0, 0, 0, 0])])
  },
  (random) => Buffer.concat([question(8).subarray(0, 12), Buffer.alloc(Math.floor(random() * 8_000), 63)]),
]
const dnsStreamShapes: readonly Shape[] = [
  (random) => {
    const packet = pickOf(dnsShapes, random)(random)
    const lie = random() < 0.3 ? Math.floor(random() * 65_536) : packet.length
    return Buffer.concat([Buffer.from([lie >> 8, lie & 255]), Buffer.from(packet)])
  },
  () => Buffer.concat([Buffer.from([255, 255]), Buffer.alloc(65_535, 3)]),
]

/** Sends each input over a connection of its own, which ends when the other side ends it, or when a moment has passed after the last byte. */
async function throwAt(target: NetConnectOpts, shapes: readonly Shape[], random: Chance): Promise<void> {
  const all: readonly Shape[] = [...shapes, (r) => noise(r, 2_000), (r) => noise(r, r() < 0.01 ? 1_000_000 : 64)]
  let left = fuzzRuns
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

/** Connections that begin well and go no further. */
function begin(target: NetConnectOpts, count: number, first: string | Uint8Array): readonly Socket[] {
  return Array.from({ length: count }, () => {
    const socket = connect(target)
    socket.on('error', () => {})
    socket.resume()
    socket.write(first)
    return socket
  })
}
