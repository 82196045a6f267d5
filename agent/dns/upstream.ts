/**
 * Asks the configured servers what is not ours: hedged, coalesced, cached (design.md 7).
 *
 * The first server gets 200 ms before the second is asked too (Tailscale's figure); SERVFAIL and REFUSED move on at once, NXDOMAIN is an
 * answer. Each question goes from a fresh port under a fresh id and only a reply that repeats it is believed (RFC 5452).
 */
import { createSocket } from 'node:dgram'
import { connect, isIPv6 } from 'node:net'
import * as dnsPacket from 'dns-packet'
import type { Clock, Random } from '../world.ts'
import { rcode } from './wire.ts'

export interface UpstreamServer {
  readonly host: string
  readonly port: number
}

export interface UpstreamOptions {
  readonly servers: readonly UpstreamServer[]
  readonly clock: Clock
  readonly random: Random
}

export interface Upstream {
  /** The reply to `query` (a whole message), its id already the query's; undefined when no server answered. */
  ask(query: Buffer): Promise<Buffer | undefined>
  readonly stats: { asked: number; cached: number; failed: number; refused: number }
}

/** Docker's limits: 3 servers (maxExtDNS), 4 s in all for one question, 1,024 questions at once. */
const serversMax = 3
const deadlineMs = 4_000
const inFlightMax = 1_024
const hedgeMs = 200
/** Cache: bounded time, so that a mistake upstream ends, and bounded size: 5,000 replies of about 200 bytes are 1 MB. */
const ttlMaxS = 300
const negativeTtlMaxS = 30
const cachedMax = 5_000

export function createUpstream(options: UpstreamOptions): Upstream {
  const { clock, random } = options
  const servers = options.servers.slice(0, serversMax)
  const cache = new Map<string, { readonly reply: Buffer; readonly untilMs: number; readonly storedMs: number }>()
  const inFlight = new Map<string, Promise<Buffer | undefined>>()
  const stats = { asked: 0, cached: 0, failed: 0, refused: 0 }

  async function ask(query: Buffer): Promise<Buffer | undefined> {
    // Everything but the id: name, type, class and the EDNS options all shape the answer.
    const key = query.toString('latin1', 2).toLowerCase()
    const kept = cache.get(key)
    if (kept !== undefined && kept.untilMs > clock.now()) {
      stats.cached += 1
      return withId(aged(kept.reply, Math.floor((clock.now() - kept.storedMs) / 1000)), query)
    }
    let answer = inFlight.get(key)
    if (answer === undefined) {
      if (inFlight.size >= inFlightMax) {
        stats.refused += 1
        return undefined
      }
      stats.asked += 1
      answer = race(query).finally(() => inFlight.delete(key))
      inFlight.set(key, answer)
      void answer.then((reply) => reply !== undefined && store(key, reply))
    }
    const reply = await answer
    if (reply === undefined) stats.failed += 1
    return reply === undefined ? undefined : withId(reply, query)
  }

  function store(key: string, reply: Buffer): void {
    const seconds = lifetimeS(reply)
    if (seconds <= 0) return
    if (cache.size >= cachedMax) cache.delete(cache.keys().next().value as string)
    cache.set(key, { reply, untilMs: clock.now() + seconds * 1000, storedMs: clock.now() })
  }

  /** Asks server after server, the next one as soon as the last failed or was slow; the first good reply wins. */
  function race(query: Buffer): Promise<Buffer | undefined> {
    return new Promise((resolve) => {
      let next = 0
      let open = 0
      let last: Buffer | undefined
      const stop: (() => void)[] = []
      const finish = (reply: Buffer | undefined) => {
        for (const cancel of stop.splice(0)) cancel()
        resolve(reply)
      }
      const launch = () => {
        const server = servers[next++]
        if (server === undefined) return
        open += 1
        const one = askServer(server, query, random)
        stop.push(one.cancel)
        if (next < servers.length) stop.push(clock.after(hedgeMs, launch))
        void one.reply.then((reply) => {
          open -= 1
          const code = reply === undefined ? undefined : (reply[3] as number) & 0x0f
          if (reply !== undefined && code !== rcode.serverFailure && code !== rcode.refused) return finish(reply)
          last = reply ?? last
          launch()
          if (open === 0) finish(last)
        })
      }
      stop.push(clock.after(deadlineMs, () => finish(last)))
      launch()
      if (open === 0) finish(undefined)
    })
  }

  return { ask, stats }
}

