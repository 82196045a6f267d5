/**
 * Which task this node offers to which other, so that nodes that joined or came back get their share (design.md 5).
 *
 * Only the node with the most offers, only to one that has stayed long enough, one task a service at a time, and only where it lowers
 * a difference of two or more: of the service's tasks first, else of all tasks when the service's own spread does not suffer. A pure
 * reading: the offer is taken back when it no longer holds.
 */
import type { NodeId, ServiceId, TaskId } from '../../../protocol/ids.ts'
import type { View } from '../view.ts'
import { wanted } from '../wanted.ts'
import { refusesNode } from './eligible.ts'
import { compareText } from './order.ts'
import type { Placement, SlotPlan } from './place.ts'
import { hasStayed, type Stays } from './stays.ts'

export interface Offer {
  readonly task: TaskId
  readonly to: NodeId
}

/** The offers that stand for this node's tasks. */
export function offers(view: View, placement: Placement, stays: Stays, nowMs: number): readonly Offer[] {
  const found: Offer[] = []
  // One move for the sake of the totals at a time: the counts of all services change with each.
  let forTotals = false
  for (const [service, plans] of placement.services) {
    const asked = view.services.get(service)
    if (asked === undefined || wanted(asked).replicas === 'global' || !isSettled(view, plans)) continue
    const counts = countsOf(view, plans)
    const targets = [...placement.load.keys()]
      .filter((id) => hasStayed(stays, id, nowMs) && mayTake(view, service, id))
      .sort(
        (a, b) => count(counts, a) - count(counts, b) || load(placement, a) - load(placement, b) || compareText(a, b),
      )
    const sources = [...counts.keys()].sort(
      (a, b) => count(counts, b) - count(counts, a) || load(placement, b) - load(placement, a) || compareText(a, b),
    )
    const [from, to] = [sources[0], targets[0]]
    if (from !== view.self || to === undefined || to === from) continue
    const ofService = count(counts, from) - count(counts, to)
    const ofAll = load(placement, from) - load(placement, to)
    const moves = ofService >= 2 || (ofService === 1 && ofAll >= 2 && !forTotals)
    if (!moves) continue
    if (ofService < 2) forTotals = true
    const held = plans.filter((plan) => plan.task !== undefined && view.tasks.get(plan.task)?.value.node === from)
    const kept = held.find((plan) => plan.task !== undefined && view.tasks.get(plan.task)?.value.moveTo !== undefined)
    const task = (kept ?? held.at(-1))?.task
    if (task !== undefined) found.push({ task, to })
  }
  return found
}

/** Nothing of the service is on its way, but perhaps a move: then the offer behind it must stand. */
function isSettled(view: View, plans: readonly SlotPlan[]): boolean {
  return plans.every(({ task, leave, node, replaces }) => {
    if (task === undefined) return node === undefined
    const value = view.tasks.get(task)?.value
    return leave === undefined && value?.state === 'running' && (replaces === undefined || value.moveTo !== undefined)
  })
}

/** Nodes with a slot of the service, and how many. */
function countsOf(view: View, plans: readonly SlotPlan[]): ReadonlyMap<NodeId, number> {
  const counts = new Map<NodeId, number>()
  for (const { task } of plans) {
    const node = task === undefined ? undefined : view.tasks.get(task)?.value.node
    if (node !== undefined) counts.set(node, (counts.get(node) ?? 0) + 1)
  }
  return counts
}

function mayTake(view: View, service: ServiceId, node: NodeId): boolean {
  const member = view.members.get(node)
  const asked = view.services.get(service)
  return member !== undefined && asked !== undefined && refusesNode(wanted(asked), member) === undefined
}

function count(counts: ReadonlyMap<NodeId, number>, node: NodeId): number {
  return counts.get(node) ?? 0
}

function load(placement: Placement, node: NodeId): number {
  return placement.load.get(node) ?? 0
}
