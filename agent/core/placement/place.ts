/**
 * Decides which node runs each slot of each service.
 *
 * Every node runs this over its own view and nobody votes, so equal views must give equal answers: the result depends on the arguments
 * only, never on the order of a map or on who asks. A slot stays where it runs while that node may hold it, because moving a healthy
 * task costs its clients more than an uneven spread does (design.md 5; swarm-reference.md 2.4). Three passes over the services in
 * creation order: what stays takes its room first, then empty slots are given out, then outdated holders are replaced in turn.
 */
import type { NodeId, ServiceId, Slot, TaskId } from '../../../protocol/ids.ts'
import { conflicts } from '../conflicts.ts'
import type { Member, View } from '../view.ts'
import { type Wanted, wanted } from '../wanted.ts'
import { type Applicant, applicant, type Cluster, choose, clusterOf, seat, slotHashOf } from './choose.ts'
import { hasResources, refusesKind, refusesNode } from './eligible.ts'
import { hash32, score } from './hash.ts'
import { compareCreation } from './order.ts'
import { barredHere } from './partition.ts'
import { replaceOutdated, takeOver } from './replace.ts'
import { restartGate } from './restart.ts'
import { desiredSlots, type SlotState, slotStates } from './slots.ts'

export interface Placement {
  /** In creation order of the services; slots in their order. A service that is not placed is not here. */
  readonly services: ReadonlyMap<ServiceId, readonly SlotPlan[]>
  /** Why a whole service is not placed. */
  readonly barred: ReadonlyMap<ServiceId, string>
  /** Slots held or given, by node that is up. */
  readonly load: ReadonlyMap<NodeId, number>
}

export interface SlotPlan {
  readonly service: ServiceId
  readonly slot: Slot
  /** The live task that holds the slot now; others in it yield. */
  readonly task: TaskId | undefined
  /** Where the slot is to run: the holder's node, or the node that should claim it; undefined: nowhere now, and `why` says why. */
  readonly node: NodeId | undefined
  /** `node` claims the slot beside this task, which drains once the new one is healthy (start-first). */
  readonly replaces: TaskId | undefined
  /** The live claim or task that does so. */
  readonly takeover: TaskId | undefined
  /** The holder must stop now, for this reason; the slot is given out anew when it has ended. */
  readonly leave: string | undefined
  /** Of a slot to be claimed: not before this wall ms (restart delay, the end of the task before). */
  readonly notBeforeMs: number
  /** Of an empty slot: all nodes that may claim it, by id. */
  readonly eligible: readonly NodeId[]
  /** A sentence: why here, or why nowhere. */
  readonly why: string
}

/** `nowMs`: wall ms since 1970, since delays and rejections are stated in records. Computed once per revision while time changes nothing. */
export function place(view: View, nowMs: number): Placement {
  const known = cache.get(view)
  if (known !== undefined && known.revision === view.revision && nowMs >= known.fromMs && nowMs < known.untilMs) {
    return known.placement
  }
  const made = compute(view, nowMs)
  cache.set(view, { revision: view.revision, fromMs: nowMs, ...made })
  return made.placement
}

interface Made {
  readonly placement: Placement
  readonly untilMs: number
}

const cache = new WeakMap<View, Made & { readonly revision: number; readonly fromMs: number }>()

/** When the answer of `place` may change although the view does not, wall ms. */
export function placedUntil(view: View, nowMs: number): number {
  place(view, nowMs)
  return cache.get(view)?.untilMs ?? Number.POSITIVE_INFINITY
}

/**
 * Place of a node among those that may claim an empty slot: 0 claims at once, k after k claim steps, when those before it did not.
 * -1: it may not.
 */
export function claimOrder(plan: SlotPlan, node: NodeId): number {
  if (plan.node === node) return 0
  if (plan.node === undefined || !plan.eligible.includes(node)) return -1
  const slotHash = slotHashOf(plan.service, plan.slot)
  const own = score(slotHash, hash32(node))
  const before = plan.eligible.filter((other) => {
    if (other === node || other === plan.node) return false
    const theirs = score(slotHash, hash32(other))
    return theirs > own || (theirs === own && other < node)
  })
  return 1 + before.length
}

function compute(view: View, nowMs: number): Made {
  const cluster = clusterOf(view, nowMs)
  const barred = new Map<ServiceId, string>()
  const applicants: Applicant[] = []
  const inConflict = conflicts(view)
  for (const service of [...view.services.values()].sort(compareCreation)) {
    const asked = wanted(service)
    const why = inConflict.get(service.id) ?? brokenNetwork(asked, view, inConflict) ?? barredHere(asked, cluster.side)
    if (why !== undefined) barred.set(service.id, why)
    else applicants.push(apply(cluster, asked))
  }
  const kept = applicants.map((who) => ({ who, plans: slotsOf(cluster, who).map((slot) => keep(cluster, who, slot)) }))
  const filled = kept.map(({ who, plans }) => ({ who, plans: plans.map((plan) => giveOut(cluster, who, plan)) }))
  const services = new Map(
    filled.map(({ who, plans }) => [who.wanted.id, replaceOutdated(cluster, who, plans)] as const),
  )
  const load = new Map(cluster.members.map(({ id }, i) => [id, cluster.rooms[i]?.tasks ?? 0]))
  return { placement: { services, barred, load }, untilMs: cluster.untilMs }
}

