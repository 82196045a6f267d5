/**
 * How a belief about one member changes, and what follows: doubts, burials, revivals, and who is probed (SWIM 4.2).
 *
 * The building stones of swim.ts, presence.ts and hearing.ts; nothing here decides when. Pure.
 */
import type { NodeId } from '../../../protocol/ids.ts'
import type { Cause, Effect, Entry, Stepped, Swim } from './state.ts'
import { claimOf } from './state.ts'
import { confirm, postpone, suspect } from './suspicion.ts'

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
export const awarenessMax = 7

/** This node's own doubt: the first makes a suspect, a later one confirms. */
export function doubt(state: Swim, node: NodeId, cause: Cause, at: At): Stepped {
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

export function doubtedEntry(entry: Entry, state: Swim, cause: Cause, at: At): Entry {
  const known = entry.heldUntilMs === undefined ? entry.suspicion : undefined
  const suspicion =
    known === undefined ? suspect(state.self, at.nowMs, suspicionTimes(state, at)) : confirm(known, state.self)
  return { ...entry, liveness: 'suspect', suspicion, cause: entry.cause === '' ? cause : entry.cause }
}

export function suspicionTimes(state: Swim, at: At) {
  return { minMs: at.times.suspicionMinMs, maxMs: at.times.suspicionMaxMs, members: state.entries.size + 1 }
}

export function bury(state: Swim, entry: Entry, cause: Cause, confirmedBy: readonly NodeId[]): Stepped {
  const dead: Entry = { ...entry, liveness: 'dead', suspicion: undefined, cause, confirmedBy: confirmedBy.slice(0, 8) }
  const done = change(state, dead, state.self)
  const claim = claimOf(dead, state.self)
  return {
    state: done.state,
    effects: claim === undefined ? done.effects : [...done.effects, { do: 'gossip', claims: [claim] }],
  }
}

export function revived(entry: Entry): Entry {
  return { ...entry, liveness: 'alive', suspicion: undefined, heldUntilMs: undefined, cause: '', confirmedBy: [] }
}

/** Puts an entry in place and reports when its liveness is news. */
export function change(state: Swim, entry: Entry, by: NodeId): Stepped {
  return { state: withEntry(state, entry), effects: reportOf(state, entry, by) }
}

/** What an entry that takes the place of the present one is news of. */
export function reportOf(state: Swim, entry: Entry, by: NodeId): readonly Effect[] {
  const was = state.entries.get(entry.node)?.liveness
  return was === entry.liveness ? [] : [{ do: 'report', entry, was, by }]
}

/** Whether answers come back to this node itself. Who lives by the word of others alone is a member, and nobody to lead clients to from here. */
export function reach(state: Swim, node: NodeId, outOfReach: boolean): Stepped {
  const entry = state.entries.get(node)
  if (entry === undefined || (entry.outOfReach ?? false) === outOfReach) return { state, effects: [] }
  return { state: withEntry(state, { ...entry, outOfReach }), effects: [{ do: 'reach', node, outOfReach }] }
}

export function withEntry(state: Swim, entry: Entry): Swim {
  return { ...state, entries: new Map(state.entries).set(entry.node, entry) }
}

export function postponeAll(state: Swim, byMs: number): Swim {
  const entries = [...state.entries.values()].map((entry): [NodeId, Entry] => [
    entry.node,
    entry.suspicion === undefined ? entry : { ...entry, suspicion: postpone(entry.suspicion, byMs) },
  ])
  return { ...state, entries: new Map(entries) }
}

export function isProbed(entry: Entry | undefined): boolean {
  return (
    entry !== undefined &&
    (entry.liveness === 'alive' || entry.liveness === 'suspect') &&
    entry.heldUntilMs === undefined
  )
}

export function probeNow(state: Swim, node: NodeId, at: At): readonly Effect[] {
  const entry = state.entries.get(node)
  if (entry === undefined) return []
  const about = entry.liveness === 'alive' ? undefined : claimOf(entry, state.self)
  return [{ do: 'probe', node, timeoutMs: at.times.probeTimeoutMs * (state.awareness + 1), about }]
}

/** Up to three members that live, drawn without order: none of them is the target. */
export function pickHelpers(state: Swim, target: NodeId, at: At): readonly NodeId[] {
  const others = sorted(state).filter((entry) => entry.liveness === 'alive' && entry.node !== target)
  return shuffle(
    others.map((entry) => entry.node),
    at.random,
  ).slice(0, helpersMax)
}

export function sorted(state: Swim): readonly Entry[] {
  return [...state.entries.values()].sort((a, b) => (a.node < b.node ? -1 : 1))
}

/** Fisher and Yates. */
export function shuffle(nodes: readonly NodeId[], random: () => number): readonly NodeId[] {
  const result = [...nodes]
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    const held = result[i] as NodeId
    result[i] = result[j] as NodeId
    result[j] = held
  }
  return result
}
