/**
 * What is there against what is known: the tasks of an earlier run of the agent, and whatever happened while nobody heard the engine's events.
 *
 * Containers of this node are found by their labels alone (labels.ts); one without them is never looked at.
 */
import type { ContainerInfo } from 'dockerode'
import { inspect, listOurs, remove } from './containers.ts'
import { label, readLabels } from './labels.ts'
import { lastWords } from './logs.ts'
import { type Entry, exitOf, gone, type Known } from './tasks.ts'

/** Fills in the tasks and sandboxes of an earlier run. `nowMs`: when one that never began counts as ended. */
export async function adoptTasks({ engine, node, entries, sandboxes }: Known, nowMs: number): Promise<void> {
  for (const { Id, Labels } of await listOurs(engine, node)) {
    if (Labels[label.role] === 'net') sandboxes.set(Labels[label.task] ?? '', Id)
    const known = readLabels(Labels)
    if (known === undefined || Labels[label.role] !== 'task') continue
    const found = await inspect(engine, Id)
    if (found === undefined) continue
    const entry: Entry = { ...known, container: Id, isStarted: true, isDead: false, onEnd: new Set() }
    entry.pid = found.State.Pid
    entries.set(known.task, entry)
    if (found.State.Running) continue
    entry.isDead = true
    entry.exit =
      found.State.Status === 'created' ? gone(nowMs) : exitOf(found, entry.tty ? '' : await lastWords(engine, entry))
  }
}

export interface Differences {
  /** The task's container does not run any more. */
  ended(entry: Entry): Promise<void>
  /** It runs, and its sandbox does not. */
  lost(entry: Entry): void
}

/** What no event told. What belongs to no known task is removed. */
export async function compare(known: Known, { ended, lost }: Differences): Promise<void> {
  const { engine, node, entries, sandboxes, starting } = known
  // Those of before the list: it says nothing of what started since.
  const before = [...entries.values()].filter(({ isStarted }) => isStarted)
  const there = await listOurs(engine, node)
  const running = new Set(there.filter(runs).map(({ Id }) => Id))
  for (const entry of before) {
    if (entry.exit !== undefined) continue
    if (!running.has(entry.container)) await ended(entry)
    else if (!running.has(sandboxes.get(entry.task) ?? '')) lost(entry)
  }
  const ours = new Set([...sandboxes.values(), ...[...entries.values()].map(({ container }) => container)])
  for (const { Id, Labels } of there) {
    // One whose call was given up as too late, or the sandbox of a task that is no more.
    const isBegun = entries.get(Labels[label.task] ?? '')?.isStarted === false || starting.has(Labels[label.task] ?? '')
    if (!ours.has(Id) && !isBegun) await remove(engine, Id)
  }
}

/** Somebody may have paused it. */
function runs({ State }: ContainerInfo): boolean {
  return State === 'running' || State === 'paused'
}
