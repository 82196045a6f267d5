// What breaks libp2p for good unless somebody looks after it: each trap is laid here on purpose, and must be got out of.
import { type ChildProcess, fork } from 'node:child_process'
import { connect as connectSocket, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { type KnownMember, transportTimes } from '../../../agent/transport/admission.ts'
import { hasGossip } from '../../../agent/transport/watchdog.ts'
import { foundCluster } from '../../../agent/trust/certificate.ts'
import { createIdentity, type Identity } from '../../../agent/trust/identity.ts'
import { until } from '../../until.ts'
import { admitted, type LibStation, libp2pCluster, memberOf, registry, station } from './stations.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function hears(writer: LibStation, reader: LibStation, deadlineMs = 10_000): Promise<void> {
  const before = reader.messages.length
  await until(
    () => {
      writer.transport.publish('cluster', Buffer.from('word'))
      return reader.messages.slice(before).some(({ from }) => from === writer.transport.self)
    },
    { deadlineMs, everyMs: 20, what: 'gossip' },
  )
}

async function pair() {
  const cluster = await libp2pCluster(2)
  closers.push(cluster.close)
  const [a, b] = cluster.stations
  for (const { transport } of cluster.stations) transport.subscribe('cluster')
  await cluster.until('both', () => a!.transport.connected().length === 1 && b!.transport.connected().length === 1)
  return { a: a!, b: b! }
}

/** A TCP relay that can be cut, frozen and healed: what stands between two machines. */
async function relay(target: number) {
  const sockets = new Set<Socket>()
  let cut = false
  const server = createServer((inside) => {
    if (cut) {
      inside.destroy()
      return
    }
    const outside = connectSocket(target, '127.0.0.1')
    for (const socket of [inside, outside]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        inside.destroy()
        outside.destroy()
      })
    }
    inside.pipe(outside)
    outside.pipe(inside)
  }).listen(0, '127.0.0.1')
  await until(() => server.listening, { deadlineMs: 2_000, what: 'the relay' })
  closers.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return {
    port: (server.address() as { port: number }).port,
    cut() {
      cut = true
      for (const socket of sockets) socket.destroy()
    },
    heal() {
      cut = false
    },
  }
}

describe('healing', () => {
  test('a lost gossip stream is opened again, in both directions', { timeout: 30_000 }, async () => {
    const { a, b } = await pair()
    await hears(a, b)
    await hears(b, a)
    for (const [writer, reader] of [
      [a, b],
      [b, a],
    ] as const) {
      const [connection] = writer.transport.connections()
      for (const stream of connection!.streams) {
        if (stream.protocol.startsWith('/meshsub') && stream.direction === 'outbound') stream.abort(new Error('lost'))
      }
      expect(hasGossip(connection!, 'outbound')).toBe(false)
      await hears(writer, reader)
    }
    expect([...a.transport.counters().keys()].some((key) => key.startsWith('gossip healed'))).toBe(true)
  })

  test('both dial at once: one connection is left, the same at both ends, and gossip flows both ways', {
    timeout: 30_000,
  }, async () => {
    const cluster = await libp2pCluster(2)
    closers.push(cluster.close)
    const [a, b] = cluster.stations as [LibStation, LibStation]
    for (const { transport } of cluster.stations) transport.subscribe('cluster')
    const [one, two] = await Promise.all([a.transport.dial(b.transport.self), b.transport.dial(a.transport.self)])
    expect([one, two]).toEqual(['connected', 'connected'])
    await until(() => a.transport.connections().length === 1 && b.transport.connections().length === 1, {
      deadlineMs: 8_000,
      what: 'one connection',
    })
    await hears(a, b)
    await hears(b, a)
    expect(a.lost).toEqual([])
    expect(b.lost).toEqual([])
    expect(a.transport.connected()).toEqual([b.transport.self])
  })

  test('after a cut of any length both sides find each other again, though nobody tells them', {
    timeout: 40_000,
  }, async () => {
    const founder = createIdentity()
    const { cluster, certificate } = foundCluster(founder)
    const joiner = createIdentity()
    const states = [registry(), registry()] as const
    const times = { ...transportTimes.local, redialMinMs: 20, redialMaxMs: 200 }
    const a = await station({ identity: founder, cluster, certificate, state: states[0], times })
    const b = await station({
      identity: joiner,
      cluster,
      certificate: admitted(founder, certificate, joiner),
      state: states[1],
      times,
    })
    closers.push(
      () => a.transport.stop(),
      () => b.transport.stop(),
    )
    const ways = await Promise.all([relay(portOf(a)), relay(portOf(b))])
    states[0].members.set(joiner.nodeId, through(b, ways[1].port))
    states[1].members.set(founder.nodeId, through(a, ways[0].port))
    for (const { transport } of [a, b]) {
      transport.subscribe('cluster')
      transport.refresh()
    }
    await hears(a, b)
    for (const way of ways) way.cut()
    await until(() => a.lost.length > 0 && b.lost.length > 0, { deadlineMs: 2_000, what: 'both losses' })
    // Longer than libp2p's own five tries at our pace: it would have given up.
    await until(
      () => (a.transport.counters().get('dials failed') ?? 0) + (b.transport.counters().get('dials failed') ?? 0) > 24,
      {
        deadlineMs: 20_000,
        what: 'tries in vain',
      },
    )
    for (const way of ways) way.heal()
    await hears(a, b, 15_000)
    await hears(b, a, 15_000)
  })

  test('a peer that does not read fills its own queue only: requests to it are refused, others are served', {
    timeout: 30_000,
  }, async () => {
    const cluster = await libp2pCluster(3)
    closers.push(cluster.close)
    const [a, b, c] = cluster.stations as [LibStation, LibStation, LibStation]
    await cluster.until('all', () => cluster.stations.every(({ transport }) => transport.connected().length === 2))
    // b stops reading, as a frozen process does.
    for (const connection of b.transport.connections()) for (const stream of connection.streams) stream.pause()
    const big = new Uint8Array(1024 * 1024)
    const codes = new Set<string>()
    for (let turn = 0; turn < 12; turn++) {
      a.transport.request(b.transport.self, 'echo', big, 3_000).catch((error) => codes.add(error.code))
    }
    await until(() => codes.has('unavailable'), { deadlineMs: 2_000, what: 'a refusal' })
    const answer = await a.transport.request(c.transport.self, 'echo', Buffer.from('quick'), 1_000)
    expect(Buffer.from(answer).toString()).toBe('quick')
  })
})

