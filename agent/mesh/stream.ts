/**
 * A flow as a Node stream, for what is not forwarded traffic: relayed API calls and task logs. Back-pressure reaches the other agent.
 */
import { Duplex } from 'node:stream'
import type { Flow, FlowHandler, ResetReason } from '../../protocol/flow.ts'
import { fault } from '../fault.ts'

export class FlowStream extends Duplex implements FlowHandler {
  private flow: Flow | undefined
  /** Bytes handed to the reader's queue that it has not asked beyond yet. */
  private held = 0
  private wrote: (() => void) | undefined
  private readonly accepted: () => void

  /** For the opening side `accepted` is called when the other agent takes the stream; the accepting side gives the flow. */
  constructor(options: { readonly flow?: Flow; readonly accepted?: () => void }) {
    super({ allowHalfOpen: true })
    this.flow = options.flow
    this.accepted = options.accepted ?? (() => {})
    // A lost stream must never end the process because nobody happened to listen.
    this.on('error', () => {})
  }

  onAccepted(flow: Flow): void {
    this.flow = flow
    this.accepted()
  }

  onData(bytes: Uint8Array): void {
    if (this.push(bytes)) this.flow?.consumed(bytes.length)
    else this.held += bytes.length
  }

  onEnd(): void {
    this.push(null)
  }

  onReset(reason: ResetReason): void {
    this.flow = undefined
    this.destroy(fault('unavailable', `The connection to the other agent ended: ${reason}`))
  }

  onWritable(): void {
    const wrote = this.wrote
    this.wrote = undefined
    wrote?.()
  }

  onClosed(): void {
    this.flow = undefined
  }

  onDatagram(): void {}

  override _read(): void {
    const held = this.held
    this.held = 0
    if (held > 0) this.flow?.consumed(held)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, wrote: () => void): void {
    if (this.flow?.send(chunk) === false) this.wrote = wrote
    else wrote()
  }

  override _final(done: () => void): void {
    this.flow?.end()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.flow?.reset('reset')
    this.flow = undefined
    done(error)
  }
}
