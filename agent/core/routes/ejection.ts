/**
 * Endpoints that this node avoids because it saw them fail: at once, for a short time that doubles with each failure in a row.
 *
 * First-hand knowledge, faster than any health check and never told to others. The brake against a fault of this node's own is in pick.ts:
 * when more than half would be avoided, none is. (Envoy's outlier detection, without its 10 s sweep.)
 */
import type { TaskId } from '../../../protocol/ids.ts'

/** 1 s: about what it takes until membership or the health check has told everybody. */
const firstMs = 1_000
/** 30 s: after that a trial costs one client 300 ms at most. */
const longestMs = 30_000

export class Ejections {
  private readonly entries = new Map<TaskId, { untilMs: number; failures: number }>()

  failed(task: TaskId, nowMs: number): void {
    const entry = this.entries.get(task) ?? { untilMs: 0, failures: 0 }
    // Flows that were on their way together fail together: that is one failure, not ten.
    if (entry.untilMs > nowMs) return
    entry.untilMs = nowMs + Math.min(firstMs * 2 ** entry.failures, longestMs)
    entry.failures++
    this.entries.set(task, entry)
  }

  /** It accepted a flow: all is forgiven. */
  worked(task: TaskId): void {
    if (this.entries.size > 0) this.entries.delete(task)
  }

  isEjected(task: TaskId, nowMs: number): boolean {
    if (this.entries.size === 0) return false
    const entry = this.entries.get(task)
    return entry !== undefined && entry.untilMs > nowMs
  }

  /** Forgets tasks that are in no route any more. */
  keep(isKnown: (task: TaskId) => boolean): void {
    for (const task of this.entries.keys()) if (!isKnown(task)) this.entries.delete(task)
  }
}
