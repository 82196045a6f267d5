// What is so, whatever the nodes believe: which programs run, who can reach whom, since when. Kept up to date from what happens in the world.
import type { NodeId } from '../../protocol/ids.ts'
import type { Cluster } from './cluster.ts'
import type { Machine } from './world/machine.ts'
import type { Program } from './world/programs.ts'

export interface Truth {
  /** Programs that run, on all machines. */
  programs(): readonly Program[]
  /** Virtual ms since which the machine has had no running agent; undefined while it has one. */
  downSince(machine: Machine): number | undefined
  /** Virtual ms since which the agent is up, running, and reaches every other running agent both ways. */
  soundSince(machine: Machine): number | undefined
  /** Looks at the world; to be called at least at each change of it. */
  look(): void
}

export function createTruth(cluster: Cluster): Truth {
  const { world } = cluster
  const down = new Map<Machine, number>()
  const sound = new Map<Machine, number>()

  function note(map: Map<Machine, number>, machine: Machine, holds: boolean): void {
    if (!holds) map.delete(machine)
    else if (!map.has(machine)) map.set(machine, world.time.now())
  }

  function isRunning(machine: Machine): boolean {
    const agent = cluster.agentOn(machine)
    return agent?.process.state() === 'running' && agent.begun
  }

  function linked(a: Machine, b: Machine): boolean {
    return a === b || !(world.net.isCut(a, b) || world.net.isCut(b, a))
  }

  return {
    programs: () => world.machines.flatMap((m) => [...m.programs.values()].filter((program) => program.running)),
    downSince: (machine) => down.get(machine),
    soundSince: (machine) => sound.get(machine),
    look() {
      const { machines } = world
      const running = machines.filter(isRunning)
      for (const machine of machines) {
        const isUp = isRunning(machine)
        note(down, machine, cluster.agentOn(machine) === undefined)
        const reached = isUp ? running.filter((other) => linked(machine, other)).length : 0
        note(sound, machine, isUp && reached === running.length && !world.net.isClogged(machine))
      }
    },
  }
}

/** The machine whose agent has this node id; of two, the one that runs. */
export function machineOf(cluster: Cluster, node: NodeId): Machine | undefined {
  const agents = [...cluster.world.agents.values()].filter(({ self }) => self === node)
  return (agents.find(({ machine }) => cluster.agentOn(machine) !== undefined) ?? agents[0])?.machine
}
