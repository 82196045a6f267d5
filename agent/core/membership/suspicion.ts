/**
 * How long a suspect has to answer: the timer that shrinks as independent members confirm (Lifeguard, arXiv 1707.00788, section IV-B).
 *
 * A node that is itself cut off hears no confirmations and waits the full time before it buries everyone.
 */
import type { NodeId } from '../../../protocol/ids.ts'

export interface Suspicion {
  readonly startedMs: number
  readonly minMs: number
  readonly maxMs: number
  /** Members that doubt it by their own probes; each counts once, the accuser included. */
  readonly doubters: ReadonlySet<NodeId>
  /** Confirmations beyond the accuser that bring the timer to its floor. */
  readonly needed: number
}

/** memberlist's k: 2 confirmations, and none where the cluster is too small to give them. */
export function confirmationsNeeded(members: number): number {
  return members - 2 < 2 ? 0 : 2
}

export function suspect(
  by: NodeId,
  nowMs: number,
  options: { minMs: number; maxMs: number; members: number },
): Suspicion {
  const { minMs, maxMs, members } = options
  return { startedMs: nowMs, minMs, maxMs, doubters: new Set([by]), needed: confirmationsNeeded(members) }
}

export function confirm(suspicion: Suspicion, by: NodeId): Suspicion {
  if (suspicion.doubters.has(by)) return suspicion
  return { ...suspicion, doubters: new Set([...suspicion.doubters, by]) }
}

/** Monotonic ms at which the suspect is dead: max − (max − min) · log(c + 1) / log(k + 1), never before min. */
export function deadlineMs(suspicion: Suspicion): number {
  const { startedMs, minMs, maxMs, needed } = suspicion
  if (needed === 0) return startedMs + minMs
  const confirmations = Math.min(suspicion.doubters.size - 1, needed)
  const share = Math.log(confirmations + 1) / Math.log(needed + 1)
  return startedMs + Math.max(minMs, maxMs - (maxMs - minMs) * share)
}

/** Moves the timer: the time in which this node itself stood still was no time to hear an answer in. */
export function postpone(suspicion: Suspicion, byMs: number): Suspicion {
  return { ...suspicion, startedMs: suspicion.startedMs + byMs }
}
