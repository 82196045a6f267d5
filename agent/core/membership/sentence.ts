/**
 * What people read when membership changes: who, why, who saw it, how long after the last sign of life.
 */
import type { NodeId } from '../../../protocol/ids.ts'
import type { Liveness } from '../view.ts'
import type { Entry } from './state.ts'

/** For instance `n3 dead: refused, confirmed by n2, 214 ms after its last answer`. */
export function livenessSentence(
  change: { readonly entry: Entry; readonly was: Liveness | undefined; readonly by: NodeId },
  name: (node: NodeId) => string,
  nowMs: number,
): string {
  const { entry, was, by } = change
  const subject = name(entry.node)
  if (entry.liveness === 'left') return `${subject} left`
  if (entry.liveness === 'alive')
    return was === undefined ? `${subject} joined` : `${subject} is back: it answered for itself`
  if (entry.heldUntilMs !== undefined) return `${subject} restarts: its slots are held for it`
  const why = entry.cause === '' ? 'not heard of since this agent started' : entry.cause
  const others = entry.confirmedBy.filter((node) => node !== entry.node)
  const seen = others.length > 0 ? `, confirmed by ${others.map(name).join(', ')}` : ''
  const observer = by === entry.node ? '' : `, said by ${name(by)}`
  const age = entry.answeredMs === undefined ? '' : `, ${Math.round(nowMs - entry.answeredMs)} ms after its last answer`
  return `${subject} ${entry.liveness}: ${why}${seen}${observer}${age}`
}
