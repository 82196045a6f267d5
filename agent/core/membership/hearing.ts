/**
 * What is made of other members' claims: believed, confirmed, doubted, or refuted where they are about this node.
 *
 * Invariant: only a member itself raises its incarnation.
 */

import { type At, awarenessMax, change, probeNow, revived, suspicionTimes, withEntry } from './beliefs.ts'
import type { Claim } from './claims.ts'
import { mustRefute, overrides } from './claims.ts'
import type { Effect, Entry, Stepped, Swim } from './state.ts'
import { ownClaim } from './state.ts'
import { confirm, suspect } from './suspicion.ts'

/** Of all who hear a suspicion, this many probe the suspect at once, so that confirmations do not wait for their turn. */
const eagerDoubters = 6

export function hear(before: Swim, claims: readonly Claim[], at: At): Stepped {
  let state = before
  const effects: Effect[] = []
  for (const claim of claims) {
    const done = claim.node === state.self ? hearOfMyself(state, claim) : hearOne(state, claim, at)
    state = done.state
    effects.push(...done.effects)
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

function hearOne(state: Swim, told: Claim, at: At): Stepped {
  const entry = state.entries.get(told.node)
  if (entry === undefined || entry.liveness === 'left') return { state, effects: [] }
  const claim: Claim = told.says === 'dead' && isContradicted(entry, told, at) ? { ...told, says: 'suspect' } : told
  if (claim.says === 'suspect' && entry.suspicion !== undefined && claim.incarnation === entry.incarnation) {
    return { state: withEntry(state, { ...entry, suspicion: confirm(entry.suspicion, claim.by) }), effects: [] }
  }
  const held = { says: entry.liveness, incarnation: entry.incarnation }
  if (!overrides(claim, held)) return { state, effects: [] }
  const known: Entry = { ...entry, incarnation: claim.incarnation, cause: claim.cause, confirmedBy: claim.confirmedBy }
  if (claim.says === 'alive') return change(state, revived({ ...known, run: claim.run ?? known.run }), claim.by)
  if (entry.heldUntilMs !== undefined) return { state: withEntry(state, known), effects: [] }
  if (claim.says === 'dead') return change(state, { ...known, liveness: 'dead', suspicion: undefined }, claim.by)
  const next: Entry = {
    ...known,
    liveness: 'suspect',
    suspicion: suspect(claim.by, at.nowMs, suspicionTimes(state, at)),
  }
  const done = change(state, next, claim.by)
  const eager = at.random() * state.entries.size < eagerDoubters
  return { state: done.state, effects: [...done.effects, ...(eager ? probeNow(done.state, claim.node, at) : [])] }
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
