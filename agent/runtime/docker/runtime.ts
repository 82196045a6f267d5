/**
 * Tasks as containers of the Docker engine of this machine (design.md 9), through dockerode.
 *
 * A task is two containers: a sandbox, which sleeps and holds the network namespace so that a data plane can furnish it before the task's first
 * instruction, and the task's own, which joins it. Both are found again by their labels (labels.ts), after a restart of agent or engine; a container
 * without them is never touched. An engine that is away changes nothing of what is known: when it is back, what is there is compared with that.
 */
import type { NodeId, TaskId } from '../../../protocol/ids.ts'
import type { HealthConfig } from '../../../protocol/spec.ts'
import type { StopHow } from '../../core/wanted.ts'
import { assert, Fault, fault, reasonOf } from '../../fault.ts'
import type { Cancel, Clock, Exit, Log, LogLine, LogQuery, ObservedTask, Runtime, TaskPlan } from '../../world.ts'
import { adoptTasks, compare } from './adoption.ts'
import { create, inspect, signal, start } from './containers.ts'
import { containerCall } from './create.ts'
import type { Engine } from './engine.ts'
import { runIn } from './exec.ts'
import { createImages, inspectImage } from './images.ts'
import { label } from './labels.ts'
import { lastWords, readLogs } from './logs.ts'
import { createRemovals } from './removals.ts'
import { endWithoutSandbox, findSandbox, makeSandbox } from './sandboxes.ts'
import { type Entry, exitOf, gone, type Known } from './tasks.ts'
import { watchEngine } from './watch.ts'

export interface DockerRuntimeOptions {
  /** It answered; when it is away it is looked for at `socketPath`. */
  readonly engine: Engine
  readonly socketPath: string
  readonly node: NodeId
  /** Where sandboxes are: 'none' when the data plane furnishes them, else on Docker's own bridge. */
  readonly network: 'none' | 'bridge'
  /** Folder of Docker's client configuration: the logins of this node for registries. */
  readonly logins: string
  readonly clock: Clock
  readonly log: Log
}

/** 30 s: what no event told of (a container whose call was given up before the engine made it) is found by then. */
const compareMs = 30_000
/** 30 s beyond the grace: SIGKILL ends everything but what waits for a dead disk. */
const stopMs = 30_000

