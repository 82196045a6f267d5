// A world: machines, the network between them, virtual time, and what happened. Everything in it follows from one seed.
import type { NodeEvent } from '../../../agent/world.ts'
import type { NodeId } from '../../../protocol/ids.ts'
import type { Agent } from './agent.ts'
import { type Chance, createChance } from './chance.ts'
import { createMachine, type Machine } from './machine.ts'
import { createNet, type Net } from './net.ts'
import type { Program } from './programs.ts'
import { createTime, type SimTime } from './time.ts'
import type { SimTransport } from './transport.ts'

export type Happening =
  /** Its node exists; nothing has happened to it yet. */
  | { readonly is: 'made'; readonly agent: Agent }
  | { readonly is: 'began'; readonly agent: Agent }
  | { readonly is: 'gave up'; readonly agent: Agent; readonly why: string }
  | { readonly is: 'met its double'; readonly agent: Agent; readonly yields: boolean }
  | { readonly is: 'event'; readonly agent: Agent; readonly event: NodeEvent }
  | {
      readonly is: 'error'
      readonly agent: Agent
      readonly message: string
      readonly fields: Readonly<Record<string, unknown>>
    }
  | { readonly is: 'started'; readonly agent: Agent; readonly program: Program }
  | { readonly is: 'ended'; readonly agent: Agent; readonly program: Program }
  /** The agent has given the program its stop signal. */
  | { readonly is: 'signalled'; readonly agent: Agent; readonly program: Program }
  | { readonly is: 'fault'; readonly sentence: string; readonly machines: readonly Machine[] }
  | { readonly is: 'work'; readonly sentence: string; readonly agent: Agent }

export interface Told {
  readonly atMs: number
  readonly what: Happening
}

export interface World {
  readonly time: SimTime
  readonly chance: Chance
  readonly net: Net
  readonly machines: Machine[]
  /** Nodes that hold a certificate. */
  readonly certified: Set<NodeId>
  addMachine(clock?: { readonly offsetMs: number; readonly driftPpm: number }): Machine
  listenerAt(address: string): { readonly machine: Machine; readonly transport: SimTransport | undefined } | undefined
  nameOf(node: NodeId): string
  nextRun(): number
  /** Agents by machine index: the last one started there. */
  readonly agents: Map<number, Agent>
  tell(what: Happening): void
  onTold(listener: (told: Told) => void): void
  /** What happened, oldest first; of much only the last part. */
  readonly chronicle: readonly Told[]
}

/** Enough to tell any story; a run of ten minutes with 30 nodes has some thousands. */
const chronicleMax = 50_000

export function createWorld(seed: number): World {
  const time = createTime()
  const chance = createChance(seed)
  const chronicle: Told[] = []
  const listeners: ((told: Told) => void)[] = []
  const byAddress = new Map<string, Machine>()
  let runs = 0
  const world: World = {
    time,
    chance,
    net: createNet(time, chance.stream('net')),
    machines: [],
    certified: new Set(),
    agents: new Map(),
    chronicle,
    addMachine({ offsetMs, driftPpm } = { offsetMs: 0, driftPpm: 0 }) {
      const index = world.machines.length
      const machine = createMachine({ index, time, chance: chance.stream(`machine ${index}`), offsetMs, driftPpm })
      world.machines.push(machine)
      byAddress.set(machine.address, machine)
      return machine
    },
    listenerAt(address) {
      const machine = byAddress.get(address)
      if (machine === undefined) return undefined
      const agent = world.agents.get(machine.index)
      const listens = agent !== undefined && agent.process.state() !== 'ended'
      return { machine, transport: listens ? agent.transport : undefined }
    },
    nameOf(node) {
      for (const agent of world.agents.values()) if (agent.self === node) return agent.machine.name
      return node.slice(0, 6)
    },
    nextRun: () => ++runs,
    tell(what) {
      const told = { atMs: time.now(), what }
      chronicle.push(told)
      if (chronicle.length > chronicleMax) chronicle.splice(0, chronicleMax / 10)
      for (const listener of listeners) listener(told)
    },
    onTold: (listener) => listeners.push(listener),
  }
  return world
}
