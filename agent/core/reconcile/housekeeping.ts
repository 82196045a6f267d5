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
import { wanted } from '../wanted.ts'
import { type Situation, type Step, slotKey } from './steps.ts'

export function housekeeping(situation: Situation, own: readonly Task[]): readonly Step[] {
  const stale = own.filter((task) => hasEnded(task.value.state) && isStale(situation, task))
  const steps: Step[] = stale.map(({ id }) => ({ do: 'forget', task: id }))
  const { view } = situation
  if (upMembers(view)[0]?.id !== view.self) return steps
  for (const service of lostVips(view).keys()) steps.push({ do: 'rewriteVip', service })
  return steps
}

function isStale(situation: Situation, { id, value }: Task): boolean {
  const { view, placement } = situation
  const service = view.services.get(value.service)
  if (service === undefined) return true
  const plans = placement.services.get(value.service)
  const asked = wanted(service)
  if (plans === undefined) return false
  if (asked.replicas !== 'global' && !plans.some(({ slot }) => slot === value.slot)) return true
  const newer = slotHistory(situation, value.service, value.slot).indexOf(id)
  return newer >= historyKept(asked)
}

/** Ended tasks of a slot, newest first. */
function slotHistory({ view }: Situation, service: string, slot: string): readonly string[] {
  const key = slotKey(service, slot)
  const ended = [...(view.tasksByService.get(service) ?? [])]
    .flatMap((id) => view.tasks.get(id) ?? [])
    .filter(({ value }) => slotKey(service, value.slot) === key && hasEnded(value.state))
  return ended.sort((a, b) => compareCreation(b, a)).map(({ id }) => id)
}