export function createDockerRuntime(options: DockerRuntimeOptions): Runtime {
  const { node, network, clock, log } = options
  const images = createImages(options)
  const known: Known = {
    ...{ node, engine: options.engine },
    ...{ entries: new Map(), sandboxes: new Map(), starting: new Set() },
  }
  const { entries, sandboxes } = known
  const removals = createRemovals(known, options, compareNow)
  const listeners: ((task: TaskId, exit: Exit) => void)[] = []
  let adopted: Promise<void> | undefined

  let cancelCompare = compareAgain()
  const watch = watchEngine({ ...options, onOpened, onDied }, options.engine)

  async function onOpened(engine: Engine): Promise<void> {
    known.engine = engine
    await adopt()
    await compareNow()
    removals.goOn()
  }

  function compareAgain(): Cancel {
    return clock.after(compareMs, () => {
      cancelCompare = compareAgain()
      // An engine that is away is compared with when it is back.
      void adopt()
        .then(compareNow)
        .then(removals.goOn, () => undefined)
    })
  }

  function compareNow(): Promise<void> {
    return compare(known, { ended: settle, lost: (entry) => endWithoutSandbox(known, entry, log) })
  }

  function onDied(container: string, attributes: Readonly<Record<string, string>>): void {
    const task = attributes[label.task] ?? ''
    const entry = entries.get(task)
    if (entry === undefined) return
    if (sandboxes.get(task) === container) endWithoutSandbox(known, entry, log)
    if (entry.container !== container) return
    entry.isDead = true
    if (entry.isStarted) void settle(entry)
  }

  /** Its container ended or is gone: how is asked once. */
  function settle(entry: Entry): Promise<void> {
    entry.settling ??= settleNow(entry)
    return entry.settling
  }

  async function settleNow(entry: Entry): Promise<void> {
    const [found, lastLine] = await Promise.all([
      inspect(known.engine, entry.container).catch(() => undefined),
      entry.tty ? '' : lastWords(known.engine, entry),
    ])
    const exit = found === undefined ? gone(clock.wall()) : exitOf(found, lastLine)
    entry.exit = exit
    for (const listener of listeners) listener(entry.task, exit)
    for (const wake of entry.onEnd) wake()
    entry.onEnd.clear()
    removals.dropSandbox(entry.task)
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
    await adoptTasks(known, clock.wall())
    for (const task of [...sandboxes.keys()])
      if (entries.get(task) === undefined || entries.get(task)?.exit !== undefined) removals.dropSandbox(task)
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
    const { task, service, slot, attachment, stop } = plan
    assert(!entries.has(task) && sandboxes.has(task), `task ${plan.name} is started once, in its sandbox`)
    const entry: Entry = {
      ...{ task, service, slot, attachment, stop, tty: plan.container.tty, container: '' },
      ...{ isStarted: false, isDead: false, onEnd: new Set() },
    }
    entries.set(task, entry)
    try {
      entry.container = await create(known.engine, containerCall(plan, node))
      await start(known.engine, entry.container)
      entry.pid = (await inspect(known.engine, entry.container))?.State.Pid
    } catch (thrown) {
      entries.delete(task)
      await removals.removeTask(task).catch(() => undefined)
      throw cannot(thrown)
    }
    entry.isStarted = true
    if (entry.isDead || entry.pid === 0) void settle(entry)
    return { pid: entry.pid || undefined }
  }

  async function stop(task: TaskId, how: StopHow): Promise<void> {
    await adopt()
    await begun.get(task)
    const entry = entries.get(task)
    if (entry === undefined || entry.exit !== undefined) return
    // A second stop shortens the grace and does not signal again: many programs take a second signal for "at once".
    if (entry.isStopping !== true) await signal(known.engine, entry.container, how.signal ?? (await ownSignal(entry)))
    entry.isStopping = true
    const kill = () => void signal(known.engine, entry.container, 'SIGKILL').catch(() => undefined)
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

  /** Its image's, which Docker wrote into the container. */
  async function ownSignal({ container }: Entry): Promise<string> {
    const found = await inspect(known.engine, container)
    return (found?.Config as { readonly StopSignal?: string } | undefined)?.StopSignal || 'SIGTERM'
  }

  function heldOf(task: TaskId): Entry {
    const entry = entries.get(task)
    if (entry === undefined) throw fault('not-found', `Task ${task} is not on this node`)
    return entry
  }

  return {
    name: 'docker',
    // One that is not here may be fetched: only the start tells.
    missing: async () => undefined,
    async sandbox(plan, way) {
      await adopt()
      assert(!sandboxes.has(plan.task), `task ${plan.name} has one sandbox`)
      return await makeSandbox(known, { images, network }, { plan, way }).catch((thrown: unknown) => {
        throw cannot(thrown)
      })
    },
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
      const { container, exit } = heldOf(task)
      if (exit !== undefined) throw fault('unavailable', `Task ${task} does not run`)
      return await runIn(known.engine, container, { argv, timeoutMs })
    },
    async *logs(task: TaskId, query: LogQuery): AsyncGenerator<LogLine> {
      await adopt()
      yield* readLogs(known.engine, heldOf(task), query)
    },
    async imageHealth(task) {
      const found = await inspect(known.engine, heldOf(task).container)
      if (found === undefined) return undefined
      const image = await inspectImage(known.engine, found.Image)
      return (image.Config.Healthcheck ?? undefined) as HealthConfig | undefined
    },
    async remove(task) {
      await adopt()
      const entry = entries.get(task)
      if (entry !== undefined && entry.exit === undefined) throw fault('conflict', `Task ${task} runs`, 'Stop it first')
      entries.delete(task)
      await removals.removeTask(task)
    },
    async close() {
      cancelCompare()
      watch.close()
      await removals.close()
    },
  }

  async function observe(entry: Entry): Promise<ObservedTask> {
    const { task, service, slot, attachment, stop, exit } = entry
    return {
      ...{ task, service, slot, attachment, stop, exit },
      pid: exit === undefined ? entry.pid : undefined,
      running: exit === undefined,
      sandbox: exit === undefined ? await findSandbox(known, task) : undefined,
    }
  }
}

/** Whatever Docker refuses, this node cannot run the task now; another perhaps can, or this one later. */
function cannot(thrown: unknown): Fault {
  const told = thrown instanceof Fault ? thrown : fault('unavailable', reasonOf(thrown), undefined, thrown)
  if (['program-missing', 'invalid', 'unsupported'].includes(told.code)) return told
  return fault('unavailable', told.message, told.fix, thrown)
}
