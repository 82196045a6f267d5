// A cluster in one process: machines of a world with an agent each, begun and ended as an operator, a power cut or a kernel would. Knows nothing
// of what should be true of it; checkers do.
import type { Preset } from '../../agent/presets.ts'
import { type Agent, startAgent } from './world/agent.ts'
import type { Machine } from './world/machine.ts'
import { createWorld, type World } from './world/world.ts'

export interface Cluster {
  readonly world: World
  readonly seed: number
  readonly machines: readonly Machine[]
  /** The agent on a machine now, while it runs. */
  agentOn(machine: Machine): Agent | undefined
  /** Agents that run, are not stopped, and have begun. */
  taking(): readonly Agent[]
  /** Agents whose process lives, in the order of their machines. */
  living(): readonly Agent[]
  addNode(options?: AddOptions): Machine
  /** Starts the agent of a machine that is on. */
  start(machine: Machine): Agent
  /** SIGKILL to the agent; its tasks live on, or end with it. */
  kill(machine: Machine, options: { readonly tasks: 'live' | 'end' }): void
  /** A clean end, as by a signal. */
  shutDown(machine: Machine, how: 'leave' | 'back-soon'): Promise<void>
  run(ms: number): Promise<void>
  /** Lets time pass until the condition holds; false when it did not in time. Looked at every 50 ms. */
  runUntil(condition: () => boolean, limitMs: number): Promise<boolean>
}

export interface AddOptions {
  readonly offsetMs?: number
  readonly driftPpm?: number
  readonly bootstrap?: readonly string[]
  /** Add the machine and leave its agent for later. */
  readonly off?: boolean
}

export interface ClusterOptions {
  readonly seed: number
  readonly nodes: number
  readonly preset?: Preset
  /** Wall clocks off by up to so many ms, and drifting by up to 20 ppm as crystals do: 12 s a week. */
  readonly clockSpreadMs?: number
}

/** Nodes that know each other: begun, connected and caught up, or an error. */
export async function createCluster(options: ClusterOptions): Promise<Cluster> {
  const { seed, nodes, preset = 'local', clockSpreadMs = 0 } = options
  const cluster = emptyCluster(seed, preset)
  const chance = cluster.world.chance.stream('clocks')
  for (let i = 0; i < nodes; i++) {
    cluster.addNode({
      offsetMs: chance.between(-clockSpreadMs, clockSpreadMs),
      driftPpm: clockSpreadMs === 0 ? 0 : chance.between(-20, 20),
    })
    await cluster.run(60)
  }
  const met = await cluster.runUntil(
    () =>
      cluster
        .taking()
        .filter(
          (agent) =>
            [...(agent.node?.view.members.values() ?? [])].filter((m) => m.liveness === 'alive').length === nodes,
        ).length === nodes,
    60_000,
  )
  if (!met) throw new Error(`seed ${seed}: ${nodes} nodes did not find each other within 60 s`)
  return cluster
}

export function emptyCluster(seed: number, preset: Preset): Cluster {
  const world = createWorld(seed)
  const { time } = world

  const agentOn = (machine: Machine) => {
    const agent = world.agents.get(machine.index)
    return agent !== undefined && agent.process.state() !== 'ended' ? agent : undefined
  }
  const living = () => world.machines.flatMap((machine) => agentOn(machine) ?? [])

  function start(machine: Machine, bootstrap?: readonly string[]): Agent {
    const founding = world.machines.length === 1 && machine.disk.bytes() === 0
    const known =
      bootstrap ?? world.machines.filter((m) => m !== machine && agentOn(m) !== undefined).map((m) => m.address)
    const agent = startAgent({ world, machine, preset, founding, bootstrap: known.slice(0, 3) })
    world.agents.set(machine.index, agent)
    return agent
  }

  const cluster: Cluster = {
    world,
    seed,
    machines: world.machines,
    agentOn,
    living,
    taking: () => living().filter((agent) => agent.begun && agent.process.state() === 'running'),
    addNode({ offsetMs = 0, driftPpm = 0, bootstrap, off } = {}) {
      const machine = world.addMachine({ offsetMs, driftPpm })
      if (off !== true) start(machine, bootstrap)
      return machine
    },
    start: (machine) => start(machine),
    kill(machine, { tasks }) {
      machine.process?.end()
      if (tasks === 'live') return
      machine.programs.clear()
      machine.ports.clear()
    },
    async shutDown(machine, how) {
      const agent = agentOn(machine)
      if (agent?.node === undefined) return
      const { node, process } = agent
      agent.saidBackSoon = how === 'back-soon'
      await (how === 'leave' ? node.leave() : node.stop({ backSoon: true }))
      if (how === 'leave') agent.over = 'left'
      process.end()
    },
    run: (ms) => time.runTo(time.now() + ms),
    async runUntil(condition, limitMs) {
      const endMs = time.now() + limitMs
      while (!condition()) {
        if (time.now() >= endMs) return false
        await time.runTo(Math.min(endMs, time.now() + 50))
      }
      return true
    },
  }
  return cluster
}
