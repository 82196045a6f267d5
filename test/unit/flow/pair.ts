// Two ends of a connection without sockets: bytes wait in a pipe until a test delivers them, in pieces of its choosing.
import { type Flow, type FlowHandler, Mux, type ResetReason } from '../../../protocol/flow.ts'
import { Outbox, outboxBytes } from '../../../protocol/flow-frames.ts'

/** Everything that a flow's handler heard. Holds what it received until `consume`. */
export class Probe implements FlowHandler {
  flow: Flow | undefined
  accepted = false
  readonly received: number[] = []
  unconsumed = 0
  ended = false
  closed = false
  writable = 0
  reset: ResetReason | undefined
  readonly datagrams: string[] = []

  onAccepted(flow: Flow): void {
    this.flow = flow
    this.accepted = true
  }
  onData(bytes: Uint8Array): void {
    for (const byte of bytes) this.received.push(byte)
    this.unconsumed += bytes.length
  }
  onEnd(): void {
    this.ended = true
  }
  onReset(reason: ResetReason): void {
    this.reset = reason
  }
  onWritable(): void {
    this.writable++
  }
  onClosed(): void {
    this.closed = true
  }
  onDatagram(bytes: Uint8Array): void {
    this.datagrams.push(new TextDecoder().decode(bytes))
  }
  consume(): void {
    this.flow?.consumed(this.unconsumed)
    this.unconsumed = 0
  }
}

export class End {
  readonly mux: Mux
  readonly pipe: Uint8Array[] = []
  /** Flows that the other end opened, in order. */
  readonly taken: Probe[] = []
  pongs = 0
  refuse: ResetReason | undefined
  violation: string | undefined
  /** Blocks when a buffer is full, in the middle of a send, as a socket that lags behind does. */
  blockWhenFull = false

  constructor(role: 'dialer' | 'acceptor') {
    const outbox = new Outbox(
      new Uint8Array(outboxBytes),
      (buffer, used) => {
        this.pipe.push(buffer.slice(0, used))
        if (this.blockWhenFull) this.mux.blocked = true
        return new Uint8Array(outboxBytes)
      },
      () => {},
    )
    this.mux = new Mux(role, outbox, {
      onOpen: (flow) => {
        if (this.refuse !== undefined) return this.refuse
        const probe = new Probe()
        probe.flow = flow
        this.taken.push(probe)
        return probe
      },
      onPong: () => {
        this.pongs++
      },
    })
  }

  /** Delivers up to `bytes` of what waits to the other end. */
  deliver(to: End, bytes = Number.POSITIVE_INFINITY): void {
    this.mux.outbox.flush()
    let left = bytes
    while (left > 0 && this.pipe.length > 0 && to.violation === undefined) {
      const head = this.pipe.shift()!
      const size = Math.min(left, head.length)
      if (size < head.length) this.pipe.unshift(head.subarray(size))
      to.violation = to.mux.receive(head.slice(0, size))
      left -= size
    }
  }

  open(header = Uint8Array.of(1)): Probe {
    const probe = new Probe()
    probe.flow = this.mux.open(header, probe)
    return probe
  }
}

export function pair(): { readonly a: End; readonly b: End; settle(): void } {
  const a = new End('dialer')
  const b = new End('acceptor')
  return {
    a,
    b,
    settle() {
      do {
        a.deliver(b)
        b.deliver(a)
        a.mux.outbox.flush()
        b.mux.outbox.flush()
      } while (a.pipe.length + b.pipe.length > 0 && a.violation === undefined && b.violation === undefined)
    },
  }
}

/** Bytes that tell their place, so that a loss, a double or a swap shows. */
export function pattern(length: number, from = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => ((from + i) * 31 + ((from + i) >> 8)) & 0xff)
}

/** An open flow, accepted by `b`. */
export function opened(ends: ReturnType<typeof pair>): { readonly near: Probe; readonly far: Probe } {
  const near = ends.a.open()
  ends.settle()
  const far = ends.b.taken.at(-1)!
  far.flow!.accept()
  ends.settle()
  return { near, far }
}
