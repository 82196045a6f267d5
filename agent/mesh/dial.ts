/**
 * Gets a TLS connection to one node: tries its addresses, each after the one before has failed or been silent for a while.
 *
 * The other end must show the key that the node id is a hash of; anything else is not that node. Knows nothing of flows or membership.
 */
import { connect, type SecureContext, type TLSSocket } from 'node:tls'
import type { NodeId } from '../../protocol/ids.ts'
import { nodeIdOf } from '../trust/identity.ts'
import type { Cancel, Clock } from '../world.ts'
import { ed25519KeyOf } from './certificate.ts'

/** Names the protocol and its version; another version ends in the handshake with `no application protocol`. */
export const alpn = 'grapevine-mesh/1'

/** 250 ms before the next address is tried beside a silent one (RFC 8305 5). */
const staggerMs = 250

/** 4 s for all: longer than two lost SYNs. */
const dialMs = 4_000

export interface DialOptions {
  readonly node: NodeId
  readonly addresses: readonly { readonly host: string; readonly port: number }[]
  readonly context: SecureContext
  readonly clock: Clock
}

/** `done` is called once, with a connection whose key has been checked, or with a sentence. */
export function dial(options: DialOptions, done: (result: TLSSocket | string) => void): Cancel {
  const { addresses, clock } = options
  const places = addresses.map(({ host, port }) => `${host}:${port}`).join(', ')
  const trying = new Set<TLSSocket>()
  let next = 0
  let problem = 'no mesh address is known'
  let over = false
  let cancelStagger: Cancel = () => {}
  const cancelDeadline = clock.after(dialMs, () => finish(`no answer within ${dialMs} ms at ${places}`))

  function finish(result: TLSSocket | string | undefined): void {
    if (over) return
    over = true
    cancelStagger()
    cancelDeadline()
    for (const socket of trying) if (socket !== result) socket.destroy()
    if (result !== undefined) done(result)
  }

  function tryNext(): void {
    cancelStagger()
    const address = addresses[next++]
    if (over) return
    if (address === undefined) {
      if (trying.size === 0) finish(problem)
      return
    }
    const socket = connect({
      host: address.host,
      port: address.port,
      secureContext: options.context,
      ALPNProtocols: [alpn],
      // The key is what is checked, below; names and dates mean nothing here.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    })
    trying.add(socket)
    const failed = (sentence: string) => {
      if (!trying.delete(socket)) return
      problem = `${address.host}:${address.port}: ${sentence}`
      socket.destroy()
      tryNext()
    }
    socket.once('secureConnect', () => {
      if (peerOf(socket) !== options.node) failed('another node answers')
      else if (!over) {
        socket.removeAllListeners('error')
        socket.removeAllListeners('close')
        finish(socket)
      }
    })
    socket.once('error', (error) => failed(error.message))
    socket.once('close', () => failed('closed'))
    cancelStagger = clock.after(staggerMs, tryNext)
  }

  // Not from within the caller's call: it is not ready for an answer yet.
  setImmediate(tryNext)
  return () => finish(undefined)
}

/** The node whose key the other end of a finished handshake has proven; undefined without an Ed25519 key. */
export function peerOf(socket: TLSSocket): NodeId | undefined {
  const certificate = socket.getPeerX509Certificate()
  const key = certificate === undefined ? undefined : ed25519KeyOf(certificate)
  return key === undefined ? undefined : nodeIdOf(key)
}