describe('a killed process', () => {
  test('is reported lost within 100 ms, and its port refuses', { timeout: 30_000 }, async () => {
    const founder = createIdentity()
    const { cluster, certificate } = foundCluster(founder)
    const state = registry()
    const a = await station({ identity: founder, cluster, certificate, state })
    closers.push(() => a.transport.stop())
    const times: number[] = []
    for (let turn = 0; turn < 5; turn++) {
      const identity = createIdentity()
      const process = await processOf(identity, cluster, admitted(founder, certificate, identity), memberOf(a))
      state.members.set(identity.nodeId, process.member)
      a.transport.refresh()
      await until(() => a.transport.connected().includes(identity.nodeId), {
        deadlineMs: 10_000,
        what: 'the connection',
      })
      const killedAt = performance.now()
      process.child.kill('SIGKILL')
      await until(() => a.lost.some(({ node }) => node === identity.nodeId), {
        deadlineMs: 2_000,
        everyMs: 1,
        what: 'the loss',
      })
      times.push(performance.now() - killedAt)
      expect(await a.transport.dial(identity.nodeId)).toBe('refused')
      state.members.delete(identity.nodeId)
    }
    const median = times.sort((x, y) => x - y)[2]!
    expect(median).toBeLessThan(100)
  })
})

function portOf({ transport }: LibStation): number {
  return Number(transport.listening()[0]!.split('/')[4])
}

function through(target: LibStation, port: number): KnownMember {
  return { node: target.identity.nodeId, peerId: target.identity.peerId, listen: [`/ip4/127.0.0.1/tcp/${port}`] }
}

async function processOf(identity: Identity, cluster: string, certificate: Uint8Array, other: KnownMember) {
  const child: ChildProcess = fork(join(import.meta.dirname, 'agent-process.ts'), [], {
    execPath: join(import.meta.dirname, '../../../node_modules/.bin/node'),
    execArgv: [],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  closers.push(() => child.kill('SIGKILL'))
  let member: KnownMember | undefined
  child.on('message', (message: KnownMember) => {
    member = message
  })
  const pem = identity.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  child.send({ pem, cluster, certificate: Buffer.from(certificate).toString('base64'), other })
  return { child, member: await until(() => member, { deadlineMs: 15_000, what: 'the process' }) }
}
