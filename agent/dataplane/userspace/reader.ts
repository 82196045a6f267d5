/**
 * Reads a dialled socket into memory that is used again, and hands on what it read.
 *
 * Node gives each read 64 KB of its own. A thousand bodies of 1 MB are then 1 GB beside the heap, and V8 marks the whole heap of an agent a
 * dozen times a second to find it free: half of the CPU of a transfer. A read that was taken in whole leaves its memory free at once; one
 * that was not goes with its memory, and the next read gets other.
 */
import type { OnReadOpts } from 'node:net'

/** What an idle connection holds; most answers fit in it. */
const smallBytes = 4 * 1024
/** What Node reads at once by itself. */
const largeBytes = 64 * 1024
/** A read below this, into large memory, says that the rush is over. */
const calmBytes = 16 * 1024
/** 1 MB that waits for the next transfers. */
const sparesMax = 16
const spares: Buffer[] = []

/** What became of a read: its memory is `free`, or `held` by who took it, or held and no more is wanted until somebody resumes the socket. */
export type Taken = 'free' | 'held' | 'stop'

export class Reader {
  /** For `connect`. */
  readonly onread: OnReadOpts
  private take: (bytes: Buffer) => Taken = () => 'stop'
  private small: Buffer | undefined
  /** Invariant: no write that is under way refers to it. */
  private buffer: Buffer

  constructor() {
    this.buffer = this.fresh(smallBytes)
    this.onread = { buffer: () => this.buffer, callback: (length) => this.took(length) }
  }

  /** Before the first byte: who takes them. */
  into(take: (bytes: Buffer) => Taken): void {
    this.take = take
  }

  /** The connection has ended. */
  close(): void {
    this.spare()
    this.buffer = this.fresh(smallBytes)
  }

  /** False pauses the socket. */
  private took(length: number): boolean {
    const { buffer } = this
    const taken = this.take(buffer.subarray(0, length))
    const isLarge = buffer.length === largeBytes
    const bytes = length === buffer.length || (isLarge && length >= calmBytes) ? largeBytes : smallBytes
    if (taken === 'free' && bytes === buffer.length) return true
    if (taken === 'free') this.spare()
    else if (!isLarge) this.small = undefined
    this.buffer = this.fresh(bytes)
    return taken !== 'stop'
  }

  private fresh(bytes: number): Buffer {
    if (bytes === largeBytes) return spares.pop() ?? Buffer.allocUnsafeSlow(largeBytes)
    this.small ??= Buffer.allocUnsafeSlow(smallBytes)
    return this.small
  }

  private spare(): void {
    if (this.buffer.length === largeBytes && spares.length < sparesMax) spares.push(this.buffer)
  }
}
