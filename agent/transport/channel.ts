/**
 * One long-lived stream to a peer that carries frames both ways. Owns the queue of what waits to be sent to this peer, so that a slow
 * peer fills its own bounded queue and nobody else's.
 *
 * libp2p's own back-pressure is not to be used: `onDrain()` resolves at once after its first use (ecosystem.md 2, trap 8), so this looks at
 * `writeBufferLength` and waits for the events. Small frames (probes, answers) go before large ones (sync), which may take seconds.
 */

import type { Stream } from '@libp2p/interface'
import { abortNow } from './abort.ts'
import { type Frame, frameReader } from './frames.ts'

export interface ChannelOptions {
  /** Longest body accepted now; small until the peer is admitted. */
  readonly frameBytesMax: () => number
  readonly onFrame: (frame: Frame) => void
  readonly onClosed: (why: string) => void
}

export interface Channel {
  /** False when the channel is closed or its queue is full: the frame is not sent. */
  send(frame: Uint8Array): boolean
  close(why: string): void
  readonly queuedBytes: () => number
}

/** Two answers of the largest size, and room for probes behind them. */
const queueBytesMax = 4 * 1024 * 1024
/** libp2p holds at most this much of ours: one yamux window, more only delays what is urgent. */
const highWaterBytes = 256 * 1024
const smallBytes = 8 * 1024

export function openChannel(stream: Stream, options: ChannelOptions): Channel {
  const small: Uint8Array[] = []
  const large: Uint8Array[] = []
  let queued = 0
  let closed = false
  const reader = frameReader(options.frameBytesMax)

  stream.addEventListener('message', (event) => receive(event.data.subarray()))
  stream.addEventListener('drain', pump)
  stream.addEventListener('idle', pump)
  stream.addEventListener('remoteCloseWrite', () => close('the peer closed its side'))
  stream.addEventListener('close', (event) => close(event.error?.message ?? 'closed'))

  function send(frame: Uint8Array): boolean {
    if (closed || queued + frame.length > queueBytesMax) return false
    const queue = frame.length <= smallBytes ? small : large
    queue.push(frame)
    queued += frame.length
    pump()
    return !closed
  }

  function pump(): void {
    while (!closed && queued > 0 && stream.writeBufferLength < highWaterBytes) {
      const frame = small.shift() ?? large.shift()
      if (frame === undefined) return
      queued -= frame.length
      try {
        stream.send(frame)
      } catch (error) {
        // StreamStateError: the other side went away between two frames. The 'close' event may come late or never.
        close(error instanceof Error ? error.message : String(error))
      }
    }
  }

  function receive(bytes: Uint8Array): void {
    if (closed) return
    const frames = reader.take(bytes)
    if (frames === 'too-long') close('a frame is too long')
    else deliver(frames)
  }

  function deliver(frames: readonly Frame[]): void {
    for (const frame of frames) {
      if (closed) return
      options.onFrame(frame)
    }
  }

  function close(why: string): void {
    if (closed) return
    closed = true
    small.length = 0
    large.length = 0
    queued = 0
    if (stream.status === 'open') abortNow(stream, why)
    options.onClosed(why)
  }

  return { send, close, queuedBytes: () => queued }
}
