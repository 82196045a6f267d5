// Programs on a machine and the runtime that starts them for an agent. A program outlives its agent and dies with its machine. What an image
// does is in its name, so that a workload needs no other channel: `web`, `slow`, `crashy`, `broken`, `stubborn`.
import { fault } from '../../../agent/fault.ts'
import type { Exit, ObservedTask, Runtime, TaskPlan } from '../../../agent/world.ts'
import type { TaskId } from '../../../protocol/ids.ts'
import type { Chance } from './chance.ts'
import type { Machine } from './machine.ts'
import type { Process } from './process.ts'
import type { SimTime } from './time.ts'

export interface Program {
  readonly plan: TaskPlan
  readonly machine: Machine
  readonly pid: number
  readonly startedMs: number
  running: boolean
  /** Its ports accept. */
  serves: boolean
  exit: Exit | undefined
}

/** How an image behaves. Times in ms: [least, most]. */
export interface Image {
  readonly startMs: readonly [number, number]
  readonly servesAfterMs: readonly [number, number]
  /** Ends by itself after so long, with this code. */
  readonly livesMs?: readonly [number, number]
  readonly code?: number
  readonly ignoresStop?: boolean
  /** Part of starts that fail outright. */
  readonly failsToStart?: number
}

export const images: Readonly<Record<string, Image>> = {
  web: { startMs: [5, 60], servesAfterMs: [10, 200] },
  slow: { startMs: [200, 3_000], servesAfterMs: [500, 5_000] },
  crashy: { startMs: [5, 60], servesAfterMs: [10, 100], livesMs: [5_000, 90_000], code: 1 },
  broken: { startMs: [5, 60], servesAfterMs: [10, 100], livesMs: [50, 400], code: 2 },
  stubborn: { startMs: [5, 60], servesAfterMs: [10, 200], ignoresStop: true },
  shaky: { startMs: [5, 60], servesAfterMs: [10, 100], failsToStart: 0.3 },
}

export interface ProgramsOptions {
  readonly time: SimTime
  readonly chance: Chance
  readonly process: Process
  /** Told of each start and end, for checkers and the story. */
  readonly onStart: (program: Program) => void
  readonly onEnd: (program: Program) => void
  /** Told of each stop signal. */
  readonly onStop: (program: Program) => void
}

export function createSimRuntime({ time, chance, process, onStart, onEnd, onStop }: ProgramsOptions): Runtime {
  const { machine } = process
  const starting = new Set<TaskId>()

  function end(program: Program, exit: Omit<Exit, 'atMs'>): void {
    if (!program.running) return
    program.running = false
    program.serves = false
    program.exit = { ...exit, atMs: machine.wall() }
    onEnd(program)
    listenersOf(machine).forEach((tell) => {
      tell(program)
    })
  }

  function isGone(program: Program): boolean {
    return !program.running || machine.programs.get(program.plan.task) !== program
  }

  function begin(plan: TaskPlan): Program {
    const image = imageOf(plan.image)
    const pid = 1000 + Math.floor(time.now())
    const program: Program = {
      plan,
      machine,
      pid,
      startedMs: time.now(),
      running: true,
      serves: false,
      exit: undefined,
    }
    machine.programs.set(plan.task, program)
    onStart(program)
    time.after(chance.between(...image.servesAfterMs) * machine.slowness, () => {
      if (!isGone(program)) program.serves = true
    })
    if (image.livesMs !== undefined) {
      const code = image.code ?? 0
      time.after(chance.between(...image.livesMs), () => {
        if (!isGone(program)) end(program, { code, signal: undefined, lastLine: `ended with ${code}` })
      })
    }
    return program
  }

  function inTime<T>(ms: number, act: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      time.after(ms, () => {
        if (process.state() === 'ended') return
        try {
          const value = act()
          process.enter(() => resolve(value))
        } catch (error) {
          process.enter(() => reject(error))
        }
      })
    })
  }

  return {
    name: 'process',
    missing: (image) =>
      inTime(1, () => (machine.missing.has(image) ? `program "${image}" is not on this node` : undefined)),
    start(plan) {
      if (machine.programs.get(plan.task)?.running || starting.has(plan.task)) {
        throw new Error(`task ${plan.task} is started twice`)
      }
      if (machine.missing.has(plan.image)) {
        return inTime(2, () => {
          throw fault('program-missing', `program "${plan.image}" is not on this node`)
        })
      }
      const image = imageOf(plan.image)
      starting.add(plan.task)
      return inTime(chance.between(...image.startMs) * machine.slowness, () => {
        starting.delete(plan.task)
        if (chance.one(image.failsToStart ?? 0)) throw fault('internal', 'fork: resource temporarily unavailable')
        return { pid: begin(plan).pid }
      })
    },
    async stop(task, { graceMs }) {
      const program = machine.programs.get(task)
      if (program === undefined || !program.running) return
      onStop(program)
      const ignores = imageOf(program.plan.image).ignoresStop === true
      await inTime(ignores ? graceMs : chance.between(5, 300) * Math.min(machine.slowness, 3), () =>
        end(program, {
          code: ignores ? 137 : 143,
          signal: ignores ? 'SIGKILL' : 'SIGTERM',
          lastLine: '',
        }),
      )
    },
    list: () => inTime(5, () => [...machine.programs.values()].map(observed)),
    onExit(listener) {
      const tell = (program: Program) => process.enter(() => listener(program.plan.task, program.exit as Exit))
      listenersOf(machine).add(tell)
      process.onEnd(() => listenersOf(machine).delete(tell))
    },
    exec: () => inTime(5, () => ({ code: 0, output: '' })),
    async *logs() {},
    async remove(task) {
      machine.programs.delete(task)
    },
    async close() {},
  }
}

/** A program that an operator ends behind the agent's back. */
export function killProgram(program: Program): void {
  if (!program.running) return
  program.running = false
  program.serves = false
  program.exit = { code: 137, signal: 'SIGKILL', lastLine: '', atMs: program.machine.wall() }
  for (const tell of listenersOf(program.machine)) tell(program)
}

const listeners = new WeakMap<Machine, Set<(program: Program) => void>>()

/** The agent that watches the programs of a machine now; after its end nobody, until the next one. */
function listenersOf(machine: Machine): Set<(program: Program) => void> {
  const found = listeners.get(machine) ?? new Set()
  listeners.set(machine, found)
  return found
}

function imageOf(name: string): Image {
  return images[name.split(':')[0] ?? ''] ?? (images.web as Image)
}

function observed(program: Program): ObservedTask {
  const { plan, pid, running, exit } = program
  return {
    task: plan.task,
    service: plan.service,
    slot: plan.slot,
    pid: running ? pid : undefined,
    running,
    exit,
    attachment: plan.attachment,
    stop: plan.stop,
  }
}
