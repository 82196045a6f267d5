// What users do while things go wrong: create, scale, change and remove services and networks, drain nodes. Each draws from the seed which node is
// asked, what, and when. Faults of requests are outcomes: many are refused, and rightly.
import type { Cluster } from './cluster.ts'
import type { Operator, ServiceWish } from './operator.ts'
import type { Agent } from './world/agent.ts'
import type { Chance } from './world/chance.ts'

export interface Workload {
  /** Does one thing, somewhere. */
  act(): void
  /** Ends what must not last: drained nodes take part again. */
  wind(): void
}

const imagesOf: readonly string[] = [...Array<string>(8).fill('web'), 'slow', 'crashy', 'broken', 'stubborn', 'shaky']
/** Each change costs every node a look at everything: what 100 tasks do not show, 500 do not either. */
const [servicesMax, replicasMax] = [8, 12]
const popular = 'popular'

export function createWorkload(cluster: Cluster, operator: Operator, chance: Chance): Workload {
  const drained = new Set<string>()
  let made = 0

  function wish(agent: Agent): ServiceWish {
    const networks = [...agent.node!.view.networks.keys()].sort()
    const name = chance.one(0.1) ? popular : `s${++made}`
    return {
      name,
      image: chance.pick(imagesOf),
      replicas: chance.one(0.1) ? 'global' : someReplicas(1),
      networks: networks.length === 0 ? [] : chance.shuffled(networks).slice(0, chance.integer(0, 2)),
      publish: chance.one(0.4) ? [8000 + chance.integer(0, 6)] : [],
      order: chance.one(0.4) ? 'start-first' : 'stop-first',
      ...(chance.one(0.1) ? { maxPerNode: chance.integer(1, 2) } : {}),
      ...(chance.one(0.1) ? { constraints: [`node.hostname!=${chance.pick(cluster.machines).name}`] } : {}),
    }
  }

  const acts: Readonly<Record<string, (agent: Agent) => void>> = {
    createService(agent) {
      if (agent.node!.view.services.size >= servicesMax) return
      const asked = wish(agent)
      operator.createService(agent, asked)
      // What everybody wants is asked of two nodes at one moment; when both say yes, rules must end it.
      if (asked.name === popular) operator.createService(chance.pick(cluster.taking()), asked)
    },
    removeService: (agent) => withService(agent, (id) => operator.removeService(agent, id)),
    scale: (agent) =>
      withService(agent, (id) => {
        const isGlobal = agent.node!.view.services.get(id)?.value.spec.Mode?.Global !== undefined
        if (!isGlobal) operator.scale(agent, id, someReplicas(0))
      }),
    update: (agent) =>
      withService(agent, (id) =>
        operator.updateService(agent, id, (spec) => ({
          ...spec,
          TaskTemplate: { ...spec.TaskTemplate, ForceUpdate: (spec.TaskTemplate.ForceUpdate ?? 0) + 1 },
        })),
      ),
    createNetwork(agent) {
      if (agent.node!.view.networks.size < 5) operator.createNetwork(agent, `net${chance.integer(1, 6)}`)
    },
    removeNetwork(agent) {
      const networks = [...agent.node!.view.networks.keys()].sort()
      if (networks.length > 0) operator.removeNetwork(agent, chance.pick(networks))
    },
    drain(agent) {
      const nodes = [...agent.node!.view.members.keys()].sort()
      if (drained.size > 0 || nodes.length < 3) return
      const node = chance.pick(nodes)
      drained.add(node)
      operator.setAvailability(agent, node, 'drain')
    },
    activate(agent) {
      for (const node of drained) operator.setAvailability(agent, node, 'active')
      drained.clear()
    },
  }
  /** Creation outweighs removal, or there would be nothing to watch. */
  const order: readonly string[] = [
    ...Array(5).fill('createService'),
    ...Array(2).fill('removeService'),
    ...Array(4).fill('scale'),
    ...Array(3).fill('update'),
    ...Array(2).fill('createNetwork'),
    'removeNetwork',
    'drain',
    'activate',
  ]

  function someReplicas(least: number): number {
    return chance.integer(least, Math.min(replicasMax, 2 * cluster.machines.length))
  }

  function withService(agent: Agent, act: (id: string) => void): void {
    const ids = [...agent.node!.view.services.keys()].sort()
    if (ids.length > 0) act(chance.pick(ids))
  }

  return {
    act() {
      const agents = cluster.taking()
      if (agents.length > 0) acts[chance.pick(order)]?.(chance.pick(agents))
    },
    wind() {
      const [agent] = cluster.taking()
      if (agent !== undefined) acts.activate?.(agent)
    },
  }
}
