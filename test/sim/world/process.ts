// A running agent as the operating system sees it: it can be ended at any moment, or stopped and continued. Everything that the world tells
// an agent passes through `enter`, so an ended one hears nothing and a stopped one hears it late: timers first, then what arrived.
import type { Cancel, Clock } from '../../../agent/world.ts'
import type { Machine } from './machine.ts'
import type { SimTime } from './time.ts'

export interface Process {
  readonly machine: Machine
  /** How many agents the world had started when this one began; tells runs apart. */
  readonly number: number
  readonly clock: Clock
  state(): 'running' | 'stopped' | 'ended'
  /** Runs `task` inside the agent: now, when it is continued, or never. */
  enter(task: () => void): void
  stop(): void
  continue(): void
  end(): void
  onEnd(listener: () => void): void
  timers(): number
}

/** As long as agent/real.ts remembers a late timer. */
const lagMemoryMs = 1_000

export function createProcess(time: SimTime, machine: Machine, number: number): Process {
  let state: 'running' | 'stopped' | 'ended' = 'running'
  let lateTimers: (() => void)[] = []
  let arrived: (() => void)[] = []
  let worstMs = 0
  let worstAtMs = 0
  let timers = 0
  const ends: (() => void)[] = []

  function enter(task: () => void): void {
    if (state === 'running') task()
    else if (state === 'stopped') arrived.push(task)
  }

  function after(ms: number, task: () => void): Cancel {
    let open = true
    timers++
    const dueMs = machine.monotonic() + ms
    const fire = () => {
      if (!open || state === 'ended') return
      if (state === 'stopped') {
        lateTimers.push(fire)
        return
      }
      open = false
      timers--
      noteLag(machine.monotonic() - dueMs)
      task()
    }
    const scheduled = time.after(machine.toVirtual(Math.max(ms, 0)), fire)
    return () => {
      if (open) timers--
      open = false
      scheduled.run = undefined
    }
  }

  function noteLag(lateMs: number): void {
    const now = machine.monotonic()
    if (lateMs >= worstMs || now - worstAtMs > lagMemoryMs) {
      worstMs = Math.max(0, lateMs)
      worstAtMs = now
    }
  }

  return {
    machine,
    number,
    clock: {
      now: machine.monotonic,
      wall: machine.wall,
      after,
      lagMs: () => (machine.monotonic() - worstAtMs > lagMemoryMs ? 0 : worstMs),
    },
    state: () => state,
    enter,
    stop() {
      if (state === 'running') state = 'stopped'
    },
    continue() {
      if (state !== 'stopped') return
      state = 'running'
      const waiting = [...lateTimers, ...arrived]
      lateTimers = []
      arrived = []
      for (const task of waiting) time.after(0, () => enter(task))
    },
    end() {
      if (state === 'ended') return
      state = 'ended'
      for (const listener of ends) listener()
    },
    onEnd: (listener) => ends.push(listener),
    timers: () => timers,
  }
}
