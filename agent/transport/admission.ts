/**
 * What the transport asks of the replicated state, and the times it keeps. Types and presets only; node.ts answers from its view.
 *
 * All answers are synchronous and cheap: they are asked for every connection and every message.
 */
import type { NodeId } from '../../protocol/ids.ts'
import type { Preset } from '../presets.ts'

/** A member as the dialer needs it. */
export interface KnownMember {
  readonly node: NodeId
  readonly peerId: string
  /** Multiaddrs of its control plane, best first, without `/p2p/…`. */
  readonly listen: readonly string[]
}

export interface Admission {
  /** Whether the state knows the node as admitted and not removed. */
  isMember(node: NodeId): boolean
  isRemoved(node: NodeId): boolean
  /** The signed record that removed it, to be shown to it: it was cut off before gossip could tell. */
  removal?(
    node: NodeId,
  ): { readonly by: NodeId; readonly atMs: number; readonly signature: Uint8Array<ArrayBuffer> } | undefined
  /** The record of the token with this id (trust/token.ts `tokenId`), or undefined. */
  token(id: string): { readonly expiresMs: number | null } | undefined
  /** Everybody to be connected with: members that have not left, without this node. Retried for ever. */
  members(): readonly KnownMember[]
  /** A member's name for sentences; undefined where unknown. */
  nameOf(node: NodeId): string | undefined
  /** What a newcomer needs before its first sync (settings, removals, its view of the cluster), encoded by the node; opaque here. */
  seed(): Uint8Array
}

export interface TransportTimes {
  /** One dial, TCP and Noise, of one address list. */
  readonly dialMs: number
  /** From a new connection to its hello's end; also what an unadmitted connection may live. */
  readonly helloMs: number
  /** Redial after the first failure; doubles, with jitter, up to the next one, for ever. */
  readonly redialMinMs: number
  readonly redialMaxMs: number
  /** The higher node id dials too when the lower has not connected for this long. */
  readonly higherWaitsMs: number
  /** Comparison of connections with gossip streams. */
  readonly watchdogMs: number
}

export const transportTimes: Readonly<Record<Preset, TransportTimes>> = {
  // A dial takes 20 ms here; one on a machine with all cores busy has been seen to take 1 s.
  local: {
    dialMs: 2_000,
    helloMs: 3_000,
    redialMinMs: 200,
    redialMaxMs: 5_000,
    higherWaitsMs: 1_500,
    watchdogMs: 1_000,
  },
  lan: {
    dialMs: 2_500,
    helloMs: 2_500,
    redialMinMs: 500,
    redialMaxMs: 10_000,
    higherWaitsMs: 3_000,
    watchdogMs: 2_000,
  },
  // Five round trips of 300 ms and one lost SYN (1 s) fit into a dial. Dial and hello together end within the 5 s in which a join says what is wrong.
  wan: {
    dialMs: 2_500,
    helloMs: 2_500,
    redialMinMs: 1_000,
    redialMaxMs: 30_000,
    higherWaitsMs: 6_000,
    watchdogMs: 5_000,
  },
}
