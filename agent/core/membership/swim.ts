/**
 * The failure detector: SWIM with Lifeguard, and a fast path for connections that are refused (design.md 4).
 *
 * A pure function of what happened: `step(state, input, at)` gives the next state and what to do. It never decides what a death means;
 * placement, names and routes read the liveness that it reports. Sources: SWIM (Das et al. 2002), Lifeguard (arXiv 1707.00788).
 *
 * Invariant: only a member itself raises its incarnation. Invariant: this node buries nobody for a time in which it stood still itself.
 */
import type { NodeId } from '../../../protocol/ids.ts'
import type { Claim } from './claims.ts'
import { mustRefute, overrides } from './claims.ts'
import type { Cause, Effect, Entry, Input, Known, Stepped, Swim } from './state.ts'
import { claimOf, ownClaim } from './state.ts'
import { confirm, deadlineMs, postpone, suspect } from './suspicion.ts'

/** The times of a preset that detection uses (agent/presets.ts). */
export interface DetectorTimes {
  readonly probeEveryMs: number
  readonly probeTimeoutMs: number
  readonly suspicionMinMs: number
  readonly suspicionMaxMs: number
  readonly refusedTwiceMs: number
  readonly backSoonMs: number
}

export interface At {
  readonly nowMs: number
  /** In [0, 1). */
  readonly random: () => number
  readonly times: DetectorTimes
}

/** SWIM's k: helpers of an indirect probe. Three fail together at 25 % loss in 2 of 100 rounds. */
const helpersMax = 3
/** Lifeguard's S − 1: the worst local health, eight times the period. */
const awarenessMax = 7
/** One turn in five: a second in `local`, and every node of a healed side is found within seconds by somebody. */
const buriedEvery = 5
/** Of all who hear a suspicion, this many probe the suspect at once, so that confirmations do not wait for their turn. */
const eagerDoubters = 6

/** `incarnation`: the wall clock at start does, so that a restarted agent is newer than all that was said of it. */
export function createSwim(self: NodeId, run: string, started: { incarnation: number; nowMs: number }): Swim {
  const { incarnation, nowMs } = started
  return { self, run, incarnation, awareness: 0, entries: new Map(), round: [], nextProbeMs: nowMs }
}

/** Monotonic ms of the next `tick` that can have an effect. */
export function wakeAt(state: Swim): number {
  let at = state.nextProbeMs
  for (const entry of state.entries.values()) {
    if (entry.heldUntilMs !== undefined) at = Math.min(at, entry.heldUntilMs)
    else if (entry.suspicion !== undefined) at = Math.min(at, deadlineMs(entry.suspicion))
  }
  return at
}

export function step(state: Swim, input: Input, at: At): Stepped {
  switch (input.is) {
    case 'tick':
      return tick(state, input.lagMs, at)
    case 'members':
      return members(state, input.members, input.initial, at)
    case 'acked':
      return acked(state, input, at)
    case 'missed':
      return missed(state, input.node, input.lateMs, at)
    case 'asked':
      return asked(state, input, at)
    case 'lost':
      return lost(state, input.node)
    case 'connected':
      return { state, effects: probeNow(state, input.node, at) }
    case 'dialled':
      return dialled(state, input, at)
    case 'confirmed':
      return confirmed(state, input, at)
    case 'claims':
      return hear(state, input.claims, at)
  }
}

function tick(before: Swim, lagMs: number, at: At): Stepped {
  const stalledMs = at.nowMs - wakeAt(before)
  const stalled = stalledMs > at.times.probeTimeoutMs / 2
  let state = stalled ? postponeAll(before, stalledMs) : before
  const effects: Effect[] = []
  if (!stalled && lagMs <= at.times.probeTimeoutMs) {
    for (const entry of sorted(state)) {
      if (entry.heldUntilMs !== undefined && entry.heldUntilMs > at.nowMs) continue
      if (entry.heldUntilMs !== undefined) {
        const done = change(state, { ...doubtedEntry(entry, state, 'silent', at), heldUntilMs: undefined }, state.self)
        state = done.state
        effects.push(...done.effects)
      } else if (entry.suspicion !== undefined && deadlineMs(entry.suspicion) <= at.nowMs) {
        const others = [...entry.suspicion.doubters].filter((node) => node !== state.self).sort()
        const done = bury(state, entry, entry.cause === '' ? 'silent' : entry.cause, others)
        state = done.state
        effects.push(...done.effects)
      }
    }
  }
  if (at.nowMs < state.nextProbeMs) return { state, effects }
  const turn = nextTurn(state, at)
  return { state: turn.state, effects: [...effects, ...turn.effects] }
}

