/**
 * Runs health commands when core/health.ts says so, and tells the listener when the verdict changes.
 *
 * A command that cannot be run, or takes too long, is a failed probe.
 */
import type { TaskId } from '../../protocol/ids.ts'
import { afterProbe, type HealthState, healthCommand, startHealth } from '../core/health.ts'
import type { Health } from '../core/wanted.ts'
import { reasonOf } from '../fault.ts'
import type { Cancel, Clock, HealthChecker, HealthStatus, Runtime } from '../world.ts'

type Listener = (status: HealthStatus, output: string) => void

export interface HealthLoop extends HealthChecker {
  stop(): void
}

export function createHealthLoop({ runtime, clock }: { runtime: Pick<Runtime, 'exec'>; clock: Clock }): HealthLoop {
  const watched = new Map<TaskId, { cancel: Cancel }>()

  async function probe(task: TaskId, check: Health): Promise<{ ok: boolean; output: string }> {
    try {
      const { code, output } = await runtime.exec(task, healthCommand(check), check.timeoutMs)
      return { ok: code === 0, output: output.trim() === '' ? `exit code ${code}` : output.trim() }
    } catch (thrown) {
      return { ok: false, output: reasonOf(thrown) }
    }
  }

  function run(task: TaskId, check: Health, listener: Listener): void {
    const entry = { cancel: () => {} }
    watched.set(task, entry)
    const schedule = (state: HealthState): void => {
      entry.cancel = clock.after(Math.max(0, state.nextAtMs - clock.now()), async () => {
        const { ok, output } = await probe(task, check)
        if (watched.get(task) !== entry) return
        const next = afterProbe(check, state, { ok, nowMs: clock.now() })
        if (next.status !== state.status) listener(next.status, output)
        schedule(next)
      })
    }
    schedule(startHealth(check, clock.now()))
  }

  function unwatch(task: TaskId): void {
    watched.get(task)?.cancel()
    watched.delete(task)
  }

  return {
    watch(task, check, listener) {
      unwatch(task)
      run(task, check, listener)
    },
    unwatch,
    stop() {
      for (const task of [...watched.keys()]) unwatch(task)
    },
  }
}
