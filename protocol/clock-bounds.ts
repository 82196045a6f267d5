/**
 * What a wrong clock may do: nothing to the others, little to its own node (design.md 3, "Clocks").
 *
 * Cluster time is the median of the members' clocks, so fewer than half of them cannot move it. Everything is an offset to this node's
 * own wall clock, in ms; positive: ahead of us. Nothing here reads a clock.
 */

/** A node issues no version further ahead of cluster time than this: twice what unsynchronised machines are off after weeks. */
export const issueAheadMaxMs = 10_000
/** A received version further ahead is refused: above it, one wrong clock would freeze keys for everybody. */
export const receiveAheadMaxMs = 60_000
/** A node off by more takes no API writes: they would lose to older ones, or win over newer ones. */
export const writeOffsetMaxMs = 10_000

/** Cluster time minus this node's wall clock. The node itself counts as one member, with offset 0; of an even number the lower middle. */
export function clusterOffset(offsets: Iterable<number>): number {
  const sorted = [0, ...offsets].sort((a, b) => a - b)
  return sorted[(sorted.length - 1) >> 1] ?? 0
}
