// A machine: its address, its clocks, its disk, what programs run on it. It outlives the agent and, switched off, loses all but its disk.
import type { TaskId } from '../../../protocol/ids.ts'
import type { Chance } from './chance.ts'
import { createDisk, type SimDisk } from './disk.ts'
import type { Process } from './process.ts'
import type { Program } from './programs.ts'
import type { SimTime } from './time.ts'

export interface Machine {
  readonly index: number
  /** n1, n2 …: the name of its node, unless its disk is a copy. */
  readonly name: string
  readonly address: string
  readonly disk: SimDisk
  readonly programs: Map<TaskId, Program>
  /** Ports in use by programs. */
  readonly ports: Map<number, TaskId>
  /** Images that are not installed. */
  readonly missing: Set<string>
  /** Starts of programs take this many times as long. */
  slowness: number
  process: Process | undefined
  isOn(): boolean
  /** Drawn at each start of the machine. */
  boot(): string
  monotonic(): number
  wall(): number
  /** A span of this machine's clock in virtual ms. */
  toVirtual(ms: number): number
  /** Steps the wall clock; the monotonic one never steps. */
  stepClock(byMs: number): void
  /** Power fails. `keepsWrites`: what was being written still reached the disk. */
  powerOff(options: { readonly keepsWrites: boolean }): void
  powerOn(): void
}

/** 2026-01-01: wall clocks of the world begin here. */
export const epochMs = Date.UTC(2026, 0, 1)

export interface MachineOptions {
  readonly index: number
  readonly time: SimTime
  readonly chance: Chance
  /** Wall clock minus the true time, ms. */
  readonly offsetMs: number
  /** How much faster than true its clocks run, parts in a million. */
  readonly driftPpm: number
}

export function createMachine({ index, time, chance, offsetMs, driftPpm }: MachineOptions): Machine {
  const rate = 1 + driftPpm / 1e6
  const base = chance.between(0, 1e6)
  let offset = offsetMs
  let on = true
  let boots = 1
  const machine: Machine = {
    index,
    name: `n${index + 1}`,
    address: `10.77.${index >> 8}.${index & 255}`,
    disk: createDisk(time, chance.stream('disk')),
    programs: new Map(),
    ports: new Map(),
    missing: new Set(),
    slowness: 1,
    process: undefined,
    isOn: () => on,
    boot: () => `boot-${index + 1}-${boots}`,
    monotonic: () => base + time.now() * rate,
    wall: () => epochMs + offset + time.now() * rate,
    toVirtual: (ms) => ms / rate,
    stepClock(byMs) {
      offset += byMs
    },
    powerOff({ keepsWrites }) {
      if (!on) return
      on = false
      machine.process?.end()
      machine.disk.crash(keepsWrites ? 'kept' : 'lost')
      machine.programs.clear()
      machine.ports.clear()
    },
    powerOn() {
      if (on) return
      on = true
      boots++
    },
  }
  return machine
}
