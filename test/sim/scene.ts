// What named scenarios share: a watched cluster with a service that runs, and the questions that they ask of it.
import type { ServiceValue } from '../../protocol/model.ts'
import { type Cluster, type ClusterOptions, createCluster } from './cluster.ts'
import type { ServiceWish } from './operator.ts'
import { type Watch, watch } from './watch.ts'
import type { Agent } from './world/agent.ts'
import type { Machine } from './world/machine.ts'
import type { Program } from './world/programs.ts'

export interface Scene {
  readonly cluster: Cluster
  readonly watched: Watch
  readonly machines: readonly Machine[]
  /** The agent of n1, n2 …; it must be running. */
  agent(number: number): Agent
  machine(number: number): Machine
  /** Asks the agent of this number, and lets it settle. Returns the id. */
  create(wish: ServiceWish, by?: number): Promise<string>
  running(service: string): readonly Program[]
  service(number: number, id: string): ServiceValue | undefined
  /** Starts of programs since the beginning, of all machines. */
  starts(): number
}

export async function scene(options: ClusterOptions): Promise<Scene> {
  const cluster = await createCluster(options)
  const watched = watch(cluster)
  let starts = 0
  cluster.world.onTold(({ what }) => {
    if (what.is === 'started') starts++
  })
  const machine = (number: number) => cluster.machines[number - 1] as Machine
  const made: Scene = {
    cluster,
    watched,
    machines: cluster.machines,
    machine,
    agent(number) {
      const agent = cluster.agentOn(machine(number))
      if (agent === undefined) throw new Error(`n${number} has no running agent`)
      return agent
    },
    async create(wish, by = 1) {
      const id = watched.operator.createService(made.agent(by), wish)
      await watched.run(20)
      await watched.settle(60_000)
      return id
    },
    running: (service) => watched.truth.programs().filter(({ plan }) => plan.service === service),
    service: (number, id) => made.agent(number).node!.view.services.get(id)?.value,
    starts: () => starts,
  }
  return made
}

/** Cuts both directions between two groups. */
export function cutApart({ cluster }: Scene, side: readonly Machine[]): void {
  const { net } = cluster.world
  for (const a of side) {
    for (const b of cluster.machines) {
      if (side.includes(b)) continue
      net.cut(a, b)
      net.cut(b, a)
    }
  }
}
