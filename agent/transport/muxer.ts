/**
 * yamux, made to grant a window when half of it is used, as its other implementations do (hashicorp/yamux, rust-yamux #109).
 *
 * js-libp2p's (8.0.3, the newest) grants what it has read after every message: each probe of the detector, 200 bytes, and each answer is followed by a
 * frame that nobody waits for, with an encryption, a write, a read and a decryption of its own: 40 % of the bytes of an idle agent (test/bench/RESULTS.md).
 * A sender never waits longer for it: it has half a window left when it is granted the next.
 */
import { yamux } from '@libp2p/yamux'
import { StreamState, YamuxStream } from '@libp2p/yamux/stream'

/** What the window of a stream is judged by; private to its class. */
interface Window {
  readonly state: StreamState
  /** Bytes of a whole window. */
  readonly recvWindow: number
  /** Bytes of it that the other may still send. */
  readonly recvWindowCapacity: number
}

const grant = YamuxStream.prototype.sendWindowUpdate

YamuxStream.prototype.sendWindowUpdate = function (this: YamuxStream): void {
  const { state, recvWindow, recvWindowCapacity } = this as unknown as Window
  // Before it is established an update carries the flag that opens or accepts the stream.
  if (state === StreamState.Established && recvWindowCapacity > recvWindow / 2) return
  grant.call(this)
}

/** `maxEarlyStreams`: streams that come before the connection is ready; the default of 10 resets joins of many nodes at once. */
export const muxer = () => yamux({ maxEarlyStreams: 100 })
