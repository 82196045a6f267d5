/**
 * Docker's HEALTHCHECK as a state machine (moby daemon/health.go): when to probe next, and what the results mean.
 *
 * The first probe runs one interval after the start; within the start period at the start interval, and failures there do not count
 * until the first success. `retries` failures in a row make it unhealthy, one success healthy. It never runs two probes at once.
 */
import type { Health } from './wanted.ts'

export interface HealthState {
  readonly status: 'starting' | 'healthy' | 'unhealthy'
  readonly failures: number
  /** Monotonic ms. */
  readonly startedMs: number
  readonly nextAtMs: number
}

export interface ProbeResult {
  readonly ok: boolean
  /** When it ended, monotonic ms. */
  readonly nowMs: number
}

export function startHealth(check: Health, nowMs: number): HealthState {
  const state: HealthState = { status: 'starting', failures: 0, startedMs: nowMs, nextAtMs: nowMs }
  return { ...state, nextAtMs: nowMs + intervalAt(check, state, nowMs) }
}

export function afterProbe(check: Health, state: HealthState, { ok, nowMs }: ProbeResult): HealthState {
  const excused = !ok && state.status === 'starting' && isStartPeriod(check, state, nowMs)
  const failures = ok || excused ? 0 : state.failures + 1
  const status = ok ? 'healthy' : failures >= check.retries ? 'unhealthy' : state.status
  const next: HealthState = { ...state, status, failures }
  return { ...next, nextAtMs: nowMs + intervalAt(check, next, nowMs) }
}

/** What to run: a shell line, or the words as they are. */
export function healthCommand(check: Health): readonly string[] {
  const [kind, ...words] = check.test
  return kind === 'CMD-SHELL' ? ['/bin/sh', '-c', words.join(' ')] : words
}

function intervalAt(check: Health, state: HealthState, nowMs: number): number {
  return state.status === 'starting' && isStartPeriod(check, state, nowMs) ? check.startIntervalMs : check.intervalMs
}

function isStartPeriod(check: Health, state: HealthState, nowMs: number): boolean {
  return nowMs - state.startedMs < check.startPeriodMs
}
