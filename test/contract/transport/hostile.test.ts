// Garbage on every surface that a stranger or a broken member can reach: nothing crashes, and a good node goes on being served.
import { createConnection } from 'node:net'
import type { Connection, Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import type { Libp2p } from 'libp2p'
import { afterEach, describe, expect, test } from 'vitest'
import { encodeFrame, frameKinds } from '../../../agent/transport/frames.ts'
import { controlProtocol } from '../../../agent/transport/reach.ts'
import { createIdentity, type Identity } from '../../../agent/trust/identity.ts'
import { encode } from '../../../protocol/codec.ts'
import { bent, type Chance, chance, fuzzRuns, fuzzTimeoutMs, manyInputs, noise, spoilt } from '../../fuzz.ts'
import { until } from '../../until.ts'
import { admitted, type LibStation, libp2pCluster } from './stations.ts'
import { strangerNode } from './stranger.ts'

const closers: (() => unknown)[] = []
const uncaught: unknown[] = []
const onUncaught = (error: unknown) => uncaught.push(error)
process.on('uncaughtException', onUncaught)
process.on('unhandledRejection', onUncaught)

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
  expect(uncaught).toEqual([])
})

const garbage = (random: Chance) => noise(random, 3_000)

async function pair() {
  const cluster = await libp2pCluster(2)
  closers.push(cluster.close)
  const [a, b] = cluster.stations
  await cluster.until('both', () => a!.transport.connected().length === 1 && b!.transport.connected().length === 1)
  return { a: a!, b: b! }
}

async function stillServes(a: LibStation, b: LibStation): Promise<void> {
  const answer = await a.transport.request(b.transport.self, 'echo', Buffer.from('still here'), 5_000)
  expect(Buffer.from(answer).toString()).toBe('still here')
}

async function stranger(cluster: string, identity: Identity): Promise<Libp2p> {
  const node = await strangerNode(cluster, identity)
  closers.push(() => node.stop())
  return node
}

function open(node: Libp2p, target: LibStation): Promise<Connection> {
  return node.dial(multiaddr(target.transport.listening()[0]!))
}

async function send(connection: Connection, protocol: string, bytes: Uint8Array): Promise<void> {
  try {
    const stream = await connection.newStream(protocol, { maxOutboundStreams: 100 })
    stream.send(bytes)
    await stream.close()
  } catch {
    // The other side ended the stream or the connection: what it is meant to do.
  }
}

