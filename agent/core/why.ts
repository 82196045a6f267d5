/**
 * Why each slot of a service is where it is, and why nowhere: for `vine why`, and the pending rows of `service ps`.
 *
 * Says what place() decided, in sentences; it decides nothing.
 */
import type { NodeId, ServiceId, Slot, TaskId } from '../../protocol/ids.ts'
import type { ServiceValue, TaskValue } from '../../protocol/model.ts'
import { hasEnded, nodeName, upMembers } from './live.ts'
import { compareCreation } from './placement/order.ts'
import { place, type SlotPlan } from './placement/place.ts'
import type { Stamped, View } from './view.ts'
import { wanted } from './wanted.ts'

export interface SlotReport {
  readonly slot: Slot
  /** Undefined: nobody holds it, or is to. */
  readonly node: NodeId | undefined
  readonly task: TaskId | undefined
  /** Why there, or why nowhere. */
  readonly sentence: string
}

/** In the order of slots. A service that is not placed at all has one report for each slot that it asks for. `nowMs`: wall. */
export function explain(view: View, service: Stamped<ServiceValue>, nowMs: number): readonly SlotReport[] {
  const placement = place(view, nowMs)
  const barred = placement.barred.get(service.id)
  if (barred !== undefined) return barredSlots(service, barred)
  return (placement.services.get(service.id) ?? []).map((plan) => ({
    slot: plan.slot,
    node: plan.node ?? holderOf(view, plan),
    task: plan.task,
    sentence: sentenceOf(view, service, plan, { nowMs, load: placement.load }),
  }))
}

/** 3 s: programs listen well before; after it people want to read what is missing. */
const lateMs = 3_000

/** What a task that is long in starting waits for; undefined: it is not. `nowMs`: wall. */
export function lateStart(service: Stamped<ServiceValue>, task: TaskValue, nowMs: number): string | undefined {
  return task.state === 'starting' && nowMs - task.stateMs >= lateMs ? awaited(service, task) : undefined
}

/** The order is that of loops/reconcile-ready.ts: a health check counts for more than ports. */
function awaited(service: Stamped<ServiceValue>, task: TaskValue): string {
  if (wanted(service).health !== undefined) return 'its health check has not passed yet'
  const ports = task.ports.filter(({ protocol }) => protocol === 'tcp')
  if (ports.length === 0) return 'its program has just begun'
  const named = ports.map(({ target, actual }, i) =>
    actual === target ? `${target} yet` : `${actual} yet ($PORT${i === 0 ? '' : `_${target}`}, for ${target})`,
  )
  return `nothing listens on port ${named.join(' or ')}`
}

/** Nodes on which a published port of the service does not listen, and why: `n2: port 8080 is bound by another program`. */
export function publishProblems(view: View, service: ServiceId): readonly string[] {
  return upMembers(view).flatMap(({ id, record }) =>
    (record.value.problems ?? [])
      .filter((p) => p.service === service)
      .map((p) => `${nodeName(view, id)}: ${p.sentence}`),
  )
}

function barredSlots(service: Stamped<ServiceValue>, sentence: string): readonly SlotReport[] {
  const { replicas } = wanted(service)
  const count = replicas === 'global' ? 1 : replicas
  return Array.from({ length: count }, (_, i) => ({ slot: String(i + 1), node: undefined, task: undefined, sentence }))
}

interface At {
  readonly nowMs: number
  readonly load: ReadonlyMap<NodeId, number>
}

function sentenceOf(view: View, service: Stamped<ServiceValue>, plan: SlotPlan, at: At): string {
  const { node, task } = plan
  const asked = wanted(service)
  const constraints = asked.constraints.length === 0 ? '' : `, which meets ${asked.constraints.join(', ')}`
  const tasks = node === undefined ? 0 : (at.load.get(node) ?? 0)
  const load = `with ${tasks} ${tasks === 1 ? 'task' : 'tasks'} in all`
  if (task !== undefined) {
    const holder = nodeName(view, holderOf(view, plan) ?? '')
    if (plan.leave !== undefined) return `it leaves ${holder}: ${plan.leave}`
    if (plan.replaces !== undefined && node !== undefined)
      return `a new task starts on ${nodeName(view, node)} before that on ${holder} stops`
    const held = view.tasks.get(task)?.value
    if (held?.state === 'assigned') return `${holder} claimed it, ${load}${constraints}`
    if (held?.state === 'starting') return `it starts on ${holder}: ${awaited(service, held)}`
    return `it runs on ${holder}, ${load}${constraints}, and a running slot stays where it is`
  }
  if (node === undefined) return plan.why
  const name = nodeName(view, node)
  const waitMs = plan.notBeforeMs - at.nowMs
  if (waitMs > 0) {
    const last = lastTask(view, service, plan.slot)
    // Its end comes sooner than the time by which it counts as lost.
    if (last?.stopping === true && !hasEnded(last.state))
      return `it starts on ${name} when the task before it has stopped`
    const when = `on ${name} in ${Math.ceil(waitMs / 1000)} s`
    // What people want to read while a restart delay runs.
    if (last?.state === 'failed' && last.error !== undefined) return `${last.error}; it starts again ${when}`
    return `it starts ${when}: ${plan.why}`
  }
  if (asked.replicas === 'global') return `${name} is to claim it: a global service runs on every node that fits`
  return `${name} is to claim it: of ${plan.eligible.length} nodes that fit it has the fewest tasks${constraints}`
}

function lastTask(view: View, service: Stamped<ServiceValue>, slot: Slot): TaskValue | undefined {
  const records = view.slotsOf(service.id).get(slot) ?? []
  return records.toSorted((a, b) => compareCreation(b, a))[0]?.value
}

function holderOf(view: View, plan: SlotPlan): NodeId | undefined {
  return plan.task === undefined ? undefined : view.tasks.get(plan.task)?.value.node
}
