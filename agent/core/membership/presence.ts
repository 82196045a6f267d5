/**
 * Members come, go and say so: what the replicated state says of a member's presence, laid over what the detector believes.
 */
import type { NodeId } from '../../../protocol/ids.ts'
import { type At, change, isProbed, probeNow } from './beliefs.ts'
import type { Effect, Entry, Known, Stepped, Swim } from './state.ts'
import { suspect } from './suspicion.ts'

export function members(before: Swim, known: readonly Known[], initial: boolean, at: At): Stepped {
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
