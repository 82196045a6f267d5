/**
 * Who is to be connected with whom. Pure, and the same answer on both ends of a pair.
 *
 * Up to 50 nodes everyone with everyone: one hop for gossip, and each death is seen by all at once. Above that connections would cost more than
 * they tell, so each node keeps links to ring neighbours at distances 1, 2, 4, 8 … in both directions: at most 2 log2 n of them, connected, and
 * log2 n hops across.
 */
import type { NodeId } from '../../protocol/ids.ts'

/** 50: a full mesh of 50 costs each node about 1 % of a core and 15 KB/s (ecosystem.md 2, 30 nodes scaled). */
export const fullMeshMax = 50

/** Of the members (with or without `self`), those that `self` keeps a connection with, sorted. */
export function meshPeers(self: NodeId, members: readonly NodeId[]): readonly NodeId[] {
  const ring = [...new Set([...members, self])].sort()
  if (ring.length <= fullMeshMax) return ring.filter((node) => node !== self)
  const own = ring.indexOf(self)
  const chosen = new Set<NodeId>()
  for (let distance = 1; distance < ring.length; distance *= 2) {
    chosen.add(ring[(own + distance) % ring.length]!)
    chosen.add(ring[(own - distance + ring.length) % ring.length]!)
  }
  chosen.delete(self)
  return [...chosen].sort()
}

/** Whether `self` keeps a connection with a node, which need not be a member yet. */
export function keepsWith(self: NodeId, members: readonly NodeId[], node: NodeId): boolean {
  return new Set([...members, self]).size <= fullMeshMax || meshPeers(self, members).includes(node)
}

/** The one that dials first, so that a pair rarely gets two connections. */
export function dialsFirst(self: NodeId, other: NodeId): boolean {
  return self < other
}

/**
 * Of two connections of one pair, whether the new one is kept. Both ends see the same two and decide alike: the one dialled by the lower id; of two
 * dialled by the same node the later, since a node that dials again has lost the earlier.
 */
export function keepsNew(
  ends: { readonly low: NodeId },
  old: { readonly dialledBy: NodeId },
  fresh: { readonly dialledBy: NodeId },
): boolean {
  return old.dialledBy === fresh.dialledBy || fresh.dialledBy === ends.low
}
