/**
 * A connection to an admitted node: its channel taken over from the hello, its requests, and how it ends.
 *
 * One idea of "over" for all that can happen: the socket closes, the stream is reset, the peer breaks the frame rules, or we end it. The owner hears of
 * it once.
 */

import type { Connection } from '@libp2p/interface'
import type { NodeId } from '../../protocol/ids.ts'
import type { Clock, Disconnect } from '../world.ts'
import { abortNow } from './abort.ts'
import { encodeFrame, type Frame, frameKinds } from './frames.ts'
import type { OpenLink, Peer } from './handshake.ts'
import { type Requests, requests } from './requests.ts'

export interface LinkOptions {
  readonly peer: Peer
  readonly connection: Connection
  readonly open: OpenLink
  readonly dialledBy: NodeId
  readonly clock: Clock
  readonly name: () => string
  readonly serve: (kind: string, bytes: Uint8Array) => Promise<Uint8Array>
  /** The peer has no gossip stream from us and wants one. */
  readonly regossip: () => void
  readonly dropped: (what: string) => void
  readonly onEnd: (why: Disconnect) => void
}

export interface Link {
  readonly peer: Peer
  readonly connection: Connection
  readonly dialledBy: NodeId
  readonly requests: Requests
  /** Asks the peer to open its gossip stream to us anew. */
  askRegossip(): void
  /** Begins to serve; frames that came early are served now. */
  run(): void
  end(why: string): void
}

export function createLink(options: LinkOptions): Link {
  const { connection, open } = options
  let over = false
  let local = false

  const calls = requests({
    channel: open.channel,
    clock: options.clock,
    name: options.name,
    serve: options.serve,
    dropped: options.dropped,
  })

  connection.addEventListener('close', (event) => finish(event.error === undefined ? 'closed' : 'reset'))

  function onFrame(frame: Frame): void {
    if (frame.kind === frameKinds.request) calls.onRequest(frame.body)
    else if (frame.kind === frameKinds.answer) calls.onAnswer(frame.body, true)
    else if (frame.kind === frameKinds.failure) calls.onAnswer(frame.body, false)
    else if (frame.kind === frameKinds.regossip) options.regossip()
    else open.channel.close('a frame of an unknown kind')
  }

  function run(): void {
    open.take(onFrame, (why) => {
      // A connection without its channel is of no use: end it, so that both sides see the same.
      if (!over && connection.status === 'open') abortNow(connection, why)
      finish('reset')
    })
    if (connection.status !== 'open') finish('closed')
  }

  function finish(why: Disconnect): void {
    if (over) return
    over = true
    calls.end()
    options.onEnd(local ? 'local' : why)
  }

  function end(why: string): void {
    local = true
    open.channel.close(why)
    connection.close().catch(() => abortNow(connection, why))
    finish('local')
  }

  return {
    peer: options.peer,
    connection,
    dialledBy: options.dialledBy,
    requests: calls,
    askRegossip: () => void open.channel.send(encodeFrame(frameKinds.regossip)),
    run,
    end,
  }
}
