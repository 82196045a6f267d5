/**
 * The best node for one more slot, and the room that slots already given take.
 *
 * Order (swarm-reference.md 2.4): nodes on which this template keeps failing last, then the emptier branch of the spread tree, fewest
 * slots of the service, fewest slots in all, highest rendezvous score. Integers only. Spread preferences come before the counts, as in
 * Swarm's decision tree: after them they would never be asked where branches have different numbers of nodes.
 */
import type { NodeId, ServiceId, Slot } from '../../../protocol/ids.ts'
import { isUp } from '../live.ts'
import type { Member, View } from '../view.ts'
import type { Wanted } from '../wanted.ts'
import {
  emptyRoom,
  hasResources,
  noSuitableNode,
  occupy,
  type Refusal,
  type Rejections,
  type Room,
  refusesMore,
  refusesNode,
  rejections,
} from './eligible.ts'
import { hash32, score } from './hash.ts'
import { compareText } from './order.ts'
import { type Side, sideOf } from './partition.ts'
import type { SlotState } from './slots.ts'
import { Spread } from './spread.ts'

/** Swarm's fault memory: so many failures of one template on one node within so long put the node last. */
const failuresMax = 5
const failuresWindowMs = 5 * 60_000

/** Working state of one computation of place(). */
export interface Cluster {
  readonly view: View
  readonly nowMs: number
  /** Up, in the order of their ids: a node's index everywhere below. */
  readonly members: readonly Member[]
  readonly index: ReadonlyMap<NodeId, number>
  readonly hashes: readonly number[]
  readonly rooms: readonly Room[]
  readonly side: Side
  /** Earliest wall ms at which the answer may change without a change of the view. */
  untilMs: number
}

/** Working state of one service in it. */
export interface Applicant {
  readonly wanted: Wanted
  readonly states: ReadonlyMap<Slot, SlotState>
  /** Slots on each node so far, by node index. */
  readonly copies: Int32Array
  readonly spread: Spread
  readonly judge: () => Judgement
}

/** What is the same for all slots of a service; worked out when the first slot asks. */
interface Judgement {
  readonly refusals: readonly (Refusal | undefined)[]
  readonly failing: readonly boolean[]
  readonly rejected: Rejections
}

export interface Choice {
  readonly node: NodeId | undefined
  /** All nodes that could hold the slot, by id. */
  readonly eligible: readonly NodeId[]
  readonly why: string
}

export function clusterOf(view: View, nowMs: number): Cluster {
  const members = [...view.members.values()].filter(isUp).sort((a, b) => compareText(a.id, b.id))
  return {
    view,
    nowMs,
    members,
    index: new Map(members.map(({ id }, i) => [id, i])),
    hashes: members.map(({ id }) => hash32(id)),
    rooms: members.map(emptyRoom),
    side: sideOf(view),
    untilMs: Number.POSITIVE_INFINITY,
  }
}

export function applicant(cluster: Cluster, wanted: Wanted, states: Applicant['states']): Applicant {
  let judgement: Judgement | undefined
  const judge = () => {
    judgement ??= judgementOf(cluster, wanted, states)
    return judgement
  }
  const spread = new Spread(wanted.spreadOver, cluster.members)
  return { wanted, states, copies: new Int32Array(cluster.members.length), spread, judge }
}

/** Gives one slot of the service to a node that is up. */
export function seat(cluster: Cluster, who: Applicant, node: NodeId): void {
  const i = cluster.index.get(node)
  const room = i === undefined ? undefined : cluster.rooms[i]
  if (i === undefined || room === undefined) return
  occupy(room, who.wanted)
  who.copies[i] = (who.copies[i] ?? 0) + 1
  who.spread.add(i)
}

/** `among`: only these nodes are considered (a global service's own node, the target of a move). */
export function choose(cluster: Cluster, who: Applicant, slot: Slot, among?: readonly NodeId[]): Choice {
  const { rejected } = who.judge()
  const slotHash = slotHashOf(who.wanted.id, slot)
  const counts = new Map<Refusal, number>()
  const eligible: NodeId[] = []
  let best: number | undefined
  for (let i = 0; i < cluster.members.length; i++) {
    const id = (cluster.members[i] as Member).id
    if (among !== undefined && !among.includes(id)) continue
    const refusal = refuses(cluster, who, i)
    if (refusal !== undefined) {
      counts.set(refusal, (counts.get(refusal) ?? 0) + 1)
      continue
    }
    eligible.push(id)
    if (best === undefined || compare(cluster, who, slotHash, i, best) < 0) best = i
  }
  const errors = counts.has('rejected') ? [...rejected.values()].map(({ error }) => error) : []
  const node = best === undefined ? undefined : cluster.members[best]?.id
  return { node, eligible, why: node === undefined ? noSuitableNode(counts, errors) : 'fewest tasks' }
}

/** Why the node may not take one more slot of the service now: the first filter that refuses, in Swarm's order. */
export function refuses(cluster: Cluster, who: Applicant, node: number): Refusal | undefined {
  const { refusals, rejected } = who.judge()
  const room = cluster.rooms[node] as Room
  const refusal = refusals[node]
  if (refusal === 'ready') return refusal
  if (!hasResources(who.wanted, room)) return 'resources'
  return (
    refusal ??
    refusesMore(who.wanted, room, who.copies[node] ?? 0) ??
    (rejected.has(room.member.id) ? 'rejected' : undefined)
  )
}

/** Rendezvous hash of a slot, to be scored against nodes' hashes. */
export function slotHashOf(service: ServiceId, slot: Slot): number {
  return hash32(`${service}/${slot}`)
}

function compare(cluster: Cluster, who: Applicant, slotHash: number, a: number, b: number): number {
  const { failing } = who.judge()
  return (
    Number(failing[a]) - Number(failing[b]) ||
    who.spread.compare(a, b) ||
    (who.copies[a] ?? 0) - (who.copies[b] ?? 0) ||
    (cluster.rooms[a]?.tasks ?? 0) - (cluster.rooms[b]?.tasks ?? 0) ||
    score(slotHash, cluster.hashes[b] ?? 0) - score(slotHash, cluster.hashes[a] ?? 0)
  )
}

function judgementOf(cluster: Cluster, wanted: Wanted, states: Applicant['states']): Judgement {
  const { members, nowMs } = cluster
  const failed = [...states.values()].flatMap(({ failures }) => failures)
  const rejected = rejections(wanted, failed, nowMs)
  for (const { retryAtMs } of rejected.values()) cluster.untilMs = Math.min(cluster.untilMs, retryAtMs)
  const failures = new Map<NodeId, number>()
  for (const { value } of failed) {
    const forgottenMs = value.stateMs + failuresWindowMs
    if (value.state !== 'failed' || value.template !== wanted.template || forgottenMs <= nowMs) continue
    failures.set(value.node, (failures.get(value.node) ?? 0) + 1)
    cluster.untilMs = Math.min(cluster.untilMs, forgottenMs)
  }
  return {
    refusals: members.map((member) => refusesNode(wanted, member)),
    failing: members.map(({ id }) => (failures.get(id) ?? 0) >= failuresMax),
    rejected,
  }
}