/** Probes the next member of the round, and draws a new round when the old one is used up. */
function nextTurn(state: Swim, at: At): Stepped {
  const nextProbeMs = at.nowMs + at.times.probeEveryMs * (state.awareness + 1)
  let round: readonly NodeId[] = state.round.filter((node) => isProbed(state.entries.get(node)))
  if (round.length === 0)
    round = shuffle(
      [...state.entries.values()]
        .filter(isProbed)
        .map((e) => e.node)
        .sort(),
      at.random,
    )
  const [node, ...rest] = round
  const next: Swim = { ...state, round: rest, nextProbeMs }
  const asked = node === undefined ? [] : probeNow(next, node, at)
  return { state: next, effects: [...asked, ...probeBuried(next, at)] }
}

/**
 * Who was buried is asked now and then, and told so: a connection may outlive the cut that made it silent (TCP retransmits for 15
 * minutes), and then nothing else would ever show that it is back. memberlist's gossip to the dead, without an end.
 */
function probeBuried(state: Swim, at: At): readonly Effect[] {
  const buried = [...state.entries.values()].filter(({ liveness }) => liveness === 'dead').map(({ node }) => node)
  if (buried.length === 0 || at.random() * buriedEvery >= 1) return []
  const [node] = shuffle(buried.sort(), at.random)
  return node === undefined ? [] : probeNow(state, node, at)
}

function isProbed(entry: Entry | undefined): boolean {
  return (
    entry !== undefined &&
    (entry.liveness === 'alive' || entry.liveness === 'suspect') &&
    entry.heldUntilMs === undefined
  )
}

function probeNow(state: Swim, node: NodeId, at: At): readonly Effect[] {
  const entry = state.entries.get(node)
  if (entry === undefined) return []
  const about = entry.liveness === 'alive' ? undefined : claimOf(entry, state.self)
  return [{ do: 'probe', node, timeoutMs: at.times.probeTimeoutMs * (state.awareness + 1), about }]
}

function members(before: Swim, known: readonly Known[], initial: boolean, at: At): Stepped {
  let state = before
  const effects: Effect[] = []
  const present = new Set(known.map((k) => k.node))
  const gone = [...state.entries.keys()].filter((node) => !present.has(node))
  if (gone.length > 0) state = { ...state, entries: new Map([...state.entries].filter(([node]) => present.has(node))) }
  for (const { node, presence } of known) {
    if (node === state.self) continue
    const old = state.entries.get(node)
    const next = presenceEntry(
      old ?? newEntry(node),
      presence,
      { fresh: old === undefined, initial, size: known.length },
      at,
    )
    if (next === old) continue
    const done = change(state, next, node)
    state = done.state
    effects.push(...done.effects)
    if (isProbed(next)) effects.push(...probeNow(state, node, at))
  }
  return { state, effects }
}

