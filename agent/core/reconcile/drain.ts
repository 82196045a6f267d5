/** Which networks carry traffic to a task: those with an endpoint of it that is, or was until now, ready. */
import type { NetworkId, TaskId } from '../../../protocol/ids.ts'
import type { View } from '../view.ts'

/** Sorted. Empty when nobody can be routing to it, and so nobody need be asked. */
export function networksRouting(view: View, task: TaskId): readonly NetworkId[] {
  return [...view.endpoints]
    .filter(([, endpoints]) => endpoints.get(task)?.value.ready === true)
    .map(([network]) => network)
    .sort()
}
