/**
 * Many flows over one connection between two agents: what each end may send, and what a received frame means (design.md 2).
 *
 * A state machine without sockets or clocks: bytes come in through `receive`, go out through the outbox, and each flow tells its handler.
 * Invariant: a flow never sends more DATA than the other end has granted; bytes are neither lost, doubled nor reordered; a flow that
 * was reset or has ended in both directions is forgotten. Bytes that break the protocol end the connection: `receive` says why.
 *
 * OPEN asks for a flow, ACCEPTED grants it, DATA spends credit, WINDOW grants more, FIN ends one direction, RST ends both at once.
 */
import { dataBytesSent, type FrameHandler, FrameReader, frameTypes, type Outbox } from './flow-frames.ts'

/** Why a flow was reset. On the wire as a byte: the place in this list, so only ever append. */
export const resetReasons = [
  /** The other end reset its socket. */
  'reset',
  /** The task's port refused the connection. */
  'refused',
  /** The task did not answer in time. */
  'timeout',
  /** Not opened after all: another endpoint was faster, or the client went. */
  'cancelled',
  /** The hosting agent does not run that task. */
  'unknown-target',
  /** The asking node is not a member (any more). */
  'not-member',
  /** Out of descriptors, or too many flows. */
  'busy',
  /** The connection between the agents was lost. Never sent. */
  'link-lost',
  /** The node is dead. Never sent. */
  'node-lost',
] as const
export type ResetReason = (typeof resetReasons)[number]

/** 512 KB: a flow fills 4 Gbit/s at 1 ms, and 5,000 stuck flows stay within the memory of a small machine (most hold far less). */
export const windowBytes = 512 * 1024

/** Credit is handed back in quarters of the window: fewer frames, and the sender does not run dry. */
const grantBytes = windowBytes / 4

/** 16,384 flows a connection: above what descriptors allow, below what fills memory. */
export const flowsPerLinkMax = 16_384

/** What becomes of a flow. Calls come from `receive`, `unblock` and `lose`; a handler may call the flow from within. */
export interface FlowHandler {
  onAccepted(flow: Flow): void
  /** Bytes now belong to the handler, which calls `flow.consumed` when they have left its hands. */
  onData(bytes: Uint8Array): void
  onEnd(): void
  /** The last call. Not made after `flow.reset`. */
  onReset(reason: ResetReason): void
  /** A `send` that returned false may go on. */
  onWritable(): void
  /** Both directions ended well: the last call. */
  onClosed(): void
  /** Valid during the call only. */
  onDatagram(bytes: Uint8Array): void
}

export interface MuxEvents {
  /** The other end asks for a flow: a handler, or why not. The handler accepts later, with `flow.accept`. */
  onOpen(flow: Flow, header: Uint8Array): FlowHandler | ResetReason
  onPong(): void
}

/** One end of a connection. The dialling end numbers its flows 1, 3, 5…, the accepting end 2, 4, 6…. */
export class Mux implements FrameHandler {
  readonly outbox: Outbox
  readonly flows = new Map<number, Flow>()
  /** Flows that have bytes to send and wait for the connection, oldest first. */
  readonly waiting = new Set<Flow>()
  /** The connection takes no more bytes for now. */
  blocked = false
  private readonly events: MuxEvents
  private readonly reader: FrameReader
  /** What the ids of flows opened at this end are modulo 2. */
  readonly ownParity: number
  private nextId: number
  private lastPeerId: number

  constructor(role: 'dialer' | 'acceptor', outbox: Outbox, events: MuxEvents) {
    this.outbox = outbox
    this.events = events
    this.reader = new FrameReader(this)
    this.nextId = role === 'dialer' ? 1 : 2
    this.ownParity = this.nextId % 2
    this.lastPeerId = 0
  }

  /** Takes bytes from the connection. A returned sentence is a violation: close the connection and call `lose`. */
  receive(chunk: Uint8Array): string | undefined {
    return this.reader.push(chunk)
  }

  /** Asks for a flow. `header` is the owner's. Undefined when the connection has no more room or numbers. */
  open(header: Uint8Array, handler: FlowHandler): Flow | undefined {
    if (this.flows.size >= flowsPerLinkMax || this.nextId > 0xffffffff) return undefined
    const flow = new Flow(this, this.nextId, handler)
    this.nextId += 2
    this.flows.set(flow.id, flow)
    this.outbox.put(frameTypes.open, flow.id, header)
    return flow
  }

