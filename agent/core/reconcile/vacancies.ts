/** Since when each slot could have been claimed and was not: what the turn of the k-th eligible node counts from (design.md 5). */
import type { Placement } from '../placement/place.ts'
import { isClaimable } from './reconcile.ts'
import { type Now, slotKey } from './steps.ts'

/** The next state of that memory: a slot that is claimed, or may not be claimed yet, is forgotten. */
export function noteVacancies(
  since: ReadonlyMap<string, number>,
  placement: Placement,
  now: Now,
): ReadonlyMap<string, number> {
  const next = new Map<string, number>()
  for (const plans of placement.services.values()) {
    for (const plan of plans) {
      if (!isClaimable(plan, now.wallMs)) continue
      const key = slotKey(plan.service, plan.slot)
      next.set(key, since.get(key) ?? now.nowMs)
    }
  }
  return next
}
