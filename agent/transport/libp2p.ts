/**
 * One libp2p node, set up so that none of its measured traps can be stepped on (ecosystem.md 2). Owns every option of libp2p and
 * gossipsub; decides nothing else. Each number says why it is not the default.
 */
import { privateKeyFromRaw } from '@libp2p/crypto/keys'
import { type GossipSub, type GossipSubComponents, gossipsub } from '@libp2p/gossipsub'
import { type Libp2p, serviceDependencies } from '@libp2p/interface'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import type { Multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { bindReason, fault, reasonOf } from '../fault.ts'
import type { Identity } from '../trust/identity.ts'
import type { TransportTimes } from './admission.ts'
import { type Gate, gate } from './gate.ts'
import { muxer } from './muxer.ts'

export type Libp2pNode = Libp2p<{ readonly pubsub: GossipSub }>

export interface Libp2pOptions {
  readonly identity: Identity
  /** Multiaddrs. */
  readonly listen: readonly string[]
  readonly clusterTag: Uint8Array
  readonly times: TransportTimes
  /** An inbound gossip stream of a peer that is not admitted was dropped. */
  readonly onGossipRefused: () => void
}

export interface Started {
  readonly node: Libp2pNode
  readonly gossip: GossipSub
  readonly gate: Gate
}

/** Above the number of members that any node is meant to see, and of nodes behind one NAT that join at once. */
const connectionsMax = 1_000

/**
 * Who publishes sends to every subscriber it is connected with, so up to full-mesh sizes a message takes one hop and each forwarded copy is waste:
 * D = 3 is enough to carry it around one frozen or one-way peer, and to relay in larger clusters. Measured with 25 processes in
 * test/bench/spikes/gossip.ts.
 */
const degree = { D: 3, Dlo: 2, Dhi: 5, Dout: 1, Dscore: 1, Dlazy: 3 } as const

/** 4 MB of unsent gossip: beyond it the peer's gossip stream is reset, and the watchdog opens a new one when the peer reads again. */
const gossipBufferBytesMax = 4 * 1024 * 1024

export async function startLibp2p(options: Libp2pOptions): Promise<Started> {
  const { identity, times } = options
  let made: { readonly gossip: GossipSub; readonly gate: Gate } | undefined

  function pubsub(components: GossipSubComponents): GossipSub {
    const door = gate(components.registrar, options.onGossipRefused)
    const { privateKey, peerId, peerStore, connectionManager, logger } = components
    const gossip = gossipsub({
      ...degree,
      heartbeatInterval: 1_000,
      floodPublish: true,
      // One encoding for all receivers of a flood.
      batchPublish: true,
      emitSelf: false,
      fallbackToFloodsub: false,
      allowPublishToZeroTopicPeers: true,
      ignoreDuplicatePublishError: true,
      doPX: false,
      // Duplicates are recognised before their signature is checked: 3.5 times the throughput (trap 3).
      fastMsgIdFn: (message) =>
        message.from === undefined || message.seqno === undefined ? '' : seenKey(message.from, message.seqno),
      // Peers are authenticated members: addresses in common (one NAT, one machine) and lost IWANTs (a busy machine) are no offence, and either
      // penalty alone can graylist a whole cluster (trap 4).
      scoreParams: { IPColocationFactorWeight: 0, behaviourPenaltyWeight: 0 },
      tagMeshPeers: false,
      maxOutboundBufferSize: gossipBufferBytesMax,
      // A moved or healed stream overlaps with the one it replaces.
      maxInboundStreams: 8,
      maxOutboundStreams: 8,
    })({ privateKey, peerId, peerStore, connectionManager, logger, registrar: door.registrar })
    // The gate tells gossipsub who is connected, so identify is not needed: one stream and 2 ms of CPU less for each connection.
    Object.defineProperty(gossip, serviceDependencies, { value: [] })
    door.bind(gossip)
    made = { gossip, gate: door }
    return gossip
  }

  const node = await createLibp2p({
    privateKey: privateKeyFromRaw(Buffer.concat([identity.seed, identity.publicKey])),
    // Nothing is announced: peers learn addresses from member records alone (trap 17).
    addresses: { listen: [...options.listen] },
    transports: [tcp({ backlog: 511 })],
    connectionEncrypters: [noise({ prologueBytes: options.clusterTag })],
    streamMuxers: [muxer()],
    connectionManager: {
      maxConnections: connectionsMax,
      // Defaults of 5 a second for each host and 10 pending reset joins of 20 nodes at once (trap 5).
      inboundConnectionThreshold: connectionsMax,
      maxIncomingPendingConnections: connectionsMax,
      maxParallelDials: 32,
      dialTimeout: times.dialMs,
      addressDialTimeout: times.dialMs,
      inboundUpgradeTimeout: times.helloMs,
      outboundStreamProtocolNegotiationTimeout: times.helloMs,
      inboundStreamProtocolNegotiationTimeout: times.helloMs,
      reconnectRetries: 0,
      // Addresses are given best first.
      addressSorter: () => 0,
    },
    // Its pings cost 5 ms of CPU each, and it aborts all connections of a busy machine; the detector has its own (trap 2).
    connectionMonitor: { enabled: false },
    services: { pubsub },
  })
  if (made === undefined) throw new Error('libp2p did not create its gossipsub')
  return { node, ...made }
}

/** Listening multiaddrs with their real ports, without the peer id. */
export function listeningOn(node: Libp2pNode): readonly string[] {
  return node.getMultiaddrs().map((address: Multiaddr) => address.toString().replace(/\/p2p\/.*$/, ''))
}

function seenKey(from: Uint8Array, seqno: Uint8Array): string {
  return Buffer.from(from).toString('latin1') + Buffer.from(seqno).toString('latin1')
}

/** What a failed start means: nearly always an address that is taken or not this machine's. */
export function startFault(error: unknown, listen: readonly string[]): Error {
  const text = error instanceof AggregateError ? error.errors.map(reasonOf).join('; ') : reasonOf(error)
  if (
    !/EADDRINUSE|EACCES|EADDRNOTAVAIL|UnsupportedListen|Some configured addresses|could not listen|listen/i.test(text)
  ) {
    return fault('internal', `The control plane did not start: ${text}`, undefined, error)
  }
  return fault(
    'port-taken',
    `Cannot listen on ${listen.join(', ')}: ${bindReason(text)}`,
    'Choose another port or address with --listen, or stop what uses it',
    error,
  )
}
