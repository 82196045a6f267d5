/**
 * How long each node has stayed, and how long it must before tasks are moved to it (design.md 5).
 *
 * A node that comes and goes must not drag tasks about: each early end after the first doubles what is asked of the next stay. One early
 * end alone is a failure, no flapping. Kept in memory by the nodes that hold the tasks, which is where the doubt belongs.
 */
import type { NodeId } from '../../../protocol/ids.ts'
import { isUp } from '../live.ts'
import type { View } from '../view.ts'

export interface Stay {
  /** Monotonic ms; undefined while it is away. */
  readonly sinceMs: number | undefined
  readonly requiredMs: number
  /** Whether a stay has ended early since the last long one. */
  readonly hasFailed: boolean
}
export type Stays = ReadonlyMap<NodeId, Stay>

/** Half an hour: longer than any maintenance that one would call flapping. */
const requiredMaxMs = 30 * 60_000

/** The next state of the memory; the same object when nothing changed. */
export function noteStays(stays: Stays, view: View, at: { readonly nowMs: number; readonly firstMs: number }): Stays {
  const changed = new Map<NodeId, Stay>()
  for (const [id, member] of view.members) {
    const stay = stays.get(id)
    const up = isUp(member)
    if (stay === undefined) {
      changed.set(id, { sinceMs: up ? at.nowMs : undefined, requiredMs: at.firstMs, hasFailed: false })
    } else if (up && stay.sinceMs === undefined) {
      changed.set(id, { ...stay, sinceMs: at.nowMs })
    } else if (!up && stay.sinceMs !== undefined) {
      changed.set(id, { sinceMs: undefined, ...after(stay, at) })
    }
  }
  const gone = [...stays.keys()].filter((id) => !view.members.has(id))
  if (changed.size === 0 && gone.length === 0) return stays
  return new Map([...stays, ...changed].filter(([id]) => !gone.includes(id)))
}

export function hasStayed(stays: Stays, node: NodeId, nowMs: number): boolean {
  const stay = stays.get(node)
  return stay?.sinceMs !== undefined && nowMs - stay.sinceMs >= stay.requiredMs
}

/** Doubles after a second short stay, starts afresh after one of ten times what was asked. */
function after(stay: Stay, at: { readonly nowMs: number; readonly firstMs: number }): Omit<Stay, 'sinceMs'> {
  const stayedMs = at.nowMs - (stay.sinceMs ?? at.nowMs)
  if (stayedMs >= 10 * stay.requiredMs) return { requiredMs: at.firstMs, hasFailed: false }
  return {
    requiredMs: stay.hasFailed ? Math.min(requiredMaxMs, stay.requiredMs * 2) : stay.requiredMs,
    hasFailed: true,
  }
}
