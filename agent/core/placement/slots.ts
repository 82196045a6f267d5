/**
 * What stands in each slot of a service now, and which slots it should have.
 *
 * A slot has at most one holder. Others that live in it are a takeover (started to replace the holder, design.md 5), tasks that stop,
 * or duplicates, which yield to the holder. Slot numbers outlive tasks; after a scale-down the numbers left need not be 1..replicas.
 */
import type { NodeId, ServiceId, Slot, TaskId } from '../../../protocol/ids.ts'
import type { TaskValue } from '../../../protocol/model.ts'
import { isLiveTask, liveBoots } from '../live.ts'
import type { Stamped, View } from '../view.ts'
import { compareCreation, compareDuplicates, compareSlots } from './order.ts'

export type Task = Stamped<TaskValue>

export interface SlotState {
  readonly slot: Slot
  /** All records of the slot, live and ended. */
  readonly records: readonly Task[]
  /** Those that failed or were rejected: what may count against a node. */
  readonly failures: readonly Task[]
  readonly holder: Task | undefined
  /** Started, or claimed, to replace the holder; not running yet. */
  readonly takeover: Task | undefined
  /** A live task that is being stopped. */
  readonly stopping: Task | undefined
}

/** All records of tasks of a service, live and ended, in no order. */
export function tasksOf(view: View, service: ServiceId): readonly Task[] {
  return [...view.slotsOf(service).values()].flat()
}

/** The slots of a service that have any record. What stands in a slot is worked out again when one of its records, or a boot id, changes. */
export function slotStates(view: View, service: ServiceId): ReadonlyMap<Slot, SlotState> {
  const boots = liveBoots(view)
  const states = new Map<Slot, SlotState>()
  for (const [slot, records] of view.slotsOf(service)) {
    const known = cache.get(records)
    const state = known?.boots === boots ? known.state : stateOf(slot, records, view)
    if (state !== known?.state) cache.set(records, { boots, state })
    states.set(slot, state)
  }
  return states
}

const cache = new WeakMap<readonly Task[], { readonly boots: ReadonlyMap<NodeId, string>; readonly state: SlotState }>()

/**
 * Which slots a replicated service has. With more in use than wanted, Swarm's rule (orchestrator/replicated/services.go): take from
 * the nodes with most copies, and there what does not run before what runs; the rest is untouched. With fewer, the slots whose last
 * task did not end on purpose come first, then the lowest free numbers.
 */
export function desiredSlots(replicas: number, states: ReadonlyMap<Slot, SlotState>): readonly Slot[] {
  const held = [...states.values()].filter((s) => s.holder !== undefined)
  if (held.length > replicas) return keep(held, replicas)
  const slots = new Set(held.map((s) => s.slot))
  const unsettled = [...states.values()].filter((s) => !slots.has(s.slot) && isUnsettled(s)).map((s) => s.slot)
  for (const slot of unsettled.sort(compareSlots)) if (slots.size < replicas) slots.add(slot)
  for (let number = 1; slots.size < replicas; number++) slots.add(String(number))
  return [...slots].sort(compareSlots)
}

function stateOf(slot: Slot, records: readonly Task[], view: View): SlotState {
  const live = records.filter(({ value }) => isLiveTask(value, view)).sort(compareDuplicates)
  const failures = records.filter(({ value }) => value.state === 'failed' || value.state === 'rejected')
  const [only] = live
  if (live.length < 2) {
    const state = { slot, records, failures, takeover: undefined }
    return only?.value.stopping === true
      ? { ...state, holder: undefined, stopping: only }
      : { ...state, holder: only, stopping: undefined }
  }
  const active = live.filter(({ value }) => value.stopping !== true)
  const ids = new Set<TaskId>(active.map(({ id }) => id))
  const replaced = new Set(active.filter(isRunning).map(({ value }) => value.replaces))
  const waiting = active.filter((t) => !isRunning(t) && t.value.replaces !== undefined && ids.has(t.value.replaces))
  const holder = active.find((t) => !replaced.has(t.id) && !waiting.includes(t))
  return {
    slot,
    records,
    failures,
    holder,
    takeover: waiting.find(({ value }) => value.replaces === holder?.id),
    stopping: live.find(({ value }) => value.stopping === true),
  }
}

function isRunning(task: Task): boolean {
  return task.value.state === 'running'
}

/**
 * Invariant: the kept set does not change while the others go, since a slot's place among the copies of its node counts only slots
 * that come before it, and those are kept with it.
 */
function keep(held: readonly SlotState[], replicas: number): readonly Slot[] {
  const first = (a: SlotState, b: SlotState) =>
    Number(!isRunning(a.holder as Task)) - Number(!isRunning(b.holder as Task)) || compareSlots(a.slot, b.slot)
  const copies = new Map<string, number>()
  const ranked = [...held].sort(first).map((state) => {
    const node = (state.holder as Task).value.node
    const before = copies.get(node) ?? 0
    copies.set(node, before + 1)
    return { state, before }
  })
  const kept = ranked.sort((a, b) => a.before - b.before || first(a.state, b.state)).slice(0, replicas)
  return kept.map(({ state }) => state.slot).sort(compareSlots)
}

/** The newest task of the slot did not end on purpose: it failed, or its node is gone, or it is just being replaced. */
function isUnsettled(state: SlotState): boolean {
  const last = state.records.reduce<Task | undefined>(
    (l, r) => (l === undefined || compareCreation(l, r) < 0 ? r : l),
    undefined,
  )
  return last !== undefined && last.value.state !== 'shutdown' && last.value.state !== 'remove'
}