/** One question to one server over UDP, over TCP when the reply was cut. */
function askServer(server: UpstreamServer, query: Buffer, random: Random) {
  const message = Buffer.from(query)
  Buffer.from(random.bytes(2)).copy(message, 0)
  const socket = createSocket(isIPv6(server.host) ? 'udp6' : 'udp4')
  let cancelTcp = () => {}
  let done: (reply: Buffer | undefined) => void = () => {}
  const reply = new Promise<Buffer | undefined>((resolve) => {
    done = (answer) => {
      socket.removeAllListeners('message')
      resolve(answer)
    }
    socket.on('error', () => done(undefined))
    socket.on('message', (answer) => {
      if (!answers(answer, message)) return
      if (((answer[2] as number) & 0x02) === 0) return done(answer)
      const tcp = askOverTcp(server, message)
      cancelTcp = tcp.cancel
      void tcp.reply.then((whole) => done(whole ?? answer))
    })
    // Connected: the kernel drops datagrams of strangers, and a closed port answers at once.
    socket.connect(server.port, server.host, (error?: Error) => {
      if (error) return done(undefined)
      socket.send(message)
    })
  })
  let closed = false
  const cancel = () => {
    if (closed) return
    closed = true
    cancelTcp()
    socket.close()
    done(undefined)
  }
  return { reply, cancel }
}

function askOverTcp(server: UpstreamServer, message: Buffer) {
  const socket = connect({ host: server.host, port: server.port })
  const reply = new Promise<Buffer | undefined>((resolve) => {
    let received = Buffer.alloc(0)
    socket.on('error', () => resolve(undefined))
    socket.on('close', () => resolve(undefined))
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk])
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return
      const answer = received.subarray(2, 2 + received.readUInt16BE(0))
      resolve(answers(answer, message) ? answer : undefined)
      socket.destroy()
    })
    const length = Buffer.alloc(2)
    length.writeUInt16BE(message.length, 0)
    socket.write(Buffer.concat([length, message]))
  })
  return { reply, cancel: () => socket.destroy() }
}

/** Whether a datagram answers this very question: same id, a reply, the same question section. */
function answers(reply: Buffer, query: Buffer): boolean {
  if (reply.length < 12 || reply.readUInt16BE(0) !== query.readUInt16BE(0) || ((reply[2] as number) & 0x80) === 0)
    return false
  try {
    const [asked, answered] = [dnsPacket.decode(query).questions?.[0], dnsPacket.decode(reply).questions?.[0]]
    return (
      asked !== undefined &&
      answered !== undefined &&
      asked.type === answered.type &&
      asked.name.toLowerCase() === answered.name.toLowerCase()
    )
  } catch {
    return false
  }
}

/** Seconds a reply may be kept: the smallest TTL, or the SOA's minimum for a negative one (RFC 2308). 0: not at all. */
function lifetimeS(reply: Buffer): number {
  const code = (reply[3] as number) & 0x0f
  if (code !== rcode.noError && code !== rcode.nameError) return 0
  try {
    const packet = dnsPacket.decode(reply)
    const ttls = (packet.answers ?? []).flatMap((a) => ('ttl' in a && a.ttl !== undefined ? [a.ttl] : []))
    if (ttls.length > 0) return Math.min(ttlMaxS, ...ttls)
    const soa = packet.authorities?.find((a) => a.type === 'SOA')
    if (soa?.type !== 'SOA') return 0
    return Math.min(negativeTtlMaxS, soa.ttl ?? 0, soa.data.minimum ?? 0)
  } catch {
    return 0
  }
}

function withId(reply: Buffer, query: Buffer): Buffer {
  const copy = Buffer.from(reply)
  query.copy(copy, 0, 0, 2)
  return copy
}

/** The reply with its TTLs lowered by the seconds it lay in the cache. */
function aged(reply: Buffer, seconds: number): Buffer {
  if (seconds === 0) return reply
  try {
    const packet = dnsPacket.decode(reply)
    const older = (records: dnsPacket.Answer[] | undefined) =>
      (records ?? []).map((r) => ('ttl' in r && r.ttl !== undefined ? { ...r, ttl: Math.max(1, r.ttl - seconds) } : r))
    return dnsPacket.encode({
      ...packet,
      answers: older(packet.answers),
      authorities: older(packet.authorities),
    } as dnsPacket.Packet)
  } catch {
    return reply
  }
}