/** What a member says of its own presence, laid over what we believe. The same object when nothing changes. */
function presenceEntry(
  entry: Entry,
  presence: Known['presence'],
  how: { fresh: boolean; initial: boolean; size: number },
  at: At,
): Entry {
  if (presence === 'left')
    return entry.liveness === 'left'
      ? entry
      : { ...entry, liveness: 'left', suspicion: undefined, heldUntilMs: undefined }
  if (presence === 'back-soon') {
    if (entry.heldUntilMs !== undefined || entry.liveness === 'dead') return entry
    const { backSoonMs: held } = at.times
    return {
      ...entry,
      liveness: 'suspect',
      suspicion: suspect(entry.node, at.nowMs, { minMs: held, maxMs: held, members: 1 }),
      heldUntilMs: at.nowMs + held,
    }
  }
  if (entry.liveness === 'left' || entry.heldUntilMs !== undefined) {
    return { ...entry, liveness: 'alive', suspicion: undefined, heldUntilMs: undefined, cause: '', confirmedBy: [] }
  }
  if (!how.fresh) return entry
  // From the journal: perhaps long gone. Doubted until it answers, for as long as an unconfirmed doubt lasts.
  if (how.initial) {
    const { suspicionMaxMs: max } = at.times
    return {
      ...entry,
      liveness: 'suspect',
      suspicion: suspect(entry.node, at.nowMs, { minMs: max, maxMs: max, members: how.size }),
    }
  }
  return { ...entry }
}

function newEntry(node: NodeId): Entry {
  return {
    node,
    liveness: 'alive',
    incarnation: 0,
    run: undefined,
    answeredMs: undefined,
    suspicion: undefined,
    heldUntilMs: undefined,
    cause: '',
    confirmedBy: [],
  }
}

function acked(before: Swim, { node, incarnation, run }: Extract<Input, { is: 'acked' }>, at: At): Stepped {
  const state = { ...before, awareness: Math.max(0, before.awareness - 1) }
  const entry = state.entries.get(node)
  if (entry === undefined) return { state, effects: [] }
  const answered: Entry = { ...entry, run, answeredMs: at.nowMs, incarnation: Math.max(entry.incarnation, incarnation) }
  if (entry.liveness === 'left' || incarnation <= entry.incarnation)
    return { state: withEntry(state, answered), effects: [] }
  return change(state, revived(answered), node)
}

function missed(state: Swim, node: NodeId, lateMs: number, at: At): Stepped {
  const entry = state.entries.get(node)
  // A timer that fired late says that we stood still: the answer may lie in our own socket.
  if (!isProbed(entry) || lateMs > at.times.probeTimeoutMs / 4) return { state, effects: [] }
  const helpers = pickHelpers(state, node, at)
  if (helpers.length === 0) return doubt(state, node, 'silent', at)
  return { state, effects: [{ do: 'ask', node, helpers, timeoutMs: at.times.probeTimeoutMs * (state.awareness + 1) }] }
}

function asked(before: Swim, input: Extract<Input, { is: 'asked' }>, at: At): Stepped {
  if (input.reached || input.lateMs > at.times.probeTimeoutMs / 4) return { state: before, effects: [] }
  // Helpers that did not even answer point at us (Lifeguard: missing nacks).
  const awareness = Math.min(awarenessMax, before.awareness + (input.asked - input.nacks))
  return doubt({ ...before, awareness }, input.node, 'silent', at)
}

function lost(state: Swim, node: NodeId): Stepped {
  if (!isProbed(state.entries.get(node))) return { state, effects: [] }
  return { state, effects: [{ do: 'dial', node, second: false, afterMs: 0 }] }
}

function dialled(state: Swim, input: Extract<Input, { is: 'dialled' }>, at: At): Stepped {
  const entry = state.entries.get(input.node)
  if (entry === undefined || !isProbed(entry) || input.result === 'connected') return { state, effects: [] }
  if (input.result === 'refused' && input.second) return bury(state, entry, 'refused', [])
  const doubted = doubt(state, input.node, input.result === 'refused' ? 'refused' : 'silent', at)
  if (input.result !== 'refused') return doubted
  const helpers = pickHelpers(state, input.node, at)
  const further: Effect =
    helpers.length > 0
      ? { do: 'confirm', node: input.node, helpers }
      : { do: 'dial', node: input.node, second: true, afterMs: at.times.refusedTwiceMs }
  return { state: doubted.state, effects: [...doubted.effects, further] }
}

