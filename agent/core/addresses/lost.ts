/**
 * Which live tasks and guests hold an address that another claimed first.
 *
 * Two sides of a partition may claim one address; the earlier creation keeps it. The other task is replaced start-first, the other guest is given another
 * address (design.md 6).
 */
import type { Version } from '../../../protocol/hlc.ts'
import type { GuestId, NetworkId, TaskId } from '../../../protocol/ids.ts'
import { isLiveGuest, isLiveTask } from '../live.ts'
import { perRevision } from '../per-revision.ts'
import { compareCreation } from '../placement/order.ts'
import type { Stamped, View } from '../view.ts'

export const lostAddresses = perRevision((view): ReadonlySet<TaskId | GuestId> => {
  const holders = new Map<string, Claimant>()
  const lost = new Set<TaskId | GuestId>()
  for (const [claimant, { network, address }] of claims(view)) {
    const key = `${network} ${address}`
    const other = holders.get(key)
    const first = other === undefined || compareCreation(claimant, other) < 0 ? claimant : other
    if (other !== undefined) lost.add(first === claimant ? other.id : claimant.id)
    holders.set(key, first)
  }
  return lost
})

type Claimant = Stamped<{ readonly created: Version }>

function* claims(
  view: View,
): Generator<readonly [Claimant, { readonly network: NetworkId; readonly address: string }]> {
  for (const task of view.tasks.values()) {
    if (task.value.addresses.length === 0 || !isLiveTask(task.value, view)) continue
    for (const claim of task.value.addresses) yield [task, claim]
  }
  for (const guest of view.guests.values()) {
    const { value } = guest
    if (isLiveGuest(value, view)) yield [guest, { network: value.network, address: value.address }]
  }
}
