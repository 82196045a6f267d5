/** When only time, and no change of the view, gives the reconcile loop something to do. */
import { hasEnded } from '../live.ts'
import { placedUntil } from '../placement/place.ts'
import { isClaimable, turnOf } from './reconcile.ts'
import type { Now, Situation } from './steps.ts'

/** While a claim waits for a scope that is not caught up, nothing tells when it is. */
const scopeLookMs = 50

/** Ms from now; Infinity when nothing is due. */
export function dueInMs(situation: Situation, now: Now): number {
  const { view, placement, claimedAt, locals, times } = situation
  let dueMs = placedUntil(view, now.wallMs) - now.wallMs
  for (const [id, sinceMs] of claimedAt) {
    const state = view.tasks.get(id)?.value.state
    if (state === undefined || hasEnded(state) || state !== 'assigned' || locals.has(id)) continue
    const leftMs = sinceMs + times.settleMs - now.nowMs
    dueMs = Math.min(dueMs, leftMs > 0 ? leftMs : scopeLookMs)
  }
  for (const plans of placement.services.values()) {
    for (const plan of plans) {
      if (!isClaimable(plan, now.wallMs)) continue
      const leftMs = (turnOf(situation, plan, now)?.atMs ?? 0) - now.nowMs
      if (leftMs > 0) dueMs = Math.min(dueMs, leftMs)
    }
  }
  return Math.max(0, dueMs)
}
