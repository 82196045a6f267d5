/**
 * Turns one query of one task into one reply: reads it, asks core/names, gives targets their addresses, or asks upstream.
 *
 * The hot path never decodes: a question seen before, by a task with the same networks, while nothing changed, is answered from
 * ready-made bytes (a wire-template cache doubles Node's ceiling, lessons.md 3.6). Decides nothing about names itself.
 */
import type { TaskId } from '../../protocol/ids.ts'
import type { Answer, Caller } from '../core/names/lookup.ts'
import { lookup, reverse } from '../core/names/lookup.ts'
import type { Target } from '../core/names/table.ts'
import type { Clock, Random } from '../world.ts'
import type { Upstream } from './upstream.ts'
import { encodeReply, parseQuery, type Query, type Reply, rcode, udpLimit } from './wire.ts'

export interface ResponderDeps {
  readonly callerOf: (task: TaskId) => Caller
  /** Changes whenever an answer may change: the view's revision. */
  readonly generation: () => number
  /** The address by which tasks of this node reach a target; undefined when the data plane has none (yet). */
  readonly addressOf: (target: Target, family: 4 | 6) => string | undefined
  /** What an address of ours stands for; 'unknown' for an address in our ranges that is not in use. */
  readonly targetOf: (address: string) => Target | 'unknown' | undefined
  readonly upstream: Upstream
  readonly clock: Clock
  readonly random: Random
}

export interface DnsCounters {
  queries: number
  /** By outcome: addresses, services, pointer, nodata, nxdomain, not-ours, no-upstream, held, malformed. */
  readonly outcomes: Record<string, number>
}

export interface Responder {
  /** The reply, or undefined to stay silent. A promise only where upstream or a held scope makes it wait. */
  respond(task: TaskId, message: Buffer, transport: 'udp' | 'tcp'): Buffer | undefined | Promise<Buffer | undefined>
  readonly counters: DnsCounters
}

/** A scope that is not caught up makes queries wait this long at most; a task starts after 2 s all the same (design.md 3). */
const heldMs = 2_000
const heldLookMs = 20
/** Ready-made replies of one task: names times types that a program asks again and again. */
const templatesMax = 2_000
/** Orders of one answer that are kept; clients that take the first address are spread evenly over so many. */
const rotationsMax = 6
const tcpBytesMax = 65_535

