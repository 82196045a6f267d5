/** The slots of a service as the API shows them: the sentences of `explain`, and what `place` wants of the tasks in them. */
import type { TaskId } from '../../protocol/ids.ts'
import type { ServiceValue } from '../../protocol/model.ts'
import { place } from '../core/placement/place.ts'
import { hasFinished } from '../core/placement/restart.ts'
import type { Stamped, View } from '../core/view.ts'
import { wanted } from '../core/wanted.ts'
import { explain, lateStart, type SlotReport } from '../core/why.ts'

/** What clients of /grapevine/why get. */
export type { SlotReport }

export interface SlotView extends SlotReport {
  /** A task that is to take over from the holder. */
  readonly takeover: TaskId | undefined
  /** The holder is to stop. */
  readonly leaving: boolean
  /** What its task, long in starting, waits for. */
  readonly late: string | undefined
  /** Nothing runs in it, and nothing is to: its program came to a good end. */
  readonly finished: boolean
}

/** In the order of slots. `nowMs`: wall ms. */
export function slotViews(view: View, service: Stamped<ServiceValue>, nowMs: number): readonly SlotView[] {
  const plans = new Map(
    place(view, nowMs)
      .services.get(service.id)
      ?.map((plan) => [plan.slot, plan]),
  )
  const records = view.slotsOf(service.id)
  return explain(view, service, nowMs).map((report) => {
    const own = records.get(report.slot) ?? []
    const finished = report.task === undefined && hasFinished(wanted(service), own, nowMs)
    const plan = plans.get(report.slot)
    const task = view.tasks.get(report.task ?? '')?.value
    const late = task === undefined ? undefined : lateStart(service, task, nowMs)
    return { ...report, takeover: plan?.takeover, leaving: plan?.leave !== undefined, late, finished }
  })
}
