/**
 * One TLS connection between two agents and the flows on it: moves bytes between the socket and the state machine (protocol/flow.ts).
 *
 * Frames written while the event loop handles one batch of sockets leave in one write at its end; when the socket lags behind, flows
 * are stopped until it has drained. What a flow is for is not known here.
 */
import type { TLSSocket } from 'node:tls'
import { type Flow, type FlowHandler, Mux, type ResetReason } from '../../protocol/flow.ts'
import { Outbox, outboxBytes } from '../../protocol/flow-frames.ts'
import type { NodeId } from '../../protocol/ids.ts'

/** 1 MB unwritten stops the flows of a link: two full windows, so one slow connection cannot fill memory. */
const blockedBytes = 1024 * 1024

/**
 * Written buffers kept for re-use: what `blockedBytes` can have under way, and what flows put in before they hear that they are blocked. One too
 * few is made anew for each megabyte, beside the heap, and V8 then marks the whole heap several times a second.
 */
const spareMax = blockedBytes / outboxBytes + 4

export interface LinkOptions {
  readonly socket: TLSSocket
  readonly node: NodeId
  readonly role: 'dialer' | 'acceptor'
  readonly now: () => number
  onOpen(flow: Flow, header: Uint8Array, link: Link): FlowHandler | ResetReason
  /** Once, when it is over; a violation is the sentence of what the other end did wrong. */
  onLost(link: Link, violation: string | undefined): void
}

export class Link {
  readonly node: NodeId
  readonly mux: Mux
  /** When bytes last came, monotonic ms. */
  heardMs: number
  /** When a ping that has no answer yet was sent. */
  pingedMs: number | undefined
  private readonly options: LinkOptions
  private readonly socket: TLSSocket
  private readonly spare: Buffer[] = []
  /** Who waits for an answer. */
  private readonly asking: (() => void)[] = []
  private scheduled = false
  private lost = false

  constructor(options: LinkOptions) {
    this.options = options
    this.node = options.node
    this.socket = options.socket
    this.heardMs = options.now()
    const outbox = new Outbox(
      Buffer.allocUnsafeSlow(outboxBytes),
      (buffer, used) => this.write(buffer as Buffer, used),
      () => this.schedule(),
    )
    this.mux = new Mux(options.role, outbox, {
      onOpen: (flow, header) => options.onOpen(flow, header, this),
      onPong: () => {
        this.pingedMs = undefined
        this.wake()
      },
    })
    this.socket.setNoDelay(true)
    this.socket.setKeepAlive(true, 30_000)
    this.socket.on('data', (chunk: Buffer) => this.receive(chunk))
    this.socket.on('drain', () => this.drained())
    this.socket.on('error', () => this.close(undefined))
    this.socket.on('end', () => this.close(undefined))
    this.socket.on('close', () => this.close(undefined))
  }

  /** Sends a ping unless one is under way. */
  ping(): void {
    if (this.pingedMs !== undefined) return
    this.pingedMs = this.options.now()
    this.mux.ping()
  }

  /** Resolves when the other end has answered a ping, or the connection is over. */
  ask(): Promise<void> {
    this.ping()
    return new Promise((resolve) => this.asking.push(resolve))
  }

  /** Ends the connection and every flow on it. */
  close(violation: string | undefined, reason: ResetReason = 'link-lost'): void {
    if (this.lost) return
    this.lost = true
    this.socket.destroy()
    this.options.onLost(this, violation)
    this.mux.lose(reason)
    this.wake()
  }

  /** Sends what has gathered, then ends the connection in good order. */
  finish(): void {
    this.mux.outbox.flush()
    this.socket.end()
  }

  get congested(): boolean {
    return this.mux.blocked
  }

  private wake(): void {
    for (const wake of this.asking.splice(0)) wake()
  }

  private receive(chunk: Buffer): void {
    if (this.lost) return
    this.heardMs = this.options.now()
    const violation = this.mux.receive(chunk)
    if (violation !== undefined) this.close(violation)
  }

  private schedule(): void {
    if (this.scheduled) return
    this.scheduled = true
    setImmediate(() => {
      this.scheduled = false
      this.mux.outbox.flush()
    })
  }

  private write(buffer: Buffer, used: number): Buffer {
    if (!this.lost) {
      this.socket.write(buffer.subarray(0, used), () => {
        if (this.spare.length < spareMax) this.spare.push(buffer)
      })
      if (this.socket.writableLength > blockedBytes) this.mux.blocked = true
    }
    return this.spare.pop() ?? Buffer.allocUnsafeSlow(outboxBytes)
  }

  private drained(): void {
    if (this.mux.blocked && !this.lost) this.mux.unblock()
  }
}
