/**
 * Knows every task of the process runtime from its start to its removal: finds again what an earlier agent left, notices ends, keeps the logs moving.
 *
 * Ends are noticed at once, by one watch over the folder into which the shims write exit statuses, and by the shim's own end while it is our child.
 * A look every SETTLE_LOOKS x LOOK_MS catches the rest: a shim that was itself killed, a watch that the kernel refused.
 */
import { type FSWatcher, watch } from 'node:fs'
import type { TaskId } from '../../../protocol/ids.ts'
import { reasonOf } from '../../fault.ts'
import type { Cancel, Clock, Exit, Log } from '../../world.ts'
import { openTaskLog, type TaskLog } from './collect.ts'
import { isAlive, isShimAlive, killRemains, type Running, signalGroup, signalNumber, signalOfStatus } from './proc.ts'
import type { Found, Kept, StateDir } from './state.ts'

/** One task. Only the supervisor writes to it. */
export interface Entry {
  readonly kept: Kept
  readonly log: TaskLog
  /** Undefined while it starts, and for a task whose start was cut off. */
  running: Running | undefined
  exit: Exit | undefined
  /** Runs once, at the end. */
  readonly onEnd: Set<() => void>
  /** The last trouble with its output, said once. */
  trouble: string | undefined
}

export interface Supervisor {
  readonly entries: ReadonlyMap<TaskId, Entry>
  /** Finds what an earlier agent left; only the first call does anything. */
  adopt(): void
  /** A new task, which has its folder and no program yet. */
  add(kept: Kept): Entry
  began(entry: Entry, running: Running): void
  /** Looks whether a task has ended, and if so tells everybody. */
  settle(task: TaskId): void
  /** Moves what the task has written to its log. */
  collect(entry: Entry): void
  forget(task: TaskId): void
  onExit(listener: (task: TaskId, exit: Exit) => void): void
  close(): void
}

/** 200 ms: how old a line may be before it is in the log. */
const LOOK_MS = 200
/** With many tasks a look is rarer: 4 ms for each keeps looking below 1 % of a core. */
const LOOK_MS_PER_TASK = 4
/** Once a second: how long the end of a task without a shim may go unseen. */
const SETTLE_LOOKS = 5

export function createSupervisor(world: { state: StateDir; clock: Clock; log: Log; boot: string }): Supervisor {
  const { state, clock, log, boot } = world
  const entries = new Map<TaskId, Entry>()
  const listeners: ((task: TaskId, exit: Exit) => void)[] = []
  let watcher: FSWatcher | undefined
  let cancelLook: Cancel | undefined
  let looks = 0
  let adopted = false
  let closed = false

  function adopt(): void {
    if (adopted) return
    adopted = true
    watcher = watchFolder(state.exits, settle, (error) => {
      watcher = undefined
      log.warn('the end of a task is seen late: its folder cannot be watched', { reason: reasonOf(error) })
    })
    for (const found of state.scan()) adoptOne(found)
    look()
  }

  function adoptOne(found: Found): void {
    if (found.kept === undefined) {
      reject(found)
      return
    }
    const entry = add(found.kept)
    entry.running = found.running
    entry.exit = found.ended
    if (entry.exit !== undefined) entry.log.close()
    else if (found.running === undefined || found.running.boot !== boot) end(found.id, entry, undefined)
    else settle(found.id)
  }

  /** Nobody can account for such a task, so it must not hold a port. */
  function reject(found: Found): void {
    if (found.running?.boot === boot) signalGroup(found.running, signalNumber('KILL'))
    const kept = state.setAside(found.id)
    log.warn('a task on disk cannot be read; it was ended and set aside', { task: found.id, kept })
  }

  function add(kept: Kept): Entry {
    const { task, name } = kept.plan
    let said = false
    const onDropped = (bytes: number) => {
      if (!said) log.warn('a task writes faster than its output is kept', { task: name, bytes })
      said = true
    }
    const entry: Entry = {
      kept,
      log: openTaskLog(state.taskDir(task), () => clock.wall(), onDropped),
      running: undefined,
      exit: undefined,
      onEnd: new Set(),
      trouble: undefined,
    }
    entries.set(task, entry)
    return entry
  }

  function settle(task: TaskId): void {
    const entry = entries.get(task)
    if (entry === undefined || entry.exit !== undefined || entry.running === undefined) return
    let status = state.readExit(task)
    if (status === undefined) {
      if (isAlive(entry.running) || isShimAlive(entry.running)) return
      // Both are gone. The shim's last act may have come between our two looks.
      status = state.readExit(task)
      if (status === undefined) killRemains(entry.running)
    }
    end(task, entry, status)
  }

  function end(
    task: TaskId,
    entry: Entry,
    status: { readonly status: number; readonly atMs: number } | undefined,
  ): void {
    attempt(entry, () => entry.log.finish())
    const exit: Exit = {
      code: status?.status,
      signal: status === undefined ? undefined : signalOfStatus(status.status),
      lastLine: entry.log.lastLine(),
      atMs: status?.atMs ?? clock.wall(),
    }
    entry.exit = exit
    attempt(entry, () => state.writeEnded(task, exit))
    for (const done of [...entry.onEnd]) done()
    for (const listener of listeners) listener(task, exit)
  }

  /** A full disk costs log lines, never the end of a task. Said once for each change of cause. */
  function attempt(entry: Entry, work: () => void): void {
    try {
      work()
      entry.trouble = undefined
    } catch (error) {
      const reason = reasonOf(error)
      if (entry.trouble !== reason) log.warn('output of a task is lost', { task: entry.kept.plan.name, reason })
      entry.trouble = reason
    }
  }

  function look(): void {
    if (closed) return
    looks += 1
    const settles = watcher === undefined || looks % SETTLE_LOOKS === 0
    let running = 0
    for (const [task, entry] of entries) {
      if (entry.exit !== undefined || entry.running === undefined) continue
      running += 1
      attempt(entry, () => entry.log.collect())
      if (settles) settle(task)
    }
    cancelLook = clock.after(Math.max(LOOK_MS, running * LOOK_MS_PER_TASK), look)
  }

  return {
    entries,
    adopt,
    add,
    began(entry, running) {
      entry.running = running
    },
    settle,
    collect: (entry) => attempt(entry, () => entry.log.collect()),
    forget(task) {
      entries.get(task)?.log.close()
      entries.delete(task)
      state.remove(task)
    },
    onExit: (listener) => void listeners.push(listener),
    close() {
      closed = true
      cancelLook?.()
      watcher?.close()
      for (const entry of entries.values()) entry.log.close()
    },
  }
}

/** Calls with the name of what changed; undefined when the kernel has no watch left to give. */
function watchFolder(
  folder: string,
  onChange: (name: string) => void,
  onError: (error: unknown) => void,
): FSWatcher | undefined {
  try {
    const watcher = watch(folder, { persistent: false }, (_, name) => {
      if (name !== null) onChange(name)
    })
    watcher.on('error', (error) => {
      watcher.close()
      onError(error)
    })
    return watcher
  } catch (error) {
    onError(error)
    return undefined
  }
}
