/**
 * Tasks as containers of the Docker engine of this machine (design.md 9), through dockerode.
 *
 * A task is two containers: a sandbox, which sleeps and holds the network namespace so that a data plane can furnish it before the task's first
 * instruction, and the task's own, which joins it. Both are found again by their labels (labels.ts), after a restart of agent or engine; a container
 * without them is never touched. An engine that is away changes nothing of what is known: when it is back, what is there is compared with that.
 */
import type { ContainerInspectInfo } from 'dockerode'
import type { NodeId, TaskId } from '../../../protocol/ids.ts'
import type { HealthConfig } from '../../../protocol/spec.ts'
import { assert, Fault, fault, reasonOf } from '../../fault.ts'
import type {
  Clock,
  Exit,
  Log,
  LogLine,
  LogQuery,
  ObservedTask,
  Preparing,
  Runtime,
  Sandbox,
  TaskPlan,
} from '../../world.ts'
import { create, inspect, listOurs, remove, signal, start } from './containers.ts'
import { containerCall, sandboxCall } from './create.ts'
import type { Engine } from './engine.ts'
import { runIn } from './exec.ts'
import { createImages, inspectImage } from './images.ts'
import { label, readLabels } from './labels.ts'
import { lastWords, readLogs } from './logs.ts'
import { type Entry, exitOf, gone } from './tasks.ts'
import { watchEngine } from './watch.ts'

export interface DockerRuntimeOptions {
  /** It answered; when it is away it is looked for at `socketPath`. */
  readonly engine: Engine
  readonly socketPath: string
  readonly node: NodeId
  /** Where sandboxes are: 'none' when the data plane furnishes them, else on Docker's own bridge. */
  readonly network: 'none' | 'bridge'
  readonly clock: Clock
  readonly log: Log
}

/** 30 s beyond the grace: SIGKILL ends everything but what waits for a dead disk. */
const stopMs = 30_000
/** 5 s: what could not be removed is tried again. */
const removeAgainMs = 5_000

