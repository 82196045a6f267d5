// Views with as little in them as a test of the forwarding table needs.

import type { Backend } from '../../../agent/core/routes/types.ts'
import type { Liveness, Member, Stamped, View } from '../../../agent/core/view.ts'
import type { NetworkId, NodeId, ServiceId, TaskId } from '../../../protocol/ids.ts'
import { type EndpointValue, ingressNetwork, type ServiceValue, type TaskValue } from '../../../protocol/model.ts'
import { tasksIn } from '../placement/build.ts'

const version = { ms: 1, counter: 0, node: 'n1' }
const author = { node: 'n1', log: 'l' }

function stamped<V>(id: string, value: V): Stamped<V> {
  return { id, value, version, author }
}

export interface TaskIs {
  readonly id: TaskId
  readonly node: NodeId
  readonly service?: ServiceId
  readonly task?: Partial<TaskValue>
  readonly endpoint?: Partial<EndpointValue>
  readonly networks?: readonly NetworkId[]
}

export interface ViewIs {
  readonly self?: NodeId
  /** Nodes and what SWIM believes of them; every node boots as `boot-<id>`. */
  readonly members?: Readonly<Record<NodeId, Liveness>>
  /** Those whose answers do not come back to `self`. */
  readonly outOfReach?: readonly NodeId[]
  /** Those that were dead, and what they wrote meanwhile has not come. */
  readonly stale?: readonly NodeId[]
  readonly services?: readonly Stamped<ServiceValue>[]
  readonly tasks?: readonly TaskIs[]
}

export function view(is: ViewIs): View {
  const members = new Map<NodeId, Member>()
  for (const [id, liveness] of Object.entries(is.members ?? { n1: 'alive', n2: 'alive' })) {
    const record = stamped(id, { name: id, boot: `boot-${id}` } as Member['record']['value'])
    const reach = is.outOfReach?.includes(id) === true ? { outOfReach: true } : {}
    const news = is.stale?.includes(id) === true ? { isStale: true } : {}
    members.set(id, {
      id,
      record,
      node: {} as Member['node'],
      liveness: liveness as Liveness,
      sinceMs: 0,
      ...reach,
      ...news,
    })
  }
  const tasks = new Map<TaskId, Stamped<TaskValue>>()
  const endpoints = new Map<NetworkId, Map<TaskId, Stamped<EndpointValue>>>()
  for (const one of is.tasks ?? []) {
    const service = one.service ?? 's1'
    const networks = one.networks ?? [ingressNetwork]
    const common = { service, slot: '1', node: one.node, boot: `boot-${one.node}` }
    tasks.set(
      one.id,
      stamped(one.id, {
        ...common,
        state: 'running',
        addresses: networks.map((network) => ({ network, address: '10.0.0.9' })),
        ...one.task,
      } as TaskValue),
    )
    for (const network of networks) {
      const of = endpoints.get(network) ?? new Map()
      endpoints.set(network, of)
      of.set(
        one.id,
        stamped(one.id, {
          ...common,
          address: '10.0.0.9',
          host: '127.0.0.1',
          ports: [{ protocol: 'tcp', target: 80, actual: 20_080 }],
          aliases: [],
          hostname: '',
          ready: true,
          draining: false,
          ...one.endpoint,
        } as EndpointValue),
      )
    }
  }
  const self = is.self ?? 'n1'
  return {
    self,
    revision: 7,
    settings: undefined,
    members,
    removals: new Map(),
    tokens: new Map(),
    networks: new Map(),
    services: new Map((is.services ?? [service('s1')]).map((s) => [s.id, s])),
    ...tasksIn(tasks, self),
    endpoints,
    guests: new Map(),
  }
}

export interface ServiceIs {
  readonly ports?: ServiceValue['ports']
  readonly labels?: Readonly<Record<string, string>>
  readonly networks?: readonly NetworkId[]
  readonly createdMs?: number
}

export function service(id: ServiceId, is: ServiceIs = {}): Stamped<ServiceValue> {
  return stamped(id, {
    spec: {
      Name: `name-${id}`,
      Labels: is.labels ?? {},
      TaskTemplate: {
        ContainerSpec: { Image: 'x' },
        Networks: (is.networks ?? []).map((Target) => ({ Target })),
      },
    },
    created: { ms: is.createdMs ?? 1, counter: 0, node: 'n1' },
    ancestors: [],
    generation: 1,
    vips: (is.networks ?? []).map((network) => ({ network, address: '10.0.0.2' })),
    ports: is.ports ?? [{ protocol: 'tcp', target: 80, published: 8080, mode: 'ingress' }],
    updatedMs: 1,
  })
}

export function backend(task: TaskId, is: Partial<Backend> = {}): Backend {
  return {
    task,
    node: 'n1',
    local: true,
    suspect: false,
    healthy: true,
    host: '127.0.0.1',
    ports: [{ protocol: 'tcp', target: 80, actual: 20_080 }],
    ...is,
  }
}
