/**
 * Records that have served: history beyond what is kept, tasks of services and nodes that are gone, a VIP lost to an earlier claim.
 *
 * Each node clears its own records and no other's: a delete by a stranger counts for nothing (protocol/record.ts), what a removed node left is
 * void, and what a dead one left stays hidden. A lost VIP is rewritten by the up member with the lowest id; twice would do no harm.
 */
import { lostVips } from '../addresses/vip.ts'
import { hasEnded, upMembers } from '../live.ts'
import { compareCreation } from '../placement/order.ts'
import { historyKept } from '../placement/restart.ts'
import type { Task } from '../placement/slots.ts'
import type { View } from '../view.ts'
import { wanted } from '../wanted.ts'
import type { Situation, Step } from './steps.ts'

export function housekeeping(situation: Situation, own: readonly Task[]): readonly Step[] {
  const stale = own.filter((task) => hasEnded(task.value.state) && isStale(situation, task))
  const steps: Step[] = stale.map(({ id }) => ({ do: 'forget', task: id }))
  const { view } = situation
  if (upMembers(view)[0]?.id !== view.self) return steps
  for (const service of lostVips(view).keys()) steps.push({ do: 'rewriteVip', service })
  return steps
}

function isStale({ view, placement }: Situation, task: Task): boolean {
  const { value } = task
  const service = view.services.get(value.service)
  if (service === undefined) return true
  const plans = placement.services.get(value.service)
  const asked = wanted(service)
  if (plans === undefined) return false
  if (asked.replicas !== 'global' && !plans.some(({ slot }) => slot === value.slot)) return true
  return newerHistory(view, task) >= historyKept(asked)
}

/** How many ended tasks of its slot came after this one. */
function newerHistory(view: View, task: Task): number {
  const records = view.slotsOf(task.value.service).get(task.value.slot) ?? []
  return records.filter((other) => hasEnded(other.value.state) && compareCreation(other, task) > 0).length
}
