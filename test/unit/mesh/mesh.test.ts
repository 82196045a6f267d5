// Connections between agents: who is let in, what ends them, and streams on them. Real TLS on loopback.
import { type AddressInfo, connect as connectTcp, createServer } from 'node:net'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { afterEach, expect, test } from 'vitest'
import { selfSigned } from '../../../agent/mesh/certificate.ts'
import { createClock } from '../../../agent/real.ts'
import { createIdentity, type Identity } from '../../../agent/trust/identity.ts'
import { until } from '../../until.ts'
import { Hearing, meshes, type Pair, type PairOptions, target } from './agents.ts'
import { createRelay } from './relay.ts'

let pair: Pair

afterEach(() => pair.close())

async function begin(options: PairOptions = {}): Promise<void> {
  pair = await meshes(options)
}

const soon = { deadlineMs: 5_000, what: 'it' }

function open(): Hearing {
  const hearing = new Hearing()
  pair.a.open(pair.idB.nodeId, target, hearing)
  return hearing
}

async function opened(): Promise<Hearing> {
  const hearing = open()
  await until(() => hearing.flow !== undefined, soon)
  return hearing
}

function tls(identity: Identity, port: number, more: ConnectionOptions = {}): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket: TLSSocket = connect({
      host: '127.0.0.1',
      port,
      key: identity.privateKey.export({ type: 'pkcs8', format: 'pem' }),
      cert: selfSigned(identity.privateKey),
      rejectUnauthorized: false,
      ALPNProtocols: ['grapevine-mesh/1'],
      ...more,
    })
    socket.once('secureConnect', () => resolve(socket))
    socket.once('error', reject)
  })
}

test('flows share one connection, in both directions', async () => {
  await begin()
  const flows = [await opened(), await opened(), await opened()]
  const back = new Hearing()
  pair.a.onFlow((flow) => {
    flow.accept()
    return new Hearing()
  })
  pair.b.open(pair.idA.nodeId, target, back)
  await until(() => back.flow !== undefined, soon)
  flows[1]!.flow!.send(Buffer.from('hello'))
  await until(() => pair.taken[1]!.text === 'hello', soon)
  expect([pair.a.counters().links, pair.b.counters().links]).toEqual([1, 1])
})

test('bulk flows at the same time come whole', async () => {
  await begin()
  const size = 20_000_000
  const flows = await Promise.all([opened(), opened()])
  for (const { flow } of flows) {
    for (let sent = 0; sent < size; sent += 65_536) flow!.send(Buffer.alloc(Math.min(65_536, size - sent), 7))
    flow!.end()
  }
  await until(() => pair.taken.every((t) => t.ended), { deadlineMs: 15_000, what: 'both to end' })
  expect(pair.taken.map((t) => t.bytes)).toEqual([size, size])
})

test('another key than the node id names is not that node', async () => {
  await begin({ answersAs: createIdentity() })
  const hearing = open()
  await until(() => hearing.reset !== undefined, soon)
  expect(hearing.reset).toBe('link-lost')
})

test('a stranger with a good key and no membership is refused, and counted', async () => {
  await begin()
  const socket = await tls(createIdentity(), pair.b.listening[0]!.port)
  await new Promise((resolve) => socket.once('close', resolve).resume())
  expect(pair.b.counters()).toMatchObject({ strangers: 1, links: 0 })
})

test('a client without a certificate, of another version, or that speaks no TLS is refused', async () => {
  await begin()
  const { port } = pair.b.listening[0]!
  const bare = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ALPNProtocols: ['grapevine-mesh/1'] })
  bare.on('error', () => {})
  await new Promise((resolve) => bare.once('close', resolve).resume())
  await expect(tls(pair.idA, port, { ALPNProtocols: ['grapevine-mesh/2'] })).rejects.toThrow(/no application protocol/i)
  await expect(tls(pair.idA, port, { maxVersion: 'TLSv1.2' })).rejects.toThrow()
  const raw = connectTcp({ host: '127.0.0.1', port })
  raw.end('GET / HTTP/1.0\r\n\r\n')
  await new Promise((resolve) => raw.once('close', resolve).resume())
  await until(() => pair.b.counters().strangers === 4, soon)
  expect((await opened()).flow).toBeDefined()
})

test('a session is never resumed: each connection proves its key', async () => {
  await begin()
  const { port } = pair.b.listening[0]!
  const first = await tls(pair.idA, port)
  const session = await new Promise<Buffer>((resolve) => first.once('session', resolve))
  const again = await tls(pair.idA, port, { session })
  expect(again.isSessionReused()).toBe(false)
  first.destroy()
  again.destroy()
})

test('membership is checked at each new flow, at both ends', async () => {
  await begin()
  await opened()
  pair.members.delete(pair.idA.nodeId)
  const hearing = open()
  await until(() => hearing.reset !== undefined, soon)
  expect(hearing.reset).toBe('not-member')
  pair.members.add(pair.idA.nodeId)
  pair.members.delete(pair.idB.nodeId)
  const other = open()
  await until(() => other.reset !== undefined, soon)
  expect(pair.taken).toHaveLength(1)
})

