/**
 * Tasks as plain processes of this host (design.md 9): the runtime that needs nothing but a POSIX shell and setsid.
 *
 * A task is a shim (shim.sh, `sh`, 1 MB) and, as its child and in a session of its own, the program. The shim outlives the agent and writes down how the
 * program ended; an agent that starts again reads state.ts's folder and goes on. The walk: task.ts, launch.ts, shim.sh, supervise.ts.
 *
 * What it cannot do without a kernel namespace for processes: end a child that moved to another session. And the agent's systemd unit must say
 * `KillMode=process`, or systemd ends the tasks with the agent.
 */
import type { TaskId } from '../../../protocol/ids.ts'
import type { StopHow } from '../../core/wanted.ts'
import { assert, Fault, fault, reasonOf } from '../../fault.ts'
import type { Clock, Log, LogLine, LogQuery, ObservedTask, Runtime, TaskPlan } from '../../world.ts'
import { ambientOf } from './environment.ts'
import { runCommand } from './exec.ts'
import { launch } from './launch.ts'
import { enterPrefix, type Privacy, probePrivacy } from './namespace.ts'
import { bootId, signalGroup, signalNumber } from './proc.ts'
import { missingSentence } from './program.ts'
import { readLog } from './read.ts'
import { openStateDir } from './state.ts'
import { createSupervisor, type Entry } from './supervise.ts'
import { prepare } from './task.ts'

export interface ProcessRuntimeOptions {
  /** The runtime's own folder; made when absent. */
  readonly dir: string
  readonly clock: Clock
  readonly log: Log
  /** Where programs are looked up, and the tasks' PATH. Default: the agent's, without what npm put before it. */
  readonly path?: string
}

/** What one task is doing here beyond its supervision. */
interface Work {
  /** Settles when its start has succeeded or failed; never rejects. */
  starting: Promise<unknown>
  stopping: boolean
}

export function createProcessRuntime(options: ProcessRuntimeOptions): Runtime {
  const { clock, log } = options
  const ambient = ambientOf(process.env, options.path)
  const self = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
  const boot = bootId()
  const state = openStateDir(options.dir)
  const supervisor = createSupervisor({ state, clock, log, boot })
  const works = new Map<TaskId, Work>()
  // Tried while the agent starts, not with its first task: somebody may wait for that one, whose node died.
  // Nobody looks at it until then: a host that has no process left to give costs tasks their own /etc/hosts, not the agent its life.
  const probed = probePrivacy(self).catch((): Privacy => 'none')

  async function start(plan: TaskPlan): Promise<{ readonly pid: number }> {
    supervisor.adopt()
    assert(!supervisor.entries.has(plan.task) && !works.has(plan.task), `task ${plan.name} is started once`)
    const starting = begin(plan)
    works.set(plan.task, { starting: starting.catch(() => undefined), stopping: false })
    try {
      return { pid: await starting }
    } catch (error) {
      works.delete(plan.task)
      try {
        supervisor.forget(plan.task)
      } catch (left) {
        log.warn('files of a task that was not started are left', { task: plan.name, reason: reasonOf(left) })
      }
      throw error instanceof Fault ? error : cannotStart(plan, error)
    }
  }

  async function begin(plan: TaskPlan): Promise<number> {
    const { hostsFile, resolvFile, netns } = plan.attachment
    const wanted = hostsFile !== undefined || resolvFile !== undefined
    const privacy = wanted ? await probed : 'none'
    const { kept, run, owner } = prepare(plan, { ambient, privacy, self, boot })
    state.create(kept, run, owner)
    const entry = supervisor.add(kept)
    const launched = await launch(
      { taskDir: state.taskDir(plan.task), exitFile: state.exitFile(plan.task), hostsFile, resolvFile, netns, privacy },
      clock,
    )
    supervisor.began(entry, launched.running)
    launched.shim.once('exit', () => supervisor.settle(plan.task))
    // It may have ended already; whoever started it is told that it began, first.
    setImmediate(() => supervisor.settle(plan.task))
    if (privacy !== 'none' && !launched.ownFiles) {
      const files = resolvFile === undefined ? '/etc/hosts' : '/etc/hosts or /etc/resolv.conf'
      log.warn(`a task runs without its names in ${files}: they could not be bound there`, { task: plan.name })
    }
    return launched.running.pid
  }

  async function stop(task: TaskId, how: StopHow): Promise<void> {
    supervisor.adopt()
    const signal = signalNumber(how.signal ?? 'SIGTERM')
    const work = works.get(task) ?? { starting: Promise.resolve(), stopping: false }
    works.set(task, work)
    await work.starting
    const entry = supervisor.entries.get(task)
    if (entry?.running === undefined || entry.exit !== undefined) return
    const { running } = entry
    // A second stop shortens the grace and does not signal again: many programs take a second signal for "at once".
    if (!work.stopping) signalGroup(running, signal)
    work.stopping = true
    const cancel = clock.after(how.graceMs, () => signalGroup(running, signalNumber('KILL')))
    await ended(entry)
    cancel()
  }

  async function* logs(task: TaskId, query: LogQuery): AsyncGenerator<LogLine> {
    const entry = known(task)
    supervisor.collect(entry)
    yield* readLog(task, entry.log, query)
  }

  function known(task: TaskId): Entry {
    supervisor.adopt()
    const entry = supervisor.entries.get(task)
    if (entry === undefined) throw fault('not-found', `Task ${task} is not on this node`)
    return entry
  }

  return {
    name: 'process',
    missing: async (image) => missingSentence(image, ambient.path),
    start,
    stop,
    async list() {
      supervisor.adopt()
      return [...supervisor.entries.values()].map(observed).sort((a, b) => (a.task < b.task ? -1 : 1))
    },
    onExit: (listener) => supervisor.onExit(listener),
    async exec(task, argv, timeoutMs) {
      const { kept, running, exit } = known(task)
      if (running === undefined || exit !== undefined) throw fault('unavailable', `Task ${kept.plan.name} does not run`)
      const words = [
        ...enterPrefix(kept.privacy, running.shim, kept.plan.attachment.netns),
        ...kept.userPrefix,
        ...argv,
      ]
      return await runCommand({ argv: words, env: kept.env, dir: kept.dir, timeoutMs }, clock)
    },
    logs,
    async remove(task) {
      supervisor.adopt()
      const entry = supervisor.entries.get(task)
      if (entry === undefined) return
      if (entry.exit === undefined) throw fault('conflict', `Task ${entry.kept.plan.name} runs`, 'Stop it first')
      supervisor.forget(task)
      works.delete(task)
    },
    async close() {
      supervisor.close()
    },
  }
}

function ended(entry: Entry): Promise<void> {
  return new Promise((resolve) => {
    if (entry.exit !== undefined) resolve()
    else entry.onEnd.add(resolve)
  })
}

function observed(entry: Entry): ObservedTask {
  const { plan } = entry.kept
  return {
    task: plan.task,
    service: plan.service,
    slot: plan.slot,
    pid: entry.exit === undefined ? entry.running?.pid : undefined,
    running: entry.exit === undefined,
    exit: entry.exit,
    attachment: plan.attachment,
    stop: plan.stop,
  }
}

function cannotStart(plan: TaskPlan, error: unknown): Fault {
  return fault(
    'unavailable',
    `Task ${plan.name} cannot be started: ${reasonOf(error)}`,
    'See whether the disk is full: df -h',
    error,
  )
}
