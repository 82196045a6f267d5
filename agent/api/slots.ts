/** The slots of a service as the API shows them: what `place` decided, and for a service that is not placed at all, why not. */
import type { NodeId, Slot, TaskId } from '../../protocol/ids.ts'
import type { ServiceValue } from '../../protocol/model.ts'
import { place } from '../core/placement/place.ts'
import type { Stamped, View } from '../core/view.ts'
import { wanted } from '../core/wanted.ts'

export interface SlotReport {
  readonly slot: Slot
  /** Where it runs, or is to be claimed. */
  readonly node: NodeId | undefined
  /** Undefined: nobody holds it, and Docker's tools are shown a pending task. */
  readonly task: TaskId | undefined
  /** A task that is to take over from the holder. */
  readonly takeover: TaskId | undefined
  /** The holder is to stop. */
  readonly leaving: boolean
  /** Why there, or why nowhere. */
  readonly sentence: string
}

/** In the order of slots. `nowMs`: wall ms. */
export function slotReports(view: View, service: Stamped<ServiceValue>, nowMs: number): readonly SlotReport[] {
  const placement = place(view, nowMs)
  const plans = placement.services.get(service.id)
  if (plans !== undefined) {
    return plans.map(({ slot, node, task, takeover, leave, why }) => {
      return { slot, node, task, takeover, leaving: leave !== undefined, sentence: why }
    })
  }
  const sentence = placement.barred.get(service.id) ?? 'it is not placed yet'
  const { replicas } = wanted(service)
  const slots = replicas === 'global' ? [] : Array.from({ length: replicas }, (_, i) => String(i + 1))
  return slots.map((slot) => ({
    slot,
    node: undefined,
    task: undefined,
    takeover: undefined,
    leaving: false,
    sentence,
  }))
}