function brokenNetwork(asked: Wanted, view: View, inConflict: ReadonlyMap<string, string>): string | undefined {
  for (const { network } of asked.networks) {
    const record = view.networks.get(network)
    if (record === undefined) return `network ${network} does not exist`
    const why = inConflict.get(network)
    if (why !== undefined) return `its network is in conflict: ${why}`
  }
  return undefined
}

function apply(cluster: Cluster, asked: Wanted): Applicant {
  return applicant(cluster, asked, slotStates(cluster.view, asked.id))
}

function slotsOf(cluster: Cluster, who: Applicant): readonly Slot[] {
  if (who.wanted.replicas !== 'global') return desiredSlots(who.wanted.replicas, who.states)
  return cluster.members.filter((member) => mayRunGlobal(who, member)).map(({ id }) => id)
}

/** A paused node keeps its task of a global service and gets no new one. */
function mayRunGlobal(who: Applicant, member: Member): boolean {
  const held = who.states.get(member.id)?.holder !== undefined
  return held ? mustGo(who.wanted, member) === undefined : refusesNode(who.wanted, member) === undefined
}

/** First pass: a holder that may stay takes its room. */
function keep(cluster: Cluster, who: Applicant, slot: Slot): SlotPlan {
  const plan = emptyPlan(who, slot)
  const holder = who.states.get(slot)?.holder
  if (holder === undefined) return plan
  const room = cluster.rooms[cluster.index.get(holder.value.node) ?? -1]
  if (room === undefined) return plan
  const fits = hasResources(who.wanted, room)
  const leave = mustGo(who.wanted, room.member) ?? (fits ? undefined : 'its node has too few resources for it')
  if (leave !== undefined) return { ...plan, task: holder.id, leave, why: leave }
  seat(cluster, who, holder.value.node)
  return { ...plan, task: holder.id, node: holder.value.node, why: 'it runs there' }
}

/** Why a running task may not stay on its node. A paused node keeps what it has. */
function mustGo(asked: Wanted, member: Member): string | undefined {
  if (member.node.spec.Availability === 'drain') return 'its node is drained'
  if (member.record.value.presence === 'left') return 'its node leaves'
  return refusesKind(asked, member) === undefined ? undefined : 'its node no longer meets the constraints'
}

/** Second pass: empty slots, and start-first replacements of holders that must go. */
function giveOut(cluster: Cluster, who: Applicant, plan: SlotPlan): SlotPlan {
  if (plan.task !== undefined) {
    const beside = plan.leave !== undefined && who.wanted.updateOrder === 'start-first'
    return beside ? (takeOver(cluster, who, plan, undefined) ?? plan) : plan
  }
  const state = who.states.get(plan.slot)
  const gate = restartGate(who.wanted, state?.records ?? [], cluster.nowMs)
  if (gate.is === 'closed') return { ...plan, why: gate.why }
  const choice = choose(cluster, who, plan.slot, who.wanted.replicas === 'global' ? [plan.slot] : undefined)
  if (choice.node === undefined) return { ...plan, why: choice.why }
  seat(cluster, who, choice.node)
  const stopping = stoppingUntil(state)
  const notBeforeMs = Math.max(gate.is === 'later' ? gate.atMs : 0, stopping)
  if (notBeforeMs > cluster.nowMs) cluster.untilMs = Math.min(cluster.untilMs, notBeforeMs)
  const why = gate.is === 'later' ? 'its restart delay runs' : stopping === 0 ? choice.why : 'the task before it stops'
  return { ...plan, node: choice.node, notBeforeMs, eligible: choice.eligible, why }
}

/** One minute: as long as Swarm waits for the task before to stop (swarmkit defaultOldTaskTimeout). */
const oldTaskWaitMs = 60_000

/** A task that is being stopped keeps its slot closed for so long; its end opens the slot at once. */
function stoppingUntil(state: SlotState | undefined): number {
  return state?.stopping === undefined ? 0 : state.stopping.value.stateMs + oldTaskWaitMs
}

function emptyPlan(who: Applicant, slot: Slot): SlotPlan {
  return {
    service: who.wanted.id,
    slot,
    task: undefined,
    node: undefined,
    replaces: undefined,
    takeover: undefined,
    leave: undefined,
    notBeforeMs: 0,
    eligible: [],
    why: '',
  }
}