  ping(): void {
    this.outbox.put(frameTypes.ping, 0, nothing)
  }

  /** The connection takes bytes again: flows go on in the order in which they were stopped. */
  unblock(): void {
    this.blocked = false
    for (const flow of [...this.waiting]) {
      if (this.blocked) return
      this.waiting.delete(flow)
      flow.push()
    }
  }

  /** Every flow ends for this reason; nothing is sent. */
  lose(reason: ResetReason): void {
    const lost = [...this.flows.values()]
    this.flows.clear()
    this.waiting.clear()
    for (const flow of lost) flow.lose(reason)
  }

  onData(id: number, bytes: Uint8Array): string | undefined {
    const flow = this.flows.get(id)
    return flow === undefined ? this.stranger(id) : flow.receiveData(bytes)
  }

  onFrame(type: number, id: number, payload: Uint8Array): string | undefined {
    if (type === frameTypes.ping) {
      this.outbox.put(frameTypes.pong, 0, nothing)
      return undefined
    }
    if (type === frameTypes.pong) {
      this.events.onPong()
      return undefined
    }
    if (type === frameTypes.open) return this.receiveOpen(id, payload)
    const flow = this.flows.get(id)
    return flow === undefined ? this.stranger(id) : flow.receive(type, payload)
  }

  private receiveOpen(id: number, header: Uint8Array): string | undefined {
    if (id % 2 === this.ownParity || id <= this.lastPeerId) return `OPEN of flow ${id} out of order`
    this.lastPeerId = id
    if (this.flows.size >= flowsPerLinkMax) {
      this.outbox.put(frameTypes.rst, id, resetByte('busy'))
      return undefined
    }
    const flow = new Flow(this, id, undefined)
    this.flows.set(id, flow)
    const answer = this.events.onOpen(flow, header)
    if (typeof answer === 'string') flow.reset(answer)
    else flow.handler = answer
    return undefined
  }

  /** A frame for a flow that is over is late and means nothing; one for a flow that never was is a violation. */
  private stranger(id: number): string | undefined {
    const ours = id % 2 === this.ownParity
    const known = ours ? id > 0 && id < this.nextId : id > 0 && id <= this.lastPeerId
    return known ? undefined : `frame for flow ${id}, which never was`
  }
}

/** One flow at one end. */
export class Flow {
  readonly id: number
  handler: FlowHandler | undefined
  /** Both ends agreed to it. */
  accepted = false
  over = false
  private readonly mux: Mux
  /** Bytes that may be sent. */
  private credit = windowBytes
  /** Bytes the other end may send. */
  private granted = windowBytes
  /** Bytes consumed here and not granted again yet. */
  private returned = 0
  /** Bytes that wait for credit or for the connection. */
  private readonly queue: Uint8Array[] = []
  private ending = false
  private finSent = false
  private finReceived = false

  constructor(mux: Mux, id: number, handler: FlowHandler | undefined) {
    this.mux = mux
    this.id = id
    this.handler = handler
  }

  /** Whether something is expected of the other end: an answer to OPEN, or credit. */
  get waits(): boolean {
    return !this.over && (!this.accepted || this.queue.length > 0 || this.credit < windowBytes / 2)
  }

  /** Grants a flow that the other end asked for. */
  accept(): void {
    if (this.over || this.accepted) return
    this.accepted = true
    this.mux.outbox.put(frameTypes.accepted, this.id, nothing)
  }

  /**
   * Sends bytes. True: they are copied, and the memory is the caller's again. False: they are kept and must not change, and no more may be sent
   * before `onWritable`.
   */
  send(bytes: Uint8Array): boolean {
    if (this.over || this.ending) return true
    if (this.queue.length > 0 || this.mux.blocked) {
      this.queue.push(bytes)
      return this.stop()
    }
    const rest = this.spend(bytes)
    if (rest === undefined) return true
    this.queue.push(rest)
    return this.stop()
  }

  /** No more bytes will be sent; FIN follows the last of them. */
  end(): void {
    if (this.over || this.ending) return
    this.ending = true
    if (this.queue.length === 0) this.finish()
  }

  /** Ends both directions now. The handler hears nothing more. */
  reset(reason: ResetReason): void {
    if (this.over) return
    this.mux.outbox.put(frameTypes.rst, this.id, resetByte(reason))
    this.forget()
  }

