/**
 * What is made of other members' claims: believed, confirmed, doubted, or refuted where they are about this node.
 *
 * Invariant: only a member itself raises its incarnation.
 */
import type { NodeId } from '../../../protocol/ids.ts'
import { type At, awarenessMax, probeNow, reportOf, revived, suspicionTimes } from './beliefs.ts'
import type { Claim } from './claims.ts'
import { mustRefute, overrides } from './claims.ts'
import type { Effect, Entry, Stepped, Swim } from './state.ts'
import { ownClaim } from './state.ts'
import { confirm, suspect } from './suspicion.ts'

/** Of all who hear a suspicion, this many probe the suspect at once, so that confirmations do not wait for their turn. */
const eagerDoubters = 6

/** A table has a claim of every member: the entries are copied once for all, and kept as they are when nothing is news. */
export function hear(before: Swim, claims: readonly Claim[], at: At): Stepped {
  let state = before
  let entries: Map<NodeId, Entry> | undefined
  const effects: Effect[] = []
  for (const claim of claims) {
    if (claim.node === state.self) {
      const done = hearOfMyself(state, claim)
      state = done.state
      effects.push(...done.effects)
      continue
    }
    const news = hearOne(state, claim, at)
    if (news === undefined) continue
    effects.push(...reportOf(state, news.entry, claim.by))
    if (entries === undefined) {
      entries = new Map(state.entries)
      state = { ...state, entries }
    }
    entries.set(claim.node, news.entry)
    if (news.isEager) effects.push(...probeNow(state, claim.node, at))
  }
  return { state, effects }
}

function hearOfMyself(state: Swim, claim: Claim): Stepped {
  if (!mustRefute(claim, state.self, state.incarnation)) {
    return { state: { ...state, incarnation: Math.max(state.incarnation, claim.incarnation) }, effects: [] }
  }
  // To be doubted is a sign of our own ill health (Lifeguard).
  const awareness = Math.min(awarenessMax, state.awareness + 1)
  const next = { ...state, awareness, incarnation: claim.incarnation + 1 }
  return { state: next, effects: [{ do: 'gossip', claims: [ownClaim(next)] }] }
}

interface News {
  readonly entry: Entry
  /** This node is among the first who ask the suspect. */
  readonly isEager: boolean
}

/** Undefined: nothing new. */
function hearOne(state: Swim, told: Claim, at: At): News | undefined {
  const entry = state.entries.get(told.node)
  if (entry === undefined || entry.liveness === 'left') return undefined
  const claim: Claim = told.says === 'dead' && isContradicted(entry, told, at) ? { ...told, says: 'suspect' } : told
  if (claim.says === 'suspect' && entry.suspicion !== undefined && claim.incarnation === entry.incarnation) {
    const suspicion = confirm(entry.suspicion, claim.by)
    return suspicion === entry.suspicion ? undefined : { entry: { ...entry, suspicion }, isEager: false }
  }
  const held = { says: entry.liveness, incarnation: entry.incarnation }
  if (!overrides(claim, held)) return undefined
  const known: Entry = { ...entry, incarnation: claim.incarnation, cause: claim.cause, confirmedBy: claim.confirmedBy }
  if (claim.says === 'alive') return { entry: revived({ ...known, run: claim.run ?? known.run }), isEager: false }
  if (entry.heldUntilMs !== undefined) return { entry: known, isEager: false }
  if (claim.says === 'dead') return { entry: { ...known, liveness: 'dead', suspicion: undefined }, isEager: false }
  const suspicion = suspect(claim.by, at.nowMs, suspicionTimes(state, at))
  const isEager = at.random() * state.entries.size < eagerDoubters
  return { entry: { ...known, liveness: 'suspect', suspicion }, isEager }
}

/**
 * Said to be dead of silence, which lasts a suspicion's time at least, and answered here since: that is a doubt, not a death. Else a healed
 * cut has each side bury the other's members, and every flow to them is reset though all are well.
 */
function isContradicted(entry: Entry, claim: Claim, at: At): boolean {
  return (
    claim.cause === 'silent' && entry.answeredMs !== undefined && at.nowMs - entry.answeredMs < at.times.suspicionMinMs
  )
}