describe('hostile input', () => {
  test(`control plane: ${manyInputs} of garbage on the port`, { timeout: fuzzTimeoutMs }, async () => {
    const { a, b } = await pair()
    const port = Number(a.transport.listening()[0]!.split('/')[4])
    const next = chance('control port')
    for (let batch = 0; batch < fuzzRuns / 50; batch++) {
      await Promise.all(
        Array.from(
          { length: 50 },
          () =>
            new Promise<void>((resolve) => {
              const socket = createConnection(port, '127.0.0.1')
              socket.on('error', () => {})
              socket.on('close', () => resolve())
              socket.on('connect', () => socket.end(garbage(next)))
              socket.resume()
            }),
        ),
      )
    }
    await stillServes(a, b)
  })

  test(`control plane: ${manyInputs} as hellos of strangers, whole and in pieces of the form`, {
    timeout: fuzzTimeoutMs,
  }, async () => {
    const { a, b } = await pair()
    const next = chance('hellos')
    const cluster = a.cluster
    const greet = { say: 'greet', cluster, wallMs: Date.now(), build: '' }
    const greeted = encodeFrame(frameKinds.hello, encode(greet))
    const claim = (bytes: Uint8Array) => ({
      say: 'claim',
      secret: bytes,
      listen: ['/ip4/127.0.0.1/tcp/1'],
      fresh: true,
    })
    const forms = [
      (bytes: Uint8Array) => bytes,
      (bytes: Uint8Array) => encodeFrame(frameKinds.hello, bytes),
      (bytes: Uint8Array) => encodeFrame(frameKinds.hello, Uint8Array.of(1), bytes),
      (bytes: Uint8Array) => encodeFrame(frameKinds.request, bytes),
      () => encodeFrame(frameKinds.hello, encode({ say: 'greet', cluster: 7 })),
      () => Buffer.concat(Array.from({ length: 100 }, () => encodeFrame(frameKinds.hello))),
      (bytes: Uint8Array) =>
        Buffer.concat([
          encodeFrame(frameKinds.hello, encode({ say: 'greet', cluster, wallMs: 0, build: '' })),
          encodeFrame(frameKinds.hello, encode({ say: 'claim', certificate: bytes, listen: [], fresh: true })),
        ]),
      () => Uint8Array.of(0xff, 0xff, 0xff, 0xff, 1, 0),
      () => encodeFrame(frameKinds.hello, encode(bent(greet, next))),
      () => encodeFrame(frameKinds.hello, spoilt(encode(greet), next)),
      // A good greet, and a claim that is bent: the second half of the conversation.
      (bytes: Uint8Array) => Buffer.concat([greeted, encodeFrame(frameKinds.hello, encode(bent(claim(bytes), next)))]),
      (bytes: Uint8Array) =>
        Buffer.concat([greeted, encodeFrame(frameKinds.hello, spoilt(encode(claim(bytes)), next))]),
    ]
    const node = await stranger(cluster, createIdentity())
    let sent = 0
    while (sent < fuzzRuns) {
      const connection = await open(node, a)
      for (let turn = 0; turn < 50 && connection.status === 'open'; turn++, sent++) {
        await send(connection, controlProtocol, forms[sent % forms.length]!(garbage(next)))
      }
      connection.abort(new Error('next'))
    }
    expect(a.transport.connected()).toEqual([b.transport.self])
    await stillServes(a, b)
  })

  test(`control plane: ${manyInputs} as frames of a member, which at worst loses its connection`, {
    timeout: fuzzTimeoutMs,
  }, async () => {
    const { a, b } = await pair()
    const identity = createIdentity()
    const certificate = admitted(a.identity, a.transport.certificate()!, identity)
    const node = await stranger(a.cluster, identity)
    const next = chance('frames of a member')
    let sent = 0
    while (sent < fuzzRuns) {
      const connection = await open(node, a)
      const stream = await connection.newStream(controlProtocol)
      stream.addEventListener('message', () => {})
      const say = (message: object) => stream.send(encodeFrame(frameKinds.hello, encode(message)))
      say({ say: 'greet', cluster: a.cluster, wallMs: Date.now(), build: '' })
      say({ say: 'claim', certificate: Uint8Array.from(certificate), listen: [], fresh: false })
      await until(() => a.transport.connected().includes(identity.nodeId), {
        deadlineMs: 5_000,
        everyMs: 2,
        what: 'admission',
      })
      try {
        for (let turn = 0; turn < 200 && stream.status === 'open'; turn++, sent++) {
          const bytes = garbage(next)
          const kinds = Object.values(frameKinds)
          stream.send(sent % 10 === 9 ? bytes : encodeFrame(kinds[sent % kinds.length]!, bytes))
        }
      } catch {
        // Reset by the other side.
      }
      connection.abort(new Error('next'))
      await until(() => !a.transport.connected().includes(identity.nodeId), {
        deadlineMs: 5_000,
        everyMs: 2,
        what: 'the loss',
      })
    }
    await stillServes(a, b)
  })

  test(`gossip: ${manyInputs} of a member on its stream, and those of strangers, which are never read`, {
    timeout: fuzzTimeoutMs,
  }, async () => {
    const { a, b } = await pair()
    const node = await stranger(a.cluster, createIdentity())
    const next = chance('gossip streams')
    const outside = await open(node, a)
    for (let sent = 0; sent < 200 && outside.status === 'open'; sent++) {
      await send(outside, '/meshsub/1.2.0', garbage(next))
    }
    expect(a.transport.counters().get('gossip streams of strangers')).toBeGreaterThan(0)
    a.transport.subscribe('cluster')
    b.transport.subscribe('cluster')
    const inside = await (await member(a)).connect()
    let stream: Stream | undefined
    for (let sent = 0; sent < fuzzRuns; sent++) {
      if (stream?.status !== 'open') stream = await inside.newStream('/meshsub/1.2.0', { maxOutboundStreams: 100 })
      const body = garbage(next)
      // One in a hundred announces 8 MB, which costs it the stream.
      const length = sent % 100 === 99 ? 8 * 1024 * 1024 : body.length
      stream.send(Buffer.concat([varint(length), body]))
    }
    expect(b.messages).toEqual([])
    await stillServes(a, b)
  })

  test('a connection that says nothing is closed after a few seconds', { timeout: 20_000 }, async () => {
    const { a } = await pair()
    const node = await stranger(a.cluster, createIdentity())
    const connection = await open(node, a)
    await until(() => connection.status !== 'open', { deadlineMs: 8_000, what: 'the end of the connection' })
  })
})

async function member(target: LibStation) {
  const identity = createIdentity()
  const certificate = admitted(target.identity, target.transport.certificate()!, identity)
  const node = await stranger(target.cluster, identity)
  async function connect(): Promise<Connection> {
    const connection = await open(node, target)
    const stream = await connection.newStream(controlProtocol)
    stream.addEventListener('message', () => {})
    const say = (message: object) => stream.send(encodeFrame(frameKinds.hello, encode(message)))
    say({ say: 'greet', cluster: target.cluster, wallMs: Date.now(), build: '' })
    say({ say: 'claim', certificate: Uint8Array.from(certificate), listen: [], fresh: false })
    await until(() => target.transport.connected().includes(identity.nodeId), {
      deadlineMs: 5_000,
      everyMs: 2,
      what: 'admission',
    })
    return connection
  }
  return { connect }
}

function varint(value: number): Uint8Array {
  const bytes: number[] = []
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 128) return Uint8Array.of(...bytes, rest)
    bytes.push((rest & 127) | 128)
  }
}
