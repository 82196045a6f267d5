// A person with the CLI at one node: does what the API's handlers do, with the same decisions of core/admit, and remembers what was acknowledged.
import { admitNetwork, checkNetworkRemoval } from '../../agent/core/admit/network.ts'
import { admitNewService, admitServiceUpdate } from '../../agent/core/admit/service.ts'
import { Fault, fault } from '../../agent/fault.ts'
import type { Write } from '../../agent/world.ts'
import { versionIndex } from '../../protocol/hlc.ts'
import { idFromBytes, type NetworkId, type NodeId, type ServiceId } from '../../protocol/ids.ts'
import type { ServiceSpec } from '../../protocol/spec.ts'
import type { Agent } from './world/agent.ts'
import type { Chance } from './world/chance.ts'
import type { World } from './world/world.ts'

export interface ServiceWish {
  readonly name: string
  readonly image?: string
  readonly replicas?: number | 'global'
  readonly networks?: readonly string[]
  readonly publish?: readonly number[]
  readonly constraints?: readonly string[]
  readonly labels?: Readonly<Record<string, string>>
  readonly maxPerNode?: number
  readonly order?: 'stop-first' | 'start-first'
}

/** What one request came to: `acknowledged` once the node has said so. */
export interface Outcome {
  readonly what: string
  readonly kind: 'service' | 'network' | 'node'
  readonly id: string
  readonly does: 'create' | 'update' | 'remove'
  readonly by: Agent
  readonly askedMs: number
  /** `undefined`: no answer yet, or never, since the node died. */
  result: 'members' | 'here-only' | Fault | undefined
}

export interface Operator {
  readonly outcomes: readonly Outcome[]
  createNetwork(agent: Agent, name: string): NetworkId
  removeNetwork(agent: Agent, id: NetworkId): void
  createService(agent: Agent, wish: ServiceWish): ServiceId
  /** Changes the spec that the node holds now. */
  updateService(agent: Agent, id: ServiceId, change: (spec: ServiceSpec) => ServiceSpec): void
  scale(agent: Agent, id: ServiceId, replicas: number): void
  removeService(agent: Agent, id: ServiceId): void
  setAvailability(agent: Agent, node: NodeId, availability: 'active' | 'pause' | 'drain'): void
  removeNode(agent: Agent, node: NodeId): void
}