export function createResponder(deps: ResponderDeps): Responder {
  const counters: DnsCounters = { queries: 0, outcomes: {} }
  const templates = new Map<TaskId, Map<string, readonly Buffer[]>>()
  let generation = -1

  function respond(task: TaskId, message: Buffer, transport: 'udp' | 'tcp') {
    counters.queries += 1
    if (generation !== deps.generation()) {
      templates.clear()
      generation = deps.generation()
    }
    const key = transport + message.toString('latin1', 2)
    const ready = templates.get(task)?.get(key)
    if (ready !== undefined && message.length >= 12) return fromTemplate(ready, message)

    const parsed = parseQuery(message)
    if (parsed.kind !== 'query') {
      count('malformed')
      return parsed.kind === 'refuse' ? parsed.reply : undefined
    }
    const answer = answerTo(task, parsed.query)
    count(answer.kind)
    if (answer.kind === 'held') return whenReady(task, parsed.query, message, transport)
    if (answer.kind === 'not-ours') return fromUpstream(parsed.query, message, transport)
    return finish(task, key, parsed.query, answer, transport)
  }

  function fromTemplate(ready: readonly Buffer[], message: Buffer): Buffer {
    const template = ready[ready.length === 1 ? 0 : Math.floor(deps.random.next() * ready.length)] as Buffer
    const reply = Buffer.from(template)
    reply[0] = message[0] as number
    reply[1] = message[1] as number
    return reply
  }

  function finish(task: TaskId, key: string, query: Query, answer: Answer, transport: 'udp' | 'tcp'): Buffer {
    const limit = transport === 'udp' ? udpLimit(query) : tcpBytesMax
    const replies = orders(replyTo(answer)).map((reply) => encodeReply(query, reply, limit))
    let own = templates.get(task)
    if (own === undefined) {
      own = new Map()
      templates.set(task, own)
    }
    if (own.size < templatesMax) own.set(key, replies)
    return replies[0] as Buffer
  }

  function answerTo(task: TaskId, query: Query): Answer {
    const caller = deps.callerOf(task)
    const address = query.type === 'PTR' ? reversedAddress(query.name) : undefined
    if (address === undefined) return lookup({ name: query.name, type: query.type }, caller)
    const target = deps.targetOf(address)
    if (target === 'unknown') return { kind: 'nxdomain' }
    return target === undefined ? lookup({ name: query.name, type: query.type }, caller) : reverse(target, caller)
  }

  async function whenReady(task: TaskId, query: Query, message: Buffer, transport: 'udp' | 'tcp') {
    const untilMs = deps.clock.now() + heldMs
    while (deps.clock.now() < untilMs) {
      await new Promise<void>((resolve) => void deps.clock.after(heldLookMs, resolve))
      const answer = answerTo(task, query)
      if (answer.kind === 'not-ours') return fromUpstream(query, message, transport)
      if (answer.kind !== 'held')
        return encodeReply(query, replyTo(answer), transport === 'udp' ? udpLimit(query) : tcpBytesMax)
    }
    return encodeReply(query, { rcode: rcode.serverFailure, records: [], soa: false }, tcpBytesMax)
  }

  async function fromUpstream(query: Query, message: Buffer, transport: 'udp' | 'tcp') {
    const reply = await deps.upstream.ask(message)
    const limit = transport === 'udp' ? udpLimit(query) : tcpBytesMax
    if (reply === undefined) return encodeReply(query, { rcode: rcode.serverFailure, records: [], soa: false }, limit)
    if (reply.length <= limit) return reply
    const cut = encodeReply(query, { rcode: rcode.noError, records: [], soa: false }, limit)
    cut[2] = (cut[2] as number) | 0x02
    return cut
  }

  function replyTo(answer: Answer): Reply {
    switch (answer.kind) {
      case 'addresses': {
        const addresses = answer.targets.flatMap((target) => deps.addressOf(target, answer.family) ?? [])
        const type = answer.family === 6 ? ('AAAA' as const) : ('A' as const)
        const records = addresses.map((data) => ({ type, ttlS: answer.ttlS, data }))
        return { rcode: rcode.noError, records, soa: records.length === 0 }
      }
      case 'services':
        return {
          rcode: rcode.noError,
          records: answer.records.map((data) => ({ type: 'SRV' as const, ttlS: answer.ttlS, data })),
          soa: false,
        }
      case 'pointer':
        return { rcode: rcode.noError, records: [{ type: 'PTR', ttlS: answer.ttlS, data: answer.name }], soa: false }
      case 'nodata':
        return { rcode: rcode.noError, records: [], soa: true }
      case 'nxdomain':
        return { rcode: rcode.nameError, records: [], soa: true }
      case 'no-upstream':
      case 'not-ours':
      case 'held':
        return { rcode: rcode.serverFailure, records: [], soa: false }
    }
  }

  /** The reply in several orders: all rotations of a shuffled list, so that each record comes first equally often. */
  function orders(reply: Reply): readonly Reply[] {
    if (reply.records.length < 2) return [reply]
    const shuffled = reply.records
      .map((record) => ({ record, key: deps.random.next() }))
      .sort((a, b) => a.key - b.key)
      .map(({ record }) => record)
    const count = Math.min(rotationsMax, shuffled.length)
    return Array.from({ length: count }, (_, i) => ({
      ...reply,
      records: [...shuffled.slice(i), ...shuffled.slice(0, i)],
    }))
  }

  function count(outcome: string): void {
    counters.outcomes[outcome] = (counters.outcomes[outcome] ?? 0) + 1
  }

  return { respond, counters }
}

/** The address of `4.3.2.1.in-addr.arpa` or of 32 digits under `ip6.arpa` (RFC 3596, 2.5); undefined for any other name. */
function reversedAddress(name: string): string | undefined {
  const digits = /^((?:[0-9a-f]\.){32})ip6\.arpa$/i.exec(name)?.[1]
  if (digits !== undefined) return digits.split('.').reverse().join('').match(/..../g)?.join(':').toLowerCase()
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/i.exec(name)
  return match === null ? undefined : `${match[4]}.${match[3]}.${match[2]}.${match[1]}`
}
