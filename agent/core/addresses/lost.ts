/**
 * Which live tasks hold an address that another live task claimed first.
 *
 * Two sides of a partition may claim one address; the earlier creation keeps it and the other task is replaced start-first (design.md 6).
 */
import type { TaskId } from '../../../protocol/ids.ts'
import { isLiveTask } from '../live.ts'
import { perRevision } from '../per-revision.ts'
import { compareCreation } from '../placement/order.ts'
import type { Task } from '../placement/slots.ts'

export const lostAddresses = perRevision((view): ReadonlySet<TaskId> => {
  const holders = new Map<string, Task>()
  const lost = new Set<TaskId>()
  for (const task of view.tasks.values()) {
    if (task.value.addresses.length === 0 || !isLiveTask(task.value, view)) continue
    for (const { network, address } of task.value.addresses) {
      const key = `${network} ${address}`
      const other = holders.get(key)
      const first = other === undefined || compareCreation(task, other) < 0 ? task : other
      if (other !== undefined) lost.add(first === task ? other.id : task.id)
      holders.set(key, first)
    }
  }
  return lost
})
