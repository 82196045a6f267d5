/**
 * DNS messages as bytes: reads queries and builds replies with compressed names, truncation and EDNS0 (RFC 1035, 2181, 6891).
 *
 * dns-packet reads and encodes record data; the frame around it is built here, because dns-packet neither compresses names nor checks
 * what it encodes (ecosystem.md 3). Every record but SRV targets owns the question's name, so one pointer compresses them all.
 */
import * as dnsPacket from 'dns-packet'

export interface Query {
  readonly id: number
  /** As asked, case kept, without the last dot. */
  readonly name: string
  readonly type: string
  readonly recursionDesired: boolean
  /** The question section as sent: echoed bit for bit. */
  readonly question: Buffer
  /** EDNS0 payload size of the client; undefined without EDNS. */
  readonly payloadBytes: number | undefined
}

export type Parsed =
  | { readonly kind: 'query'; readonly query: Query }
  /** Answer with this rcode; the id is known. */
  | { readonly kind: 'refuse'; readonly reply: Buffer }
  /** Not even a header, or itself a reply: stay silent. */
  | { readonly kind: 'ignore' }

export interface ReplyRecord {
  readonly type: 'A' | 'AAAA' | 'SRV' | 'PTR'
  readonly ttlS: number
  readonly data: string | { readonly port: number; readonly target: string }
}

export interface Reply {
  readonly rcode: number
  readonly records: readonly ReplyRecord[]
  /** Adds our SOA to the authority section: for NODATA and NXDOMAIN (RFC 2308). */
  readonly soa: boolean
}

export const rcode = {
  noError: 0,
  formatError: 1,
  serverFailure: 2,
  nameError: 3,
  notImplemented: 4,
  refused: 5,
} as const

const headerBytes = 12
/** Our own EDNS0 size: below every common path's MTU (DNS flag day 2020). */
const ownPayloadBytes = 1232
const udpBytesDefault = 512
/** Negative answers live 5 s in clients: without an SOA some keep them "for a really long time" (lessons.md 3.6). */
const negativeTtlS = 5
const compressedOwner = Buffer.from([0xc0, headerBytes])

export function parseQuery(message: Buffer): Parsed {
  if (message.length < headerBytes || (message[2] as number) & 0x80) return { kind: 'ignore' }
  const id = message.readUInt16BE(0)
  if (((message[2] as number) >> 3) & 0x0f) return { kind: 'refuse', reply: bare(id, rcode.notImplemented) }
  try {
    const packet = dnsPacket.decode(message)
    const question = packet.questions?.[0]
    if (question === undefined || packet.questions?.length !== 1)
      return { kind: 'refuse', reply: bare(id, rcode.formatError) }
    const end = questionEnd(message)
    if (end === undefined) return { kind: 'refuse', reply: bare(id, rcode.formatError) }
    const opt = packet.additionals?.find((a) => a.type === 'OPT') as { udpPayloadSize?: number } | undefined
    return {
      kind: 'query',
      query: {
        id,
        name: question.name === '.' ? '' : question.name,
        type: String(question.type),
        recursionDesired: ((message[2] as number) & 0x01) === 1,
        question: Buffer.from(message.subarray(headerBytes, end)),
        payloadBytes: opt === undefined ? undefined : Math.max(udpBytesDefault, opt.udpPayloadSize ?? udpBytesDefault),
      },
    }
  } catch {
    return { kind: 'refuse', reply: bare(id, rcode.formatError) }
  }
}

/** Bytes that a reply over UDP may have for this client. */
export function udpLimit(query: Query): number {
  return Math.min(query.payloadBytes ?? udpBytesDefault, 4096)
}

/** The reply, cut to `maxBytes` with the TC bit where it does not fit. */
export function encodeReply(query: Query, reply: Reply, maxBytes: number): Buffer {
  const parts: Buffer[] = []
  let bytes = headerBytes + query.question.length
  const tail = [...(reply.soa ? [soaRecord()] : []), ...(query.payloadBytes === undefined ? [] : [optRecord()])]
  const tailBytes = tail.reduce((sum, part) => sum + part.length, 0)
  let truncated = false
  for (const record of reply.records) {
    const part = encodeRecord(record)
    if (bytes + part.length + tailBytes > maxBytes) {
      truncated = true
      break
    }
    parts.push(part)
    bytes += part.length
  }
  const header = Buffer.alloc(headerBytes)
  header.writeUInt16BE(query.id, 0)
  // QR, AA for what we own, TC, RD as asked; RA.
  header[2] = 0x84 | (truncated ? 0x02 : 0) | (query.recursionDesired ? 0x01 : 0)
  header[3] = 0x80 | reply.rcode
  header.writeUInt16BE(1, 4)
  header.writeUInt16BE(parts.length, 6)
  header.writeUInt16BE(reply.soa ? 1 : 0, 8)
  header.writeUInt16BE(query.payloadBytes === undefined ? 0 : 1, 10)
  return Buffer.concat([header, query.question, ...parts, ...tail])
}

/** A reply of a header alone, for what could not be read. */
function bare(id: number, code: number): Buffer {
  const header = Buffer.alloc(headerBytes)
  header.writeUInt16BE(id, 0)
  header[2] = 0x80
  header[3] = 0x80 | code
  return header
}

/** Where the question section of a one-question message ends; undefined when it does not fit. */
function questionEnd(message: Buffer): number | undefined {
  let at = headerBytes
  while (at < message.length) {
    const length = message[at] as number
    if (length === 0) return at + 5 <= message.length ? at + 5 : undefined
    if (length > 63) return undefined
    at += length + 1
  }
  return undefined
}

function encodeRecord(record: ReplyRecord): Buffer {
  const answer = { name: '.', type: record.type, class: 'IN', ttl: record.ttlS, data: answerData(record) }
  return withOwner(answer as unknown as dnsPacket.Answer)
}

function answerData(record: ReplyRecord): unknown {
  if (typeof record.data === 'string') return record.data
  return { priority: 0, weight: 1, port: record.data.port, target: record.data.target }
}

/** dns-packet writes the root name, one zero byte; a pointer to the question's name takes its place. */
function withOwner(answer: dnsPacket.Answer): Buffer {
  const encoder = (dnsPacket as unknown as { answer: { encode(a: dnsPacket.Answer): Buffer } }).answer
  return Buffer.concat([compressedOwner, encoder.encode(answer).subarray(1)])
}

function soaRecord(): Buffer {
  const data = {
    mname: 'ns.vine.internal',
    rname: 'hostmaster.vine.internal',
    serial: 1,
    refresh: 3600,
    retry: 600,
    expire: 86_400,
    minimum: negativeTtlS,
  }
  return withOwner({ name: '.', type: 'SOA', class: 'IN', ttl: negativeTtlS, data } as dnsPacket.Answer)
}

function optRecord(): Buffer {
  const opt = Buffer.alloc(11)
  opt.writeUInt16BE(41, 1)
  opt.writeUInt16BE(ownPayloadBytes, 3)
  return opt
}
