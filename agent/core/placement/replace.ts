/**
 * Replacing tasks that run: in an update, when an address was lost to an earlier claim, when a node offers a task to another.
 *
 * Start-first claims the slot beside its holder (`replaces`), stop-first tells the holder to leave and lets the empty slot be given out.
 * A lost address and a move are start-first always; a port that only one task of a node can have makes it stop-first on that node.
 */
import type { NodeId } from '../../../protocol/ids.ts'
import { lostAddresses } from '../addresses/lost.ts'
import { isLostToUpdate, isVain } from '../update/lost.ts'
import { updateTurn } from '../update/turn.ts'
import { type Applicant, type Cluster, choose, seat } from './choose.ts'
import type { SlotPlan } from './place.ts'
import { restartGate } from './restart.ts'
import type { Task } from './slots.ts'

/** Third pass of place(): the plans of one service, with at most one more replacement begun. */
export function replaceOutdated(cluster: Cluster, who: Applicant, plans: readonly SlotPlan[]): readonly SlotPlan[] {
  const progress = plans.map((plan) => {
    const state = who.states.get(plan.slot)
    return {
      slot: plan.slot,
      outdated: plan.leave === undefined && isOutdated(cluster, who, state?.holder),
      holder: holderState(state?.holder),
      awaited:
        plan.leave !== undefined ||
        (plan.task === undefined &&
          (plan.node !== undefined || isLostToUpdate(state?.records ?? [], who.wanted.template))),
      takeover: state?.takeover !== undefined,
    }
  })
  const turn = updateTurn(progress)
  if (turn !== undefined) return plans.map((plan) => (plan.slot === turn ? replaceOne(cluster, who, plan) : plan))
  const settled = progress.every((p) => !p.outdated && !p.awaited && p.holder !== 'starting')
  const offered = settled ? plans.filter((plan) => offerOf(cluster, who, plan) !== undefined) : []
  const moving = offered.find(({ slot }) => who.states.get(slot)?.takeover !== undefined) ?? offered[0]
  if (moving === undefined) return plans
  const target = offerOf(cluster, who, moving) as NodeId
  return plans.map((plan) => (plan === moving ? (takeOver(cluster, who, plan, [target]) ?? plan) : plan))
}

/**
 * The plan with the holder replaced beside itself; while an earlier attempt still stops, or its restart delay runs, the holder simply
 * stays. Undefined when no node can take a task beside it.
 */
export function takeOver(
  cluster: Cluster,
  who: Applicant,
  plan: SlotPlan,
  among: readonly NodeId[] | undefined,
): SlotPlan | undefined {
  const state = who.states.get(plan.slot)
  const holder = state?.holder
  if (holder === undefined) return undefined
  const stays: SlotPlan = { ...plan, node: holder.value.node, leave: undefined, why: 'its replacement is awaited' }
  const { takeover } = state ?? {}
  if (takeover !== undefined && takeover.value.template === who.wanted.template) {
    return { ...stays, replaces: holder.id, takeover: takeover.id, node: takeover.value.node }
  }
  if (state?.stopping !== undefined) return stays
  const gate = restartGate(
    who.wanted,
    (state?.records ?? []).filter((r) => r !== holder),
    cluster.nowMs,
  )
  // Its policy starts no more tasks: the old one serves on, unless it has to go anyway.
  if (gate.is === 'closed') return plan.leave === undefined ? { ...stays, why: gate.why } : undefined
  const here = among === undefined ? choose(cluster, who, plan.slot, [holder.value.node]) : undefined
  const choice = here?.node === undefined ? choose(cluster, who, plan.slot, among) : here
  if (choice.node === undefined) return undefined
  seat(cluster, who, choice.node)
  const notBeforeMs = gate.is === 'later' ? gate.atMs : 0
  if (notBeforeMs > cluster.nowMs) cluster.untilMs = Math.min(cluster.untilMs, notBeforeMs)
  return { ...stays, node: choice.node, replaces: holder.id, notBeforeMs }
}

function replaceOne(cluster: Cluster, who: Applicant, plan: SlotPlan): SlotPlan {
  const state = who.states.get(plan.slot)
  const holder = state?.holder
  if (state === undefined || holder === undefined) return plan
  const outdated = holder.value.template !== who.wanted.template
  const beside =
    !outdated || who.wanted.updateOrder === 'start-first' ? takeOver(cluster, who, plan, undefined) : undefined
  const leave = outdated ? 'it is updated' : 'its address belongs to an earlier task'
  // Nowhere does a task of the present template come up: the old one serves on until one does.
  if (
    beside === undefined &&
    who.wanted.updateOrder === 'start-first' &&
    state.records.some(({ value }) => isVain(value, who.wanted.template))
  )
    return { ...plan, why: 'its replacement is awaited' }
  return beside ?? { ...plan, node: undefined, leave, why: leave }
}

function isOutdated(cluster: Cluster, who: Applicant, holder: Task | undefined): boolean {
  if (holder === undefined) return false
  return holder.value.template !== who.wanted.template || lostAddresses(cluster.view).has(holder.id)
}

function holderState(holder: Task | undefined): 'none' | 'starting' | 'running' {
  if (holder === undefined) return 'none'
  return holder.value.state === 'running' ? 'running' : 'starting'
}

/** The node that the holder is offered to, while it could take it. */
function offerOf(cluster: Cluster, who: Applicant, plan: SlotPlan): NodeId | undefined {
  const holder = who.states.get(plan.slot)?.holder
  const target = holder?.value.moveTo
  if (target === undefined || target === holder?.value.node || !cluster.index.has(target)) return undefined
  return target
}
