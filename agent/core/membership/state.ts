/**
 * What the failure detector holds, what may happen to it, and what it may ask for. Types, and the two readings others need.
 */
import type { NodeId } from '../../../protocol/ids.ts'
import type { Liveness } from '../view.ts'
import type { Claim } from './claims.ts'
import type { Suspicion } from './suspicion.ts'

export interface Entry {
  readonly node: NodeId
  readonly liveness: Liveness
  readonly incarnation: number
  /** Run of its agent that spoke last; undefined until it was heard. */
  readonly run: string | undefined
  /** Last answer to a probe of ours; undefined until the first. */
  readonly answeredMs: number | undefined
  /** When it was last asked, though dead, because others were back. */
  readonly askedMs?: number
  /** Present exactly while suspect. */
  readonly suspicion: Suspicion | undefined
  /** Says it is back soon: held as suspect until this time, whatever the probes say. */
  readonly heldUntilMs: number | undefined
  readonly cause: Cause
  readonly confirmedBy: readonly NodeId[]
  /** Others reach it, and no answer comes back to this node: a fault of one way between the two. */
  readonly outOfReach?: boolean
}

export type Cause = Claim['cause']

export interface Swim {
  readonly self: NodeId
  /** Of this start of the agent. */
  readonly run: string
  readonly incarnation: number
  /** Lifeguard's local health: 0 well … 7 sick; stretches our probe times, so that our own trouble accuses nobody. */
  readonly awareness: number
  readonly entries: ReadonlyMap<NodeId, Entry>
  /** Members still to be probed in this round, shuffled: each is probed once a round (SWIM 4.3). */
  readonly round: readonly NodeId[]
  readonly nextProbeMs: number
  /** When everybody was last asked at once. */
  readonly sweptMs: number
}

export interface Known {
  readonly node: NodeId
  readonly presence: 'up' | 'back-soon' | 'left'
}

interface Inputs {
  /** The clock reached `wakeAt`, or something else woke the loop. */
  tick: { readonly lagMs: number }
  /** The admitted nodes, from the replicated state, without this one. `initial`: read from the journal at start, not news. */
  members: { readonly members: readonly Known[]; readonly initial: boolean }
  acked: { readonly node: NodeId; readonly incarnation: number; readonly run: string }
  /** A direct probe had no answer in time; `lateMs`: how late this node's own timer was. */
  missed: { readonly node: NodeId; readonly lateMs: number }
  /** What helpers said of a node that missed: one reached it, or `nacks` of `asked` answered that they did not either. */
  asked: {
    readonly node: NodeId
    readonly reached: boolean
    readonly nacks: number
    readonly asked: number
    readonly lateMs: number
  }
  /** Its connection closed. */
  lost: { readonly node: NodeId }
  connected: { readonly node: NodeId }
  /** `second`: the second try of the two-node rule. */
  dialled: { readonly node: NodeId; readonly result: 'connected' | 'refused' | 'unreachable'; readonly second: boolean }
  /** What became of `confirm`: the member, if any, that was refused too, and how many answered at all. */
  confirmed: { readonly node: NodeId; readonly by: NodeId | undefined; readonly answered: number }
  claims: { readonly from: NodeId; readonly claims: readonly Claim[] }
}
export type Input = { [K in keyof Inputs]: { readonly is: K } & Inputs[K] }[keyof Inputs]

export interface Effects {
  /** Tell everybody. */
  gossip: { readonly claims: readonly Claim[] }
  /** Probe, telling the target what is held against it so that it can refute (buddy system). */
  probe: { readonly node: NodeId; readonly timeoutMs: number; readonly about: Claim | undefined }
  /** Ask helpers to probe. */
  ask: { readonly node: NodeId; readonly helpers: readonly NodeId[]; readonly timeoutMs: number }
  /** Connect now, after `afterMs`. */
  dial: { readonly node: NodeId; readonly second: boolean; readonly afterMs: number }
  /** Ask others whether they are refused too. */
  confirm: { readonly node: NodeId; readonly helpers: readonly NodeId[] }
  /** This node's belief changed; `was` is undefined for a member that is new here. */
  report: { readonly entry: Entry; readonly was: Liveness | undefined; readonly by: NodeId }
  /** `outOfReach` changed. */
  reach: { readonly node: NodeId; readonly outOfReach: boolean }
}
export type Effect = { [K in keyof Effects]: { readonly do: K } & Effects[K] }[keyof Effects]

export interface Stepped {
  readonly state: Swim
  readonly effects: readonly Effect[]
}

/** What is held of a member, as a claim to pass on. Undefined for those who left. */
export function claimOf(entry: Entry, by: NodeId): Claim | undefined {
  if (entry.liveness === 'left') return undefined
  const { node, liveness, incarnation, cause } = entry
  return {
    node,
    says: liveness,
    incarnation,
    by: liveness === 'alive' ? node : by,
    cause,
    confirmedBy: [...entry.confirmedBy].slice(0, 8),
    ...(liveness === 'alive' && entry.run !== undefined ? { run: entry.run } : {}),
  }
}

/** Everything this node holds, itself first: told to whoever connects. */
export function tableOf(state: Swim): readonly Claim[] {
  const others = [...state.entries.values()].sort((a, b) => (a.node < b.node ? -1 : 1))
  return [ownClaim(state), ...others.flatMap((entry) => claimOf(entry, state.self) ?? [])]
}

/** "I live": what refutes every doubt of an earlier incarnation. */
export function ownClaim(state: Swim): Claim {
  return {
    node: state.self,
    says: 'alive',
    incarnation: state.incarnation,
    by: state.self,
    cause: '',
    confirmedBy: [],
    run: state.run,
  }
}