test('a removed node loses all its connections', async () => {
  await begin()
  const { flow } = await opened()
  expect(flow).toBeDefined()
  pair.b.closeNode(pair.idA.nodeId)
  expect(pair.taken[0]!.reset).toBe('not-member')
  await until(() => pair.a.counters().links === 0, soon)
})

test('frames that break the protocol close the connection, and are counted', async () => {
  await begin()
  const socket = await tls(pair.idA, pair.b.listening[0]!.port)
  await until(() => pair.b.counters().links === 1, soon)
  socket.write(Buffer.from('ffffffffffffffff', 'hex'))
  await new Promise((resolve) => socket.once('close', resolve).resume())
  expect(pair.b.counters()).toMatchObject({ violations: 1, links: 0 })
})

test('a node that nobody answers for is told as lost, within the dial time', async () => {
  await begin()
  await pair.b.close()
  const hearing = open()
  await until(() => hearing.reset !== undefined, soon)
  expect(hearing.reset).toBe('link-lost')
})

test('a cancelled opening hears nothing more', async () => {
  await begin()
  const hearing = new Hearing()
  pair.a.open(pair.idB.nodeId, target, hearing).cancel()
  await opened()
  expect([hearing.flow, hearing.reset]).toEqual([undefined, undefined])
})

test('a link that went silent while a flow waits is asked, and given up; an idle one is left alone', async () => {
  const real = createClock()
  let aheadMs = 0
  const watches: (() => void)[] = []
  await begin({
    clockA: {
      ...real,
      now: () => real.now() + aheadMs,
      after: (ms, task) => {
        if (ms !== 1_000) return real.after(ms, task)
        watches.push(task)
        return () => {}
      },
    },
  })
  /** Ten seconds of watching, in steps of one, while b is not heard. */
  const pass = () => {
    for (let second = 0; second < 10; second++) {
      aheadMs += 1_000
      watches.shift()!()
    }
  }
  const { flow } = await opened()
  pass()
  expect(pair.a.counters().links).toBe(1)

  // Sent and never answered, as if b had frozen: the test never lets it run.
  flow!.send(Buffer.alloc(400_000))
  pass()
  expect(pair.a.counters()).toMatchObject({ links: 0, linksLost: 1 })
})

test('a stream carries bytes both ways with back-pressure and half-close', async () => {
  await begin()
  pair.b.onStream((stream) => {
    // Answers what it heard, backwards in time: only after the other direction has ended.
    let length = 0
    stream.on('data', (chunk: Buffer) => {
      length += chunk.length
    })
    stream.on('end', () => stream.end(`heard ${length}`))
  })
  const stream = await pair.a.openStream(pair.idB.nodeId)
  for (let i = 0; i < 100; i++) {
    if (!stream.write(Buffer.alloc(100_000))) await new Promise((resolve) => stream.once('drain', resolve))
  }
  stream.end()
  let answer = ''
  for await (const chunk of stream) answer += chunk
  expect(answer).toBe('heard 10000000')
})

test('a stream to a node without an API, or that goes away, fails with a sentence', async () => {
  await begin()
  await expect(pair.a.openStream(pair.idB.nodeId)).rejects.toMatchObject({ code: 'unavailable' })
  pair.b.onStream(() => {})
  const stream = await pair.a.openStream(pair.idB.nodeId)
  const failed = new Promise<Error>((resolve) => stream.once('error', resolve))
  pair.a.nodeLost(pair.idB.nodeId)
  expect((await failed).message).toBe('The connection to the other agent ended: node-lost')
})

test('a node whose port is closed is out of reach at the first look, and one that answers is not', async () => {
  await begin()
  const both = [pair.idB.nodeId]
  expect(await pair.a.unreached(both, 5_000)).toEqual([])
  await pair.b.close()
  await until(() => pair.a.counters().links === 0, soon)
  expect(await pair.a.unreached(both, 5_000)).toEqual(both)
})

test('a node that can be reached again is not out of reach at the next look', async () => {
  const relay = createRelay(() => pair.b)
  await begin({ portB: await relay.listen() })
  const node = [pair.idB.nodeId]
  await relay.close()
  expect(await pair.a.unreached(node, 5_000)).toEqual(node)
  await relay.listen()
  try {
    expect(await pair.a.unreached(node, 5_000)).toEqual([])
  } finally {
    await relay.close()
  }
})

test('a node whose connection has gone silent is out of reach, also where no flow waits for it', async () => {
  const relay = createRelay(() => pair.b)
  await begin({ portB: await relay.listen() })
  const node = [pair.idB.nodeId]
  try {
    expect(await pair.a.unreached(node, 5_000)).toEqual([])
    relay.silence()
    // Nobody is accused of a moment's silence.
    expect(await pair.a.unreached(node, 10)).toEqual([])
    expect(await pair.a.unreached(node, 4_000)).toEqual(node)
  } finally {
    await relay.close()
  }
})

test('a node that says nothing is out of reach once a try has failed, and no look waits longer than it is given', async () => {
  const silent = createServer()
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  await begin({ portB: (silent.address() as AddressInfo).port })
  const node = [pair.idB.nodeId]
  try {
    expect(await pair.a.unreached(node, 10)).toEqual([])
    await until(async () => (await pair.a.unreached(node, 10)).length === 1, { ...soon, deadlineMs: 6_000 })
  } finally {
    silent.close()
  }
})