export function createOperator(world: World, chance: Chance): Operator {
  const outcomes: Outcome[] = []

  /** `decide` runs at once; a Fault is an outcome, not an error. */
  function ask(
    agent: Agent,
    asked: Omit<Outcome, 'by' | 'askedMs' | 'result'>,
    decide: () => readonly Write[] | Fault,
  ): string {
    const outcome: Outcome = { ...asked, by: agent, askedMs: world.time.now(), result: undefined }
    outcomes.push(outcome)
    world.tell({ is: 'work', sentence: asked.what, agent })
    world.time.after(0, () =>
      agent.process.enter(() => {
        answer(agent, decide).then(
          (held) => {
            outcome.result = held
          },
          (error: unknown) => {
            if (!(error instanceof Fault)) throw error
            outcome.result = error
          },
        )
      }),
    )
    return asked.id
  }

  async function answer(agent: Agent, decide: () => readonly Write[] | Fault) {
    const view = agent.node?.view
    if (view === undefined || !agent.begun) throw fault('unavailable', 'the agent is not up yet')
    if (Math.abs(view.clockOffsetMs()) > 10_000) throw fault('unavailable', 'the clock of this node is off')
    const writes = decide()
    if (writes instanceof Fault) throw writes
    return (await view.commit(writes)).held
  }

  const viewOf = (agent: Agent) => agent.node!.view
  const newId = () => idFromBytes(chance.bytes(16))

  const operator: Operator = {
    outcomes,
    createNetwork: (agent, name) => {
      const id = newId()
      return ask(agent, { what: `create network ${name}`, kind: 'network', id, does: 'create' }, () => {
        const value = admitNetwork({ Name: name }, viewOf(agent).stamp(), viewOf(agent))
        return value instanceof Fault ? value : [{ scope: 'cluster', kind: 'network', id, value }]
      })
    },
    removeNetwork(agent, id) {
      ask(agent, { what: `remove network ${id.slice(0, 6)}`, kind: 'network', id, does: 'remove' }, () => {
        const held = viewOf(agent).networks.get(id)
        if (held === undefined) return fault('not-found', 'no such network')
        return checkNetworkRemoval(viewOf(agent), held) ?? [{ scope: 'cluster', kind: 'network', id, value: null }]
      })
    },
    createService: (agent, wish) => {
      const id = newId()
      return ask(agent, { what: `create service ${wish.name}`, kind: 'service', id, does: 'create' }, () => {
        const view = viewOf(agent)
        const identity = { id, created: view.stamp(), fallbackName: 'unnamed' }
        const value = admitNewService(specOf(wish), identity, { view, nowMs: agent.machine.wall() })
        return value instanceof Fault ? value : [{ scope: 'cluster', kind: 'service', id, value }]
      })
    },
    updateService(agent, id, change) {
      ask(agent, { what: `update service ${id.slice(0, 6)}`, kind: 'service', id, does: 'update' }, () => {
        const view = viewOf(agent)
        const current = view.services.get(id)
        if (current === undefined) return fault('not-found', 'no such service')
        const request = { raw: change(current.value.spec), index: versionIndex(current.version), rollback: false }
        const value = admitServiceUpdate(current, request, { view, nowMs: agent.machine.wall() })
        if (value instanceof Fault) return value
        return [{ scope: 'cluster', kind: 'service', id, value, expect: current.version }]
      })
    },
    scale(agent, id, replicas) {
      operator.updateService(agent, id, (spec) => ({ ...spec, Mode: { Replicated: { Replicas: replicas } } }))
    },
    removeService(agent, id) {
      ask(agent, { what: `remove service ${id.slice(0, 6)}`, kind: 'service', id, does: 'remove' }, () => {
        if (!viewOf(agent).services.has(id)) return fault('not-found', 'no such service')
        return [{ scope: 'cluster', kind: 'service', id, value: null }]
      })
    },
    setAvailability(agent, node, availability) {
      const what = `set ${world.nameOf(node)} to ${availability}`
      ask(agent, { what, kind: 'node', id: node, does: 'update' }, () => {
        const member = viewOf(agent).members.get(node)
        if (member === undefined) return fault('not-found', 'no such node')
        const value = { ...member.node, spec: { ...member.node.spec, Availability: availability } }
        return [{ scope: 'cluster', kind: 'node', id: node, value }]
      })
    },
    removeNode(agent, node) {
      ask(agent, { what: `remove node ${world.nameOf(node)}`, kind: 'node', id: node, does: 'remove' }, () => {
        const value = { by: agent.self, atMs: Math.floor(agent.machine.wall()), signature: new Uint8Array(64) }
        return [{ scope: 'cluster', kind: 'removal', id: node, value }]
      })
    },
  }
  return operator
}

function specOf(wish: ServiceWish): ServiceSpec {
  const { name, image = 'web', replicas = 1, networks = [], publish = [], constraints = [], labels = {} } = wish
  return {
    Name: name,
    Labels: { ...labels },
    TaskTemplate: {
      ContainerSpec: { Image: image, StopGracePeriod: 2e9 },
      Networks: networks.map((Target) => ({ Target })),
      Placement: {
        Constraints: [...constraints],
        ...(wish.maxPerNode === undefined ? {} : { MaxReplicas: wish.maxPerNode }),
      },
    },
    Mode: replicas === 'global' ? { Global: {} } : { Replicated: { Replicas: replicas } },
    UpdateConfig: { Order: wish.order ?? 'stop-first' },
    EndpointSpec: {
      Mode: 'vip',
      Ports: publish.map((port) => ({ Protocol: 'tcp' as const, TargetPort: 80, PublishedPort: port })),
    },
  }
}
