// Builders of views for tests of decisions: a few words make a member, a service, a task. Ids are readable, not 25 characters.

import type { Liveness, Member, Stamped, View } from '../../../agent/core/view.ts'
import { templateHash } from '../../../agent/core/wanted.ts'
import type { Version } from '../../../protocol/hlc.ts'
import type {
  EndpointValue,
  GuestValue,
  MemberValue,
  NetworkValue,
  ServiceValue,
  TaskValue,
} from '../../../protocol/model.ts'
import type { NodeSpec, ServiceSpec } from '../../../protocol/spec.ts'

export const zero: Version = { ms: 0, counter: 0, node: '' }

export function at(ms: number, node = ''): Version {
  return { ms, counter: 0, node }
}

export function stamped<V>(id: string, value: V): Stamped<V> {
  return { id, value, version: zero, author: { node: '', log: '' } }
}

export interface MemberOptions {
  readonly liveness?: Liveness
  readonly sinceMs?: number
  readonly availability?: NodeSpec['Availability']
  readonly labels?: Record<string, string>
  readonly value?: Partial<MemberValue>
}

export function memberValue(id: string, value: Partial<MemberValue> = {}): MemberValue {
  return {
    name: id,
    peerId: id,
    boot: `boot-${id}`,
    run: `run-${id}`,
    startedMs: 0,
    presence: 'up',
    listen: [],
    mesh: [],
    addresses: ['127.0.0.1'],
    networks: [],
    engineLabels: {},
    platform: { os: 'linux', arch: 'amd64' },
    resources: { nanoCpus: 4e9, memoryBytes: 8e9 },
    version: '0.1.0',
    runtimes: ['process'],
    dataplane: 'userspace',
    ...value,
  }
}

export function member(id: string, options: MemberOptions = {}): Member {
  const { liveness = 'alive', sinceMs = 0, availability = 'active', labels = {}, value = {} } = options
  return {
    id,
    record: stamped(id, memberValue(id, value)),
    node: { spec: { Availability: availability, Labels: labels }, created: zero },
    liveness,
    sinceMs,
  }
}

export interface ServiceOptions {
  readonly name?: string
  readonly replicas?: number | 'global'
  readonly created?: Version
  readonly generation?: number
  readonly ports?: ServiceValue['ports']
  readonly vips?: ServiceValue['vips']
  readonly labels?: Record<string, string>
  readonly networks?: readonly string[]
  readonly order?: 'start-first' | 'stop-first'
  readonly template?: Partial<ServiceSpec['TaskTemplate']>
  readonly container?: Partial<ServiceSpec['TaskTemplate']['ContainerSpec']>
}

export function serviceValue(id: string, o: ServiceOptions = {}): ServiceValue {
  const spec: ServiceSpec = {
    Name: o.name ?? id,
    Labels: o.labels ?? {},
    Mode: o.replicas === 'global' ? { Global: {} } : { Replicated: { Replicas: o.replicas ?? 1 } },
    TaskTemplate: {
      ContainerSpec: { Image: 'web', ...o.container },
      Networks: (o.networks ?? []).map((Target) => ({ Target })),
      ...o.template,
    },
    ...(o.order === undefined ? {} : { UpdateConfig: { Order: o.order } }),
    EndpointSpec: {
      Ports: (o.ports ?? []).map((p) => ({
        Protocol: p.protocol,
        TargetPort: p.target,
        PublishedPort: p.published,
        PublishMode: p.mode,
      })),
    },
  }
  return {
    spec,
    created: o.created ?? zero,
    ancestors: [],
    generation: o.generation ?? 1,
    vips: o.vips ?? [],
    ports: o.ports ?? [],
    updatedMs: 0,
  }
}

export function service(id: string, options: ServiceOptions = {}): Stamped<ServiceValue> {
  return stamped(id, serviceValue(id, options))
}

export function task(
  id: string,
  of: Stamped<ServiceValue>,
  value: Partial<TaskValue> & { readonly slot: string; readonly node: string },
): Stamped<TaskValue> {
  return stamped(id, {
    service: of.id,
    boot: `boot-${value.node}`,
    created: zero,
    generation: of.value.generation,
    template: templateHash(of.value.spec),
    image: 'web',
    state: 'running',
    stateMs: 0,
    message: '',
    addresses: [],
    ports: [],
    ...value,
  })
}

export function guest(id: string, value: Partial<GuestValue> = {}): Stamped<GuestValue> {
  const node = value.node ?? 'n1'
  const common = {
    network: 'net',
    node,
    boot: `boot-${node}`,
    created: zero,
    container: `c-${id}`,
    name: id,
    aliases: [],
  }
  return stamped(id, { ...common, alone: false, ...value })
}

export function network(id: string, subnet: string, created: Version = zero): Stamped<NetworkValue> {
  const gateway = subnet.replace(/\.\d+\/.*$/, '.1')
  return stamped(id, { spec: { Name: id }, created, subnet, gateway })
}

export interface ViewParts {
  readonly self?: string
  readonly members?: readonly Member[]
  readonly services?: readonly Stamped<ServiceValue>[]
  readonly tasks?: readonly Stamped<TaskValue>[]
  readonly networks?: readonly Stamped<NetworkValue>[]
  readonly endpoints?: readonly (readonly [string, Stamped<EndpointValue>])[]
  readonly guests?: readonly Stamped<GuestValue>[]
}

/** What a view says of tasks, over a map that a test may change: new arrays each time. */
export function tasksIn(
  tasks: ReadonlyMap<string, Stamped<TaskValue>>,
  self: string,
): Pick<View, 'tasks' | 'slotsOf' | 'ownTasks'> {
  return {
    tasks,
    slotsOf: (service) => bySlot([...tasks.values()].filter(({ value }) => value.service === service)),
    ownTasks: () => [...tasks.values()].filter(({ value }) => value.node === self),
  }
}

function bySlot(tasks: readonly Stamped<TaskValue>[]): ReturnType<View['slotsOf']> {
  return Map.groupBy(
    [...tasks].sort((a, b) => (a.id < b.id ? -1 : 1)),
    ({ value }) => value.slot,
  )
}

export function view(parts: ViewParts): View {
  const byId = <T extends { readonly id: string }>(items: readonly T[] = []) => new Map(items.map((i) => [i.id, i]))
  const endpoints = new Map<string, Map<string, Stamped<EndpointValue>>>()
  for (const [net, endpoint] of parts.endpoints ?? []) {
    endpoints.set(net, (endpoints.get(net) ?? new Map()).set(endpoint.id, endpoint))
  }
  const byService = Map.groupBy(parts.tasks ?? [], ({ value }) => value.service)
  const self = parts.self ?? parts.members?.[0]?.id ?? 'n1'
  return {
    self,
    revision: 1,
    settings: undefined,
    members: byId(parts.members),
    removals: new Map(),
    tokens: new Map(),
    networks: byId(parts.networks),
    services: byId(parts.services),
    ...tasksIn(byId(parts.tasks), self),
    // Of a thousand services each asks once.
    slotsOf: (id) => bySlot(byService.get(id) ?? []),
    endpoints,
    guests: byId(parts.guests),
  }
}
