/**
 * Which task this node offers to which other, so that nodes that joined or came back get their share (design.md 5).
 *
 * Only the node with the most offers, only to one that has stayed long enough, one task a service at a time, and only where it lowers
 * a difference of two or more: of the service's tasks, or of all tasks where the service's own spread does not suffer and its updates
 * are start-first. A pure reading: the offer is taken back when it no longer holds.
 */
import type { NodeId, TaskId } from '../../../protocol/ids.ts'
import type { View } from '../view.ts'
import { type Wanted, wanted } from '../wanted.ts'
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
  const load = holdersOf(view, [...placement.services.values()].flat())
  const fullest = [...load].sort(([a, n], [b, m]) => m - n || compareText(a, b))[0]?.[0]
  const stayed = [...placement.load.keys()].filter((id) => hasStayed(stays, id, nowMs))
  const found: Offer[] = []
  const forTotals: Offer[] = []
  for (const [service, plans] of placement.services) {
    const asked = view.services.get(service)
    if (asked === undefined || !isMovable(wanted(asked)) || !isSettled(view, plans)) continue
    const counts = holdersOf(view, plans)
    const [from] = [...counts.keys()].sort(
      (a, b) => count(counts, b) - count(counts, a) || count(load, b) - count(load, a) || compareText(a, b),
    )
    if (from !== view.self) continue
    const [to] = stayed
      .filter((id) => id !== from && mayTake(view, wanted(asked), id))
      .sort((a, b) => count(counts, a) - count(counts, b) || count(load, a) - count(load, b) || compareText(a, b))
    const task = to === undefined ? undefined : taskToMove(view, plans)
    if (task === undefined || to === undefined) continue
    const ofService = count(counts, from) - count(counts, to)
    const ofAll = count(load, from) - count(load, to)
    if (ofService >= 2) found.push({ task, to })
    else if (ofService === 1 && ofAll >= 2 && from === fullest && mayRunTwice(wanted(asked)))
      forTotals.push({ task, to })
  }
  // One move for the sake of the totals at a time, since each changes them for all services; the one under way first.
  const underWay = forTotals.find(({ task }) => view.tasks.get(task)?.value.moveTo !== undefined) ?? forTotals[0]
  return underWay === undefined ? found : [...found, underWay]
}

/** The task of this node that goes: one that is offered already, else that of the highest slot. */
function taskToMove(view: View, plans: readonly SlotPlan[]): TaskId | undefined {
  const own = plans.flatMap(({ task }) => (task === undefined ? [] : (view.tasks.get(task) ?? [])))
  const held = own.filter(({ value }) => value.node === view.self)
  return (held.find(({ value }) => value.moveTo !== undefined) ?? held.at(-1))?.id
}

/** A move runs a slot twice for a moment: never a service that is to run on one side of a partition only. */
function isMovable(asked: Wanted): boolean {
  return asked.replicas !== 'global' && asked.labels['grapevine.partition'] !== 'stop'
}

/** For the totals only those move whose owner said that two may run at once; a lone database is not moved for a number. */
function mayRunTwice(asked: Wanted): boolean {
  return asked.updateOrder === 'start-first'
}

/** Nothing of the service is on its way, but perhaps a move: then the offer behind it must stand. */
function isSettled(view: View, plans: readonly SlotPlan[]): boolean {
  return plans.every(({ task, leave, node, replaces }) => {
    if (task === undefined) return node === undefined
    const value = view.tasks.get(task)?.value
    return leave === undefined && value?.state === 'running' && (replaces === undefined || value.moveTo !== undefined)
  })
}

/** How many of these slots each node holds; what is only being given to a node does not count there yet. */
function holdersOf(view: View, plans: readonly SlotPlan[]): ReadonlyMap<NodeId, number> {
  const counts = new Map<NodeId, number>()
  for (const { task } of plans) {
    const node = task === undefined ? undefined : view.tasks.get(task)?.value.node
    if (node !== undefined) counts.set(node, (counts.get(node) ?? 0) + 1)
  }
  return counts
}

function mayTake(view: View, asked: Wanted, node: NodeId): boolean {
  const member = view.members.get(node)
  return member !== undefined && refusesNode(asked, member) === undefined
}

function count(counts: ReadonlyMap<NodeId, number>, node: NodeId): number {
  return counts.get(node) ?? 0
}
