/**
 * The failure detector: SWIM with Lifeguard, and a fast path for connections that are refused (design.md 4).
 *
 * A pure function of what happened: `step(state, input, at)` gives the next state and what to do. It never decides what a death means;
 * placement, names and routes read the liveness that it reports. Sources: SWIM (Das et al. 2002), Lifeguard (arXiv 1707.00788).
 *
 * Invariant: this node buries nobody for a time in which it stood still itself.
 */
import type { NodeId } from '../../../protocol/ids.ts'
import {
  type At,
  awarenessMax,
  bury,
  change,
  doubt,
  doubtedEntry,
  isProbed,
  pickHelpers,
  postponeAll,
  probeNow,
  reach,
  revived,
  shuffle,
  sorted,
  withEntry,
} from './beliefs.ts'
import { hear } from './hearing.ts'
import { members } from './presence.ts'
import type { Effect, Entry, Input, Stepped, Swim } from './state.ts'
import { deadlineMs } from './suspicion.ts'

/** One turn in five: a second in `local`, and every node of a healed side is found within seconds by somebody. */
const buriedEvery = 5
/** A sweep of all members costs as much as a round of probes. */
const sweepEveryMs = 3_000

/** `incarnation`: the wall clock at start does, so that a restarted agent is newer than all that was said of it. */
export function createSwim(self: NodeId, run: string, started: { incarnation: number; nowMs: number }): Swim {
  const { incarnation, nowMs } = started
  return {
    self,
    run,
    incarnation,
    awareness: 0,
    entries: new Map(),
    round: [],
    nextProbeMs: nowMs,
    sweptMs: nowMs - sweepEveryMs,
  }
}

/** Monotonic ms of the next `tick` that can have an effect. */
export function wakeAt({ nextProbeMs, entries }: Swim): number {
  return Math.min(nextProbeMs, firstDueMs(entries))
}

/** Kept with the entries, since most of what is heard is no news and leaves them as they are: a look at each, a message, is felt with 300 members. */
const dueMs = new WeakMap<Swim['entries'], number>()

function firstDueMs(entries: Swim['entries']): number {
  const known = dueMs.get(entries)
  if (known !== undefined) return known
  let at = Number.POSITIVE_INFINITY
  for (const { heldUntilMs, suspicion } of entries.values()) {
    if (heldUntilMs !== undefined) at = Math.min(at, heldUntilMs)
    else if (suspicion !== undefined) at = Math.min(at, deadlineMs(suspicion))
  }
  dueMs.set(entries, at)
  return at
}

export function step(before: Swim, input: Input, at: At): Stepped {
  const { state, effects } = take(before, input, at)
  const isBack = effects.some((effect) => effect.do === 'report' && effect.entry.liveness === 'alive' && effect.was)
  // A cut has healed, perhaps, and others are back too: to believe them dead a moment longer would be to fill in for them.
  return isBack ? askBuried({ state, effects }, at) : { state, effects }
}

/** Each at most once a time-out: a cut through a large cluster brings dozens back within it, and none of them is better news than the first. */
function askBuried({ state, effects }: Stepped, at: At): Stepped {
  const isDue = ({ liveness, askedMs = Number.NEGATIVE_INFINITY }: Entry) =>
    liveness === 'dead' && at.nowMs - askedMs >= at.times.probeTimeoutMs
  const due = sorted(state).filter(isDue)
  const asked = due.map((entry): [NodeId, Entry] => [entry.node, { ...entry, askedMs: at.nowMs }])
  const next = { ...state, entries: new Map([...state.entries, ...asked]) }
  return { state: next, effects: [...effects, ...due.flatMap(({ node }) => probeNow(next, node, at))] }
}

function take(state: Swim, input: Input, at: At): Stepped {
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

function acked(before: Swim, { node, incarnation, run }: Extract<Input, { is: 'acked' }>, at: At): Stepped {
  const { state, effects } = reach({ ...before, awareness: Math.max(0, before.awareness - 1) }, node, false)
  const entry = state.entries.get(node)
  if (entry === undefined) return { state, effects }
  const answered: Entry = { ...entry, run, answeredMs: at.nowMs, incarnation: Math.max(entry.incarnation, incarnation) }
  if (entry.liveness === 'left' || incarnation <= entry.incarnation)
    return { state: withEntry(state, answered), effects }
  const done = change(state, revived(answered), node)
  return { state: done.state, effects: [...effects, ...done.effects] }
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
  if (input.lateMs > at.times.probeTimeoutMs / 4) return { state: before, effects: [] }
  if (input.reached) return reach(before, input.node, true)
  // Helpers that did not even answer point at us (Lifeguard: missing nacks).
  const awareness = Math.min(awarenessMax, before.awareness + (input.asked - input.nacks))
  const done = doubt({ ...before, awareness }, input.node, 'silent', at)
  if (input.nacks > 0 || input.asked < 2 || at.nowMs - before.sweptMs < sweepEveryMs) return done
  // Neither the member nor a helper answers: perhaps nobody does, and a node that asks one a period thinks for seconds that it sees most.
  const swept = { ...done.state, sweptMs: at.nowMs }
  return { state: swept, effects: [...done.effects, ...probeAlive(swept, at)] }
}

function probeAlive(state: Swim, at: At): readonly Effect[] {
  return sorted(state).flatMap((entry) => (entry.liveness === 'alive' ? probeNow(state, entry.node, at) : []))
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
