/**
 * What a node may do that sees only part of the cluster (design.md 5): "known" is admitted, neither removed nor left.
 *
 * Both sides of a partition go on, so the smaller one must be slow and modest: it waits before it replaces, and then starts only so
 * much in a time. A service labelled `grapevine.partition=stop` runs on one side only, the same for every node that sees that side.
 */
import type { NodeId } from '../../../protocol/ids.ts'
import { isUp } from '../live.ts'
import { perRevision } from '../per-revision.ts'
import type { Wanted } from '../wanted.ts'

/** Tasks that an isolated node may start in each `minorityWaitMs`, unless it runs more already: a small cluster's worth. */
const startsMin = 4

export interface Side {
  readonly up: number
  readonly known: number
  /** Fewer than half of the known nodes are alive here. */
  readonly minority: boolean
  /** More than half, or half with the lowest node id: at most one side of a partition holds this. */
  readonly prevails: boolean
  /** Monotonic ms at which this became a minority; undefined when it is none. */
  readonly minoritySinceMs: number | undefined
}

export const sideOf = perRevision((view): Side => {
  const known = [...view.members.values()].filter((member) => member.liveness !== 'left')
  const up = known.filter(isUp)
  // Who is suspected is not seen: a node that is cut off buries the others one by one, and must not fill in for the first of them.
  const unseen = known.filter(({ liveness }) => liveness !== 'alive')
  const minority = (known.length - unseen.length) * 2 < known.length
  const lowest = known.reduce<NodeId | undefined>(
    (low, { id }) => (low === undefined || id < low ? id : low),
    undefined,
  )
  const half = up.length * 2 === known.length && up.some(({ id }) => id === lowest)
  return {
    up: up.length,
    known: known.length,
    minority,
    prevails: up.length * 2 > known.length || half,
    minoritySinceMs: minority
      ? minoritySince(
          unseen.map((m) => m.sinceMs),
          known.length,
        )
      : undefined,
  }
})

/** Whether this side may run a service at all; a sentence when not. */
export function barredHere(wanted: Wanted, side: Side): string | undefined {
  if (wanted.labels['grapevine.partition'] !== 'stop' || side.prevails) return undefined
  return `this side of the partition sees ${side.up} of ${side.known} nodes, and grapevine.partition=stop`
}

/**
 * How many tasks this node may start now. `recent`: tasks that it started within the last `minorityWaitMs`; `older`: its live tasks
 * from before that.
 */
export function startBudget(
  side: Side,
  at: { readonly nowMs: number; readonly minorityWaitMs: number },
  tasks: { readonly recent: number; readonly older: number },
): number {
  if (side.minoritySinceMs === undefined) return Number.POSITIVE_INFINITY
  if (at.nowMs - side.minoritySinceMs < at.minorityWaitMs) return 0
  return Math.max(0, Math.max(startsMin, tasks.older) - tasks.recent)
}

/** The loss that took the node below half. */
function minoritySince(lostMs: readonly number[], known: number): number {
  const decisive = Math.floor(known / 2)
  return [...lostMs].sort((a, b) => a - b)[decisive] ?? 0
}
