/**
 * Whether and when a slot whose task ended may run again: the restart policy (swarmkit manager/orchestrator/restart/restart.go).
 *
 * Counted per slot over the records that are kept, and only those of the present template: an update starts afresh. A task that was
 * stopped on purpose, or lost with its node, gives no delay: the delay is for tasks that failed.
 */
import type { TaskValue } from '../../../protocol/model.ts'
import { hasEnded } from '../live.ts'
import type { Stamped } from '../view.ts'
import type { Wanted } from '../wanted.ts'
import { compareCreation } from './order.ts'

export type Gate =
  | { readonly is: 'open' }
  /** Not before this wall ms. */
  | { readonly is: 'later'; readonly atMs: number }
  | { readonly is: 'closed'; readonly why: string }

/** Ended records to keep per slot: Swarm's five, and what counting the attempts needs. */
export function historyKept(wanted: Wanted | undefined): number {
  return Math.max(5, (wanted?.restart.maxAttempts ?? 0) + 1)
}

/** `records`: all records of one slot, live and ended; `nowMs` wall. */
export function restartGate(wanted: Wanted, records: readonly Stamped<TaskValue>[], nowMs: number): Gate {
  const last = newest(records)
  if (last === undefined || !isRun(last.value) || last.value.template !== wanted.template) return { is: 'open' }
  const { condition, maxAttempts, windowMs, delayMs } = wanted.restart
  const { state, exitCode } = last.value
  if (condition === 'none') return { is: 'closed', why: `${state}; restart condition is none` }
  if (condition === 'on-failure' && state === 'complete') {
    return { is: 'closed', why: 'complete; restart condition is on-failure' }
  }
  const counts = (task: TaskValue) => isRun(task) && task.template === wanted.template
  const inWindow = (task: TaskValue) => windowMs === 0 || nowMs - task.stateMs < windowMs
  const ends = records.filter(({ value }) => counts(value) && inWindow(value)).length
  if (maxAttempts > 0 && ends > maxAttempts) {
    const code = exitCode === undefined ? '' : `, last exit code ${exitCode}`
    return { is: 'closed', why: `${state}; restarted ${maxAttempts} times, which is the limit${code}` }
  }
  const atMs = last.value.stateMs + delayMs
  return atMs > nowMs ? { is: 'later', atMs } : { is: 'open' }
}

/** Whether the slot's program came to a good end and is not to run again: then nothing is amiss where nothing runs. */
export function hasFinished(wanted: Wanted, records: readonly Stamped<TaskValue>[], nowMs: number): boolean {
  return newest(records)?.value.state === 'complete' && restartGate(wanted, records, nowMs).is === 'closed'
}

/** The ended record that was created last, or a live one that was created after it (its node died): then nothing is awaited. */
function newest(records: readonly Stamped<TaskValue>[]): Stamped<TaskValue> | undefined {
  let last: Stamped<TaskValue> | undefined
  for (const record of records) {
    if (record.value.state === 'rejected') continue
    if (last === undefined || compareCreation(last, record) < 0) last = record
  }
  return last !== undefined && hasEnded(last.value.state) ? last : undefined
}

/** Ended by itself, not because it was told to. */
function isRun(task: TaskValue): boolean {
  return task.state === 'failed' || task.state === 'complete'
}
