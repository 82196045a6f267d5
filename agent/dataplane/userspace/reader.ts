/**
 * Reads a dialled socket into memory that is used again, and hands on what it read.
 *
 * Node gives each read 64 KB of its own. A thousand bodies of 1 MB are then 1 GB beside the heap, and V8 marks the whole heap of an agent a
 * dozen times a second to find it free: half of the CPU of a transfer. A read that was taken in whole leaves its memory free at once, one that
 * stopped the reading leaves it free when it goes on; one that is held goes with its memory, and the next read gets other. Memory of an ended
 * connection goes to the next one, unless somebody may still hold it.
 */
import type { OnReadOpts } from 'node:net'

/** What an idle connection holds; most answers fit in it. */
const smallBytes = 4 * 1024
/** What Node reads at once by itself. */
const largeBytes = 64 * 1024
/** A read below this, into large memory, says that the rush is over. */
const calmBytes = 16 * 1024
/** 1 MB of each size waits for the next connections and transfers. */
const spareBytesMax = 1024 * 1024
const smallSpares: Buffer[] = []
const largeSpares: Buffer[] = []

/**
 * What became of a read: its memory is `free`, or `held` by who took it for as long as they like, or lent to them and no more is wanted: it is
 * free again when they resume the socket, and not before.
 */
export type Taken = 'free' | 'held' | 'stop'

/** Who gets the bytes. */
export interface Taker {
  take(bytes: Buffer): Taken
}

export class Reader {
  /** For `connect`. */
  readonly onread: OnReadOpts
  private taker: Taker | undefined
  /** Invariant: no write that is under way refers to it, unless it is lent. */
  private buffer = fresh(smallBytes)
  /** Nothing is read into the buffer until the socket is resumed. */
  private lent = false

  constructor() {
    this.onread = { buffer: () => this.buffer, callback: (length) => this.took(length) }
  }

  /** Before the first byte: who takes them. */
  into(taker: Taker): void {
    this.taker = taker
  }

  /** The connection has ended: nothing is read after this. */
  close(): void {
    if (!this.lent) spare(this.buffer)
    this.buffer = nothing
  }

  /** False pauses the socket. */
  private took(length: number): boolean {
    const { buffer, taker } = this
    const taken = taker === undefined ? 'stop' : taker.take(buffer.subarray(0, length))
    const isLarge = buffer.length === largeBytes
    const bytes = length === buffer.length || (isLarge && length >= calmBytes) ? largeBytes : smallBytes
    const isKept = taken !== 'held' && bytes === buffer.length
    this.lent = isKept && taken === 'stop'
    if (isKept) return taken !== 'stop'
    if (taken === 'free') spare(buffer)
    this.buffer = fresh(bytes)
    return taken !== 'stop'
  }
}

const nothing = Buffer.alloc(0)

function fresh(bytes: number): Buffer {
  return (bytes === largeBytes ? largeSpares : smallSpares).pop() ?? Buffer.allocUnsafeSlow(bytes)
}

function spare(buffer: Buffer): void {
  const spares = buffer.length === largeBytes ? largeSpares : smallSpares
  if (buffer.length > 0 && spares.length * buffer.length < spareBytesMax) spares.push(buffer)
}
