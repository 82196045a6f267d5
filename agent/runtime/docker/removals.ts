/**
 * Removes containers of ours, and what could not be removed again and again until it is gone.
 */
import type { TaskId } from '../../../protocol/ids.ts'
import { reasonOf } from '../../fault.ts'
import { createTurns } from '../../turns.ts'
import type { Clock, Log } from '../../world.ts'
import { listOurs, remove } from './containers.ts'
import type { Known } from './tasks.ts'

/** 5 s: what could not be removed is tried again. */
const againMs = 5_000
/** 4 at once: Docker 20.10 has locked itself up over 25 sandboxes that were removed together (issue 4, 500 containers). */
const atOnce = 4

export interface Removals {
  /** The sandbox of a task that ended; the task's own container stays for its logs. */
  dropSandbox(task: TaskId): void
  /** All that is there of a task. Rejects when it is not done yet; it is tried again. */
  removeTask(task: TaskId): Promise<void>
  /** The engine answers again. */
  goOn(): void
  /** Waits for what is under way; nothing is tried again. */
  close(): Promise<void>
}

export interface RemovalsOptions {
  readonly clock: Clock
  readonly log: Log
}

/** `compare`: removes what is left of nobody (adoption.ts). */
export function createRemovals(known: Known, { clock, log }: RemovalsOptions, compare: () => Promise<void>): Removals {
  /** To be removed once the engine lets us. */
  const doomed = new Set<TaskId>()
  /** Under way: an agent that ends waits for them. */
  const pending = new Map<TaskId, Promise<void>>()
  const inTurn = createTurns(atOnce)
  let isAgain = false
  /** The last reason, which is told once. */
  let told = ''
  let isClosed = false

  function again(thrown: unknown): void {
    if (isAgain || isClosed) return
    isAgain = true
    const reason = reasonOf(thrown)
    if (reason !== told) log.warn('Docker has not removed what a task left, and is asked again', { reason })
    told = reason
    clock.after(againMs, () => {
      isAgain = false
      if (!isClosed) void compare().then(goOn, again)
    })
  }

  function dropSandbox(task: TaskId): void {
    const sandbox = known.sandboxes.get(task)
    if (sandbox === undefined) return
    known.sandboxes.delete(task)
    // What is left of it is found by `compare`, as it is no known task's.
    const dropping = inTurn(() => remove(known.engine, sandbox))
      .catch(again)
      .finally(() => pending.delete(task))
    pending.set(task, dropping)
  }

  /** By its labels, so that nothing of it is left that a call which came too late has made. */
  async function removeTask(task: TaskId): Promise<void> {
    doomed.add(task)
    known.sandboxes.delete(task)
    // Docker refuses to remove what it is removing, before it is gone.
    await pending.get(task)
    try {
      for (const { Id } of await listOurs(known.engine, known.node, task)) await inTurn(() => remove(known.engine, Id))
      doomed.delete(task)
    } catch (thrown) {
      again(thrown)
      throw thrown
    }
  }

  function goOn(): void {
    told = ''
    for (const task of [...doomed]) void removeTask(task).catch(() => undefined)
  }

  return {
    dropSandbox,
    removeTask,
    goOn,
    async close() {
      isClosed = true
      await Promise.all(pending.values())
    },
  }
}