export function createDockerRuntime(options: DockerRuntimeOptions): Runtime {
  const { node, clock, log } = options
  const images = createImages(clock)
  const entries = new Map<TaskId, Entry>()
  /** Sandboxes of tasks that are about to start, and of those that run. */
  const sandboxes = new Map<TaskId, string>()
  /** To be removed once the engine lets us. */
  const doomed = new Set<TaskId>()
  const listeners: ((task: TaskId, exit: Exit) => void)[] = []
  let engine = options.engine
  let adopted: Promise<void> | undefined
  let isClosed = false

  const watch = watchEngine({ ...options, onOpened, onDied }, engine)

  async function onOpened(now: Engine): Promise<void> {
    engine = now
    await adopt()
    await compare()
    removeDoomed()
  }

  function onDied(container: string, attributes: Readonly<Record<string, string>>): void {
    const task = attributes[label.task] ?? ''
    const entry = entries.get(task)
    if (sandboxes.get(task) === container) lostSandbox(task)
    if (entry === undefined || entry.container !== container) return
    entry.isDead = true
    if (entry.isStarted) void settle(entry)
  }

  /** Without it a task has no network, on Docker's bridge at once: the task ends, and is replaced. */
  function lostSandbox(task: TaskId): void {
    const entry = entries.get(task)
    if (entry === undefined || entry.exit !== undefined || entry.isDead) return
    log.warn('the sandbox of a task ended, and the task with it', { task })
    signal(engine, entry.container, 'SIGKILL').catch((thrown: unknown) => {
      log.warn('a task without a sandbox could not be ended', { task, reason: reasonOf(thrown) })
    })
  }

  /** Its container ended or is gone: how is asked once. */
  function settle(entry: Entry): Promise<void> {
    entry.settling ??= settleNow(entry)
    return entry.settling
  }

  async function settleNow(entry: Entry): Promise<void> {
    const [found, lastLine] = await Promise.all([
      inspect(engine, entry.container).catch(() => undefined),
      entry.tty ? '' : lastWords(engine, entry),
    ])
    const exit = found === undefined ? gone(clock.wall()) : exitOf(found, lastLine)
    entry.exit = exit
    for (const listener of listeners) listener(entry.task, exit)
    for (const wake of entry.onEnd) wake()
    entry.onEnd.clear()
    dropSandbox(entry.task)
  }

  function dropSandbox(task: TaskId): void {
    const sandbox = sandboxes.get(task)
    if (sandbox === undefined) return
    sandboxes.delete(task)
    // What is left of it is found by `compare`, as it is no known task's.
    const dropping = remove(engine, sandbox)
      .catch(doomSoon)
      .finally(() => pending.delete(dropping))
    pending.add(dropping)
  }

  /** Removals under way: an agent that ends waits for them. */
  const pending = new Set<Promise<void>>()
  let removing = false
  function doomSoon(): void {
    if (removing || isClosed) return
    removing = true
    clock.after(removeAgainMs, () => {
      removing = false
      if (!isClosed) void compare().then(removeDoomed, doomSoon)
    })
  }

  /** Tasks of an earlier run of the agent, once. */
  function adopt(): Promise<void> {
    adopted ??= adoptNow().catch((thrown: unknown) => {
      adopted = undefined
      throw thrown
    })
    return adopted
  }

  async function adoptNow(): Promise<void> {
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
        found.State.Status === 'created'
          ? gone(clock.wall())
          : exitOf(found, entry.tty ? '' : await lastWords(engine, entry))
    }
    for (const task of [...sandboxes.keys()])
      if (entries.get(task) === undefined || entries.get(task)?.exit !== undefined) dropSandbox(task)
  }

  /** What is there against what is known, after a time without events. */
  async function compare(): Promise<void> {
    const there = await listOurs(engine, node)
    const running = new Set(there.filter(({ State }) => State === 'running').map(({ Id }) => Id))
    for (const entry of entries.values()) {
      if (!entry.isStarted || entry.exit !== undefined) continue
      if (!running.has(entry.container)) await settle(entry)
      else if (!running.has(sandboxes.get(entry.task) ?? '')) lostSandbox(entry.task)
    }
    const known = new Set([...sandboxes.values(), ...[...entries.values()].map(({ container }) => container)])
    for (const { Id, Labels } of there) {
      // One whose call was given up as too late, or the sandbox of a task that is no more.
      const isBegun =
        entries.get(Labels[label.task] ?? '')?.isStarted === false || starting.has(Labels[label.task] ?? '')
      if (!known.has(Id) && !isBegun) await remove(engine, Id)
    }
  }

  /** Tasks whose containers are being made: their ids are not known yet. */
  const starting = new Set<TaskId>()

  async function makeSandbox(plan: TaskPlan, way: Preparing): Promise<Sandbox> {
    await adopt()
    assert(!sandboxes.has(plan.task), `task ${plan.name} has one sandbox`)
    starting.add(plan.task)
    try {
      await images.havePause(engine)
      await images.have(engine, plan.image, way)
      const container = await create(engine, sandboxCall(plan, node, options.network))
      sandboxes.set(plan.task, container)
      await start(engine, container)
      const sandbox = sandboxOf(await inspect(engine, container))
      if (sandbox === undefined) throw fault('unavailable', 'The sandbox of the task ended at once')
      return sandbox
    } catch (thrown) {
      throw cannot(thrown)
    } finally {
      starting.delete(plan.task)
    }
  }

  /** Starts under way, for whoever stops the task meanwhile. */
  const begun = new Map<TaskId, Promise<unknown>>()

  function begin(plan: TaskPlan): Promise<{ readonly pid: number | undefined }> {
    const beginning = beginNow(plan)
    begun.set(
      plan.task,
      beginning.catch(() => undefined).finally(() => begun.delete(plan.task)),
    )
    return beginning
  }

  async function beginNow(plan: TaskPlan): Promise<{ readonly pid: number | undefined }> {
    const { task, service, slot, attachment } = plan
    assert(!entries.has(task) && sandboxes.has(task), `task ${plan.name} is started once, in its sandbox`)
    const entry: Entry = {
      ...{ task, service, slot, attachment, tty: plan.container.tty, container: '' },
      ...{ isStarted: false, isDead: false, onEnd: new Set() },
    }
    entries.set(task, entry)
    try {
      entry.container = await create(engine, containerCall(plan, node))
      await start(engine, entry.container)
      entry.pid = (await inspect(engine, entry.container))?.State.Pid
    } catch (thrown) {
      entries.delete(task)
      await removeTask(task).catch(() => undefined)
      throw cannot(thrown)
    }
    entry.isStarted = true
    if (entry.isDead || entry.pid === 0) void settle(entry)
    return { pid: entry.pid || undefined }
  }

  async function stop(task: TaskId, how: { readonly signal: string; readonly graceMs: number }): Promise<void> {
    await adopt()
    await begun.get(task)
    const entry = entries.get(task)
    if (entry === undefined || entry.exit !== undefined) return
    // A second stop shortens the grace and does not signal again: many programs take a second signal for "at once".
    if (entry.isStopping !== true) await signal(engine, entry.container, how.signal)
    entry.isStopping = true
    const kill = () => void signal(engine, entry.container, 'SIGKILL').catch(() => undefined)
    const cancelKill = clock.after(how.graceMs, kill)
    const ended = await new Promise<boolean>((resolve) => {
      if (entry.exit !== undefined) return resolve(true)
      const cancel = clock.after(how.graceMs + stopMs, () => resolve(false))
      entry.onEnd.add(() => {
        cancel()
        resolve(true)
      })
    })
    cancelKill()
    if (!ended) throw fault('timeout', `Docker has not ended ${task} ${stopMs / 1000} s after SIGKILL`)
  }

  function known(task: TaskId): Entry {
    const entry = entries.get(task)
    if (entry === undefined) throw fault('not-found', `Task ${task} is not on this node`)
    return entry
  }

  /** By its labels, so that nothing of it is left that a call which came too late has made. */
  async function removeTask(task: TaskId): Promise<void> {
    doomed.add(task)
    sandboxes.delete(task)
    try {
      for (const { Id } of await listOurs(engine, node, task)) await remove(engine, Id)
      doomed.delete(task)
    } catch (thrown) {
      doomSoon()
      throw thrown
    }
  }

  function removeDoomed(): void {
    for (const task of [...doomed]) void removeTask(task).catch(() => undefined)
  }

  return {
    name: 'docker',
    // One that is not here may be fetched: only the start tells.
    missing: async () => undefined,
    sandbox: makeSandbox,
    start: begin,
    stop,
    async list() {
      await adopt()
      const observed: ObservedTask[] = []
      for (const entry of entries.values()) observed.push(await observe(entry))
      return observed.sort((a, b) => (a.task < b.task ? -1 : 1))
    },
    onExit: (listener) => void listeners.push(listener),
    async exec(task, argv, timeoutMs) {
      await adopt()
      const { container, exit } = known(task)
      if (exit !== undefined) throw fault('unavailable', `Task ${task} does not run`)
      return await runIn(engine, container, { argv, timeoutMs })
    },
    async *logs(task: TaskId, query: LogQuery): AsyncGenerator<LogLine> {
      await adopt()
      yield* readLogs(engine, known(task), query)
    },
    async imageHealth(task) {
      const found = await inspect(engine, known(task).container)
      if (found === undefined) return undefined
      const image = await inspectImage(engine, found.Image)
      return (image.Config.Healthcheck ?? undefined) as HealthConfig | undefined
    },
    async remove(task) {
      await adopt()
      const entry = entries.get(task)
      if (entry !== undefined && entry.exit === undefined) throw fault('conflict', `Task ${task} runs`, 'Stop it first')
      entries.delete(task)
      await removeTask(task)
    },
    async close() {
      isClosed = true
      watch.close()
      await Promise.all(pending)
    },
  }

  async function observe(entry: Entry): Promise<ObservedTask> {
    const { task, service, slot, attachment, exit } = entry
    const sandbox = exit === undefined ? sandboxes.get(task) : undefined
    return {
      ...{ task, service, slot, attachment, exit },
      pid: exit === undefined ? entry.pid : undefined,
      running: exit === undefined,
      sandbox: sandbox === undefined ? undefined : sandboxOf(await inspect(engine, sandbox)),
    }
  }
}

function sandboxOf(found: ContainerInspectInfo | undefined): Sandbox | undefined {
  if (found === undefined || !found.State.Running) return undefined
  return { pid: found.State.Pid, address: found.NetworkSettings.Networks.bridge?.IPAddress || undefined }
}

/** Whatever Docker refuses, this node cannot run the task now; another perhaps can, or this one later. */
function cannot(thrown: unknown): Fault {
  const told = thrown instanceof Fault ? thrown : fault('unavailable', reasonOf(thrown), undefined, thrown)
  if (['program-missing', 'invalid', 'unsupported'].includes(told.code)) return told
  return fault('unavailable', told.message, told.fix, thrown)
}
