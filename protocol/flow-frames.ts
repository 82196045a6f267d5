/**
 * Frames on a connection between two agents: how they look in bytes, and the reader that finds them in a stream.
 *
 * A frame is an 8-byte header (type, zero, payload length, flow id; big endian) and a payload. The payload of DATA is handed on in the
 * pieces in which it arrives, without a copy; other payloads are small and handed on whole. What a frame means is decided in flow.ts.
 * Rule of the format: design.md 2.
 */
import { limits } from './limits.ts'

export const frameTypes = {
  open: 1,
  accepted: 2,
  data: 3,
  window: 4,
  fin: 5,
  rst: 6,
  datagram: 7,
  ping: 8,
  pong: 9,
} as const

export const headerBytes = 8

/** An OPEN names a target and a client: two addresses and two ids fit four times. */
export const openBytesMax = 512

/** DATA as we send it: with its header exactly one full TLS record (RFC 8446 5.1: 2^14 bytes), so that bulk is not cut unevenly. */
export const dataBytesSent = limits.flowDataBytesMax - headerBytes

/** Largest payload by type; a type without an entry is not a frame. */
const payloadMax: readonly (number | undefined)[] = [
  undefined,
  openBytesMax,
  0,
  limits.flowDataBytesMax,
  4,
  0,
  1,
  limits.datagramBytesMax,
  0,
  0,
]

/** Smallest payload by type: a shorter one is as malformed as a longer one. */
const payloadMin: readonly number[] = [0, 1, 0, 1, 4, 0, 1, 0, 0, 0]

export interface FrameHandler {
  /** Bytes of DATA frames, in order. The array belongs to the receiver. Returns why this may not be, or undefined. */
  onData(flow: number, bytes: Uint8Array): string | undefined
  /** Any other frame. The payload is valid during the call only. */
  onFrame(type: number, flow: number, payload: Uint8Array): string | undefined
}

const nothing = new Uint8Array(0)

/** Finds the frames in a stream of chunks. One for each connection; after a violation it must not be used again. */
export class FrameReader {
  private readonly handler: FrameHandler
  private readonly header = new Uint8Array(headerBytes)
  private headerHave = 0
  private type = 0
  private flow = 0
  /** Payload bytes of the current frame that are still to come. */
  private left = 0
  /** Payload of a frame other than DATA that arrives in several chunks. */
  private partial: Uint8Array | undefined
  private partialHave = 0

  constructor(handler: FrameHandler) {
    this.handler = handler
  }

  /** Takes the next bytes of the stream. Returns what is wrong with them, or undefined. */
  push(chunk: Uint8Array): string | undefined {
    let at = 0
    const end = chunk.length
    while (at < end) {
      let problem: string | undefined
      if (this.left > 0) {
        const size = Math.min(this.left, end - at)
        this.left -= size
        problem = this.payload(size === end && at === 0 ? chunk : chunk.subarray(at, at + size))
        at += size
      } else {
        at = this.readHeader(chunk, at)
        if (this.headerHave === headerBytes) problem = this.begin()
      }
      if (problem !== undefined) return problem
    }
    return undefined
  }

  private readHeader(chunk: Uint8Array, from: number): number {
    let at = from
    const header = this.header
    while (this.headerHave < headerBytes && at < chunk.length) header[this.headerHave++] = chunk[at++]!
    return at
  }

  private begin(): string | undefined {
    const header = this.header
    this.headerHave = 0
    const type = header[0]!
    const length = (header[2]! << 8) | header[3]!
    const most = payloadMax[type]
    if (most === undefined || header[1] !== 0) return `frame of unknown type ${type}`
    if (length > most || length < payloadMin[type]!) return `frame of type ${type} with ${length} bytes`
    this.type = type
    this.flow = ((header[4]! << 24) | (header[5]! << 16) | (header[6]! << 8) | header[7]!) >>> 0
    this.left = length
    return length === 0 ? this.handler.onFrame(type, this.flow, nothing) : undefined
  }

  private payload(piece: Uint8Array): string | undefined {
    if (this.type === frameTypes.data) return this.handler.onData(this.flow, piece)
    if (this.partial === undefined && this.left === 0) return this.handler.onFrame(this.type, this.flow, piece)
    this.partial ??= new Uint8Array(piece.length + this.left)
    this.partial.set(piece, this.partialHave)
    this.partialHave += piece.length
    if (this.left > 0) return undefined
    const whole = this.partial
    this.partial = undefined
    this.partialHave = 0
    return this.handler.onFrame(this.type, this.flow, whole)
  }
}

/**
 * Frames on their way out, gathered in buffers so that many small frames become one write.
 * `full` takes a filled buffer and returns an empty one; `wake` is told when the first bytes are put into an empty outbox.
 */
export class Outbox {
  private buffer: Uint8Array
  private used = 0
  private readonly full: (buffer: Uint8Array, used: number) => Uint8Array
  private readonly wake: () => void

  /** The buffers must hold at least the largest frame: `outboxBytes`. */
  constructor(first: Uint8Array, full: (buffer: Uint8Array, used: number) => Uint8Array, wake: () => void) {
    this.buffer = first
    this.full = full
    this.wake = wake
  }

  put(type: number, flow: number, payload: Uint8Array): void {
    const length = payload.length
    if (this.used + headerBytes + length > this.buffer.length) this.flush()
    const buffer = this.buffer
    let at = this.used
    if (at === 0) this.wake()
    buffer[at++] = type
    buffer[at++] = 0
    buffer[at++] = length >>> 8
    buffer[at++] = length & 0xff
    buffer[at++] = flow >>> 24
    buffer[at++] = (flow >>> 16) & 0xff
    buffer[at++] = (flow >>> 8) & 0xff
    buffer[at++] = flow & 0xff
    if (length > 0) buffer.set(payload, at)
    this.used = at + length
  }

  /** Hands over what has gathered. */
  flush(): void {
    if (this.used === 0) return
    const used = this.used
    this.used = 0
    this.buffer = this.full(this.buffer, used)
  }
}

/** 128 KB: eight full records, and the largest datagram fits. */
export const outboxBytes = 128 * 1024
