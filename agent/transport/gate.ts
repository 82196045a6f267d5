/**
 * Lets gossipsub see admitted peers only. Stands between gossipsub and libp2p's registrar: an unadmitted connection has no gossip at all, in
 * or out, and who is a gossip partner, over which connection, is decided here and not by libp2p's identify.
 *
 * libp2p never merges two connections of a pair, and gossipsub keeps its stream on the first: when that closes, gossip is one-way for ever
 * (ecosystem.md 2, trap 1). `move` puts gossip on the connection that is kept; watchdog.ts checks that it is there.
 */

import type { GossipSub, GossipSubComponents } from '@libp2p/gossipsub'
import type { Connection, PeerId, Stream, StreamHandler, Topology } from '@libp2p/interface'
import { abortNow } from './abort.ts'

type Registrar = GossipSubComponents['registrar']

export interface Gate {
  /** What gossipsub is given instead of libp2p's registrar. */
  readonly registrar: Registrar
  /** Begins gossip with a peer over this connection, or moves it there. */
  open(connection: Connection): void
  /** Ends gossip with a peer. */
  shut(peer: PeerId): void
  bind(pubsub: GossipSub): void
}

/** Members of gossipsub's class that its interface leaves out; checked at `bind`, since they are not promised. */
interface GossipInternals {
  readonly streamsOutbound: Map<string, { close(): Promise<void> }>
}

/** Inbound gossip streams may arrive a moment before our half of the hello is done; this many wait for it, the rest are reset. */
const waitingMax = 4

export function gate(registrar: Registrar, refused: () => void): Gate {
  const topologies = new Map<string, Topology>()
  const admitted = new Map<string, Connection>()
  const waiting = new Map<string, (() => void)[]>()
  let internals: GossipInternals | undefined

  const gated: Registrar = {
    getProtocols: () => registrar.getProtocols(),
    getHandler: (protocol) => registrar.getHandler(protocol),
    getMiddleware: (protocol) => registrar.getMiddleware(protocol),
    getTopologies: (protocol) => registrar.getTopologies(protocol),
    use: (protocol, middleware) => registrar.use(protocol, middleware),
    unuse: (protocol) => registrar.unuse(protocol),
    unhandle: (protocol, options) => registrar.unhandle(protocol, options),
    handle: (protocol, handler, options) => registrar.handle(protocol, guard(handler), options),
    register(protocol, topology) {
      topologies.set(protocol, topology)
      return Promise.resolve(protocol)
    },
    unregister: (id) => void topologies.delete(id),
  }

  function guard(handler: StreamHandler): StreamHandler {
    return (stream: Stream, connection: Connection) => {
      const id = connection.id
      if (admitted.get(connection.remotePeer.toString())?.id === id) return handler(stream, connection)
      const queue = waiting.get(id) ?? []
      if (queue.length >= waitingMax || connection.status !== 'open') {
        refused()
        abortNow(stream, 'not admitted')
        return
      }
      queue.push(
        () => void Promise.resolve(handler(stream, connection)).catch((error) => abortNow(stream, String(error))),
      )
      waiting.set(id, queue)
      connection.addEventListener('close', () => waiting.delete(id), { once: true })
    }
  }

  function open(connection: Connection): void {
    const peer = connection.remotePeer
    const key = peer.toString()
    admitted.set(key, connection)
    const old = internals?.streamsOutbound.get(key)
    if (old !== undefined) {
      internals?.streamsOutbound.delete(key)
      // Its 'close' may never come when the connection is dying; whether it does is of no interest any more.
      old.close().catch(() => {})
    }
    topologies.values().next().value?.onConnect?.(peer, connection)
    const streams = waiting.get(connection.id) ?? []
    waiting.delete(connection.id)
    for (const accept of streams) accept()
  }

  function shut(peer: PeerId): void {
    if (!admitted.delete(peer.toString())) return
    topologies.values().next().value?.onDisconnect?.(peer)
  }

  function bind(pubsub: GossipSub): void {
    const found = (pubsub as unknown as Partial<GossipInternals>).streamsOutbound
    if (!(found instanceof Map)) throw new Error('this version of gossipsub keeps its streams elsewhere')
    internals = { streamsOutbound: found }
  }

  return { registrar: gated, open, shut, bind }
}