  /** These bytes of `onData` have left this agent: the other end may send as many again. */
  consumed(bytes: number): void {
    this.returned += bytes
    if (this.returned < grantBytes || this.over || this.finReceived) return
    this.mux.outbox.put(frameTypes.window, this.id, uint32(this.returned))
    this.granted += this.returned
    this.returned = 0
  }

  /** False when it was dropped because the connection is full: a datagram never waits. */
  datagram(bytes: Uint8Array): boolean {
    if (this.over || this.mux.blocked) return false
    this.mux.outbox.put(frameTypes.datagram, this.id, bytes)
    return true
  }

  /** For the mux: sends what waits, as far as credit and connection allow. */
  push(): void {
    while (this.queue.length > 0) {
      if (this.mux.blocked) {
        this.mux.waiting.add(this)
        return
      }
      const rest = this.spend(this.queue[0]!)
      if (rest !== undefined) {
        this.queue[0] = rest
        if (this.mux.blocked && this.credit > 0) this.mux.waiting.add(this)
        return
      }
      this.queue.shift()
    }
    if (this.ending) this.finish()
    else this.handler?.onWritable()
  }

  /** For the mux. */
  receive(type: number, payload: Uint8Array): string | undefined {
    if (type === frameTypes.window) return this.receiveWindow(payload)
    if (type === frameTypes.datagram) {
      if (this.accepted) this.handler?.onDatagram(payload)
    } else if (type === frameTypes.accepted) {
      if (this.accepted || this.id % 2 !== this.mux.ownParity) return `ACCEPTED of flow ${this.id} out of order`
      this.accepted = true
      this.handler?.onAccepted(this)
    } else if (type === frameTypes.fin) {
      if (!this.accepted || this.finReceived) return `FIN of flow ${this.id} out of order`
      this.finReceived = true
      this.handler?.onEnd()
      this.closeIfDone()
    } else if (type === frameTypes.rst) {
      this.lose(resetReasons[payload[0]!] ?? 'reset')
    }
    return undefined
  }

  /** For the mux. */
  receiveData(bytes: Uint8Array): string | undefined {
    if (!this.accepted || this.finReceived) return `DATA of flow ${this.id} out of order`
    if (bytes.length > this.granted) return `DATA of flow ${this.id} beyond its credit`
    this.granted -= bytes.length
    this.handler?.onData(bytes)
    return undefined
  }

  /** For the mux: over without a word to the other end. */
  lose(reason: ResetReason): void {
    if (this.over) return
    this.forget()
    this.handler?.onReset(reason)
  }

  private receiveWindow(payload: Uint8Array): string | undefined {
    const more = ((payload[0]! << 24) | (payload[1]! << 16) | (payload[2]! << 8) | payload[3]!) >>> 0
    this.credit += more
    if (more === 0 || this.credit > windowBytes) return `WINDOW of flow ${this.id} beyond ${windowBytes} bytes`
    if (this.queue.length > 0) this.push()
    return undefined
  }

  private stop(): false {
    if (this.mux.blocked) this.mux.waiting.add(this)
    return false
  }

  /** Sends as much as credit and connection allow; the rest, or undefined. */
  private spend(bytes: Uint8Array): Uint8Array | undefined {
    const outbox = this.mux.outbox
    const length = bytes.length
    let at = 0
    while (at < length) {
      const size = Math.min(length - at, this.credit, dataBytesSent)
      if (size === 0 || this.mux.blocked) return at === 0 ? bytes : bytes.subarray(at)
      outbox.put(frameTypes.data, this.id, size === length ? bytes : bytes.subarray(at, at + size))
      this.credit -= size
      at += size
    }
    return undefined
  }

  private finish(): void {
    if (this.finSent) return
    this.finSent = true
    this.mux.outbox.put(frameTypes.fin, this.id, nothing)
    this.closeIfDone()
  }

  private closeIfDone(): void {
    if (!this.finSent || !this.finReceived || this.over) return
    this.forget()
    this.handler?.onClosed()
  }

  private forget(): void {
    this.over = true
    this.queue.length = 0
    this.mux.flows.delete(this.id)
    this.mux.waiting.delete(this)
  }
}

const nothing = new Uint8Array(0)

const resetBytes = resetReasons.map((_, index) => Uint8Array.of(index))

function resetByte(reason: ResetReason): Uint8Array {
  return resetBytes[resetReasons.indexOf(reason)]!
}

function uint32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff)
}