function confirmed(state: Swim, input: Extract<Input, { is: 'confirmed' }>, at: At): Stepped {
  const entry = state.entries.get(input.node)
  if (entry === undefined || !isProbed(entry)) return { state, effects: [] }
  if (input.by !== undefined) return bury(state, entry, 'refused', [input.by])
  if (input.answered > 0) return { state, effects: [] }
  // Nobody is left to confirm: the rule of two nodes holds.
  return { state, effects: [{ do: 'dial', node: input.node, second: true, afterMs: at.times.refusedTwiceMs }] }
}

function hear(before: Swim, claims: readonly Claim[], at: At): Stepped {
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

/** This node's own doubt: the first makes a suspect, a later one confirms. */
function doubt(state: Swim, node: NodeId, cause: Cause, at: At): Stepped {
  const entry = state.entries.get(node)
  if (entry === undefined || !isProbed(entry)) return { state, effects: [] }
  if (entry.suspicion?.doubters.has(state.self)) return { state, effects: [] }
  const next = doubtedEntry(entry, state, cause, at)
  const done = change(state, next, state.self)
  const claim = claimOf(next, state.self)
  return {
    state: done.state,
    effects: claim === undefined ? done.effects : [...done.effects, { do: 'gossip', claims: [claim] }],
  }
}

function doubtedEntry(entry: Entry, state: Swim, cause: Cause, at: At): Entry {
  const known = entry.heldUntilMs === undefined ? entry.suspicion : undefined
  const suspicion =
    known === undefined ? suspect(state.self, at.nowMs, suspicionTimes(state, at)) : confirm(known, state.self)
  return { ...entry, liveness: 'suspect', suspicion, cause: entry.cause === '' ? cause : entry.cause }
}

function suspicionTimes(state: Swim, at: At) {
  return { minMs: at.times.suspicionMinMs, maxMs: at.times.suspicionMaxMs, members: state.entries.size + 1 }
}

function bury(state: Swim, entry: Entry, cause: Cause, confirmedBy: readonly NodeId[]): Stepped {
  const dead: Entry = { ...entry, liveness: 'dead', suspicion: undefined, cause, confirmedBy: confirmedBy.slice(0, 8) }
  const done = change(state, dead, state.self)
  const claim = claimOf(dead, state.self)
  return {
    state: done.state,
    effects: claim === undefined ? done.effects : [...done.effects, { do: 'gossip', claims: [claim] }],
  }
}

function revived(entry: Entry): Entry {
  return { ...entry, liveness: 'alive', suspicion: undefined, heldUntilMs: undefined, cause: '', confirmedBy: [] }
}

/** Puts an entry in place and reports when its liveness is news. */
function change(state: Swim, entry: Entry, by: NodeId): Stepped {
  const was = state.entries.get(entry.node)?.liveness
  const effects: readonly Effect[] = was === entry.liveness ? [] : [{ do: 'report', entry, was, by }]
  return { state: withEntry(state, entry), effects }
}

function withEntry(state: Swim, entry: Entry): Swim {
  return { ...state, entries: new Map(state.entries).set(entry.node, entry) }
}

function postponeAll(state: Swim, byMs: number): Swim {
  const entries = [...state.entries.values()].map((entry): [NodeId, Entry] => [
    entry.node,
    entry.suspicion === undefined ? entry : { ...entry, suspicion: postpone(entry.suspicion, byMs) },
  ])
  return { ...state, entries: new Map(entries) }
}

/** Up to three members that live, drawn without order: none of them is the target. */
function pickHelpers(state: Swim, target: NodeId, at: At): readonly NodeId[] {
  const others = sorted(state).filter((entry) => entry.liveness === 'alive' && entry.node !== target)
  return shuffle(
    others.map((entry) => entry.node),
    at.random,
  ).slice(0, helpersMax)
}

function sorted(state: Swim): readonly Entry[] {
  return [...state.entries.values()].sort((a, b) => (a.node < b.node ? -1 : 1))
}

/** Fisher and Yates. */
function shuffle(nodes: readonly NodeId[], random: () => number): readonly NodeId[] {
  const result = [...nodes]
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    const held = result[i] as NodeId
    result[i] = result[j] as NodeId
    result[j] = held
  }
  return result
}
