/** A view of a small cluster for tests of names: node n1, networks and services as told, one ready endpoint a task. */
import type { Stamped, View } from '../../../agent/core/view.ts'
import type { EndpointValue, GuestValue, NetworkValue, ServiceValue, TaskValue } from '../../../protocol/model.ts'
import { tasksIn } from '../placement/build.ts'

export interface ServiceOptions {
  readonly id?: string
  readonly networks: readonly { readonly network: string; readonly aliases?: readonly string[] }[]
  readonly mode?: 'vip' | 'dnsrr'
  readonly labels?: Readonly<Record<string, string>>
  /** Creation, ms: the earlier wins. */
  readonly createdMs?: number
  readonly ports?: readonly { readonly target: number; readonly protocol?: 'tcp' | 'udp'; readonly name?: string }[]
}

export interface TaskOptions {
  readonly ready?: boolean
  readonly draining?: boolean
  readonly state?: TaskValue['state']
  readonly aliases?: readonly string[]
  readonly hostname?: string
}

export function viewBuilder() {
  const networks = new Map<string, Stamped<NetworkValue>>()
  const services = new Map<string, Stamped<ServiceValue>>()
  const tasks = new Map<string, Stamped<TaskValue>>()
  const endpoints = new Map<string, Map<string, Stamped<EndpointValue>>>()
  const guests = new Map<string, Stamped<GuestValue>>()
  let clock = 1
  const stamp = <V>(id: string, value: V): Stamped<V> => ({
    id,
    value,
    version: { ms: clock++, counter: 0, node: 'n1' },
    author: { node: 'n1', log: 'l' },
  })
  const created = (ms: number) => ({ ms, counter: 0, node: 'n1' })

  const self = {
    network(name: string, options: { internal?: boolean } = {}) {
      const spec = { Name: name, ...(options.internal ? { Internal: true } : {}) }
      networks.set(
        `net-${name}`,
        stamp(`net-${name}`, { spec, created: created(1), subnet: '10.0.1.0/24', gateway: '10.0.1.1' }),
      )
      endpoints.set(`net-${name}`, new Map())
      return self
    },
    service(name: string, options: ServiceOptions) {
      const id = options.id ?? `svc-${name}`
      const attached = options.networks.map((n) => ({ Target: `net-${n.network}`, Aliases: [...(n.aliases ?? [])] }))
      const ports = (options.ports ?? []).map((p) => ({
        TargetPort: p.target,
        Protocol: p.protocol ?? ('tcp' as const),
        ...(p.name === undefined ? {} : { Name: p.name }),
      }))
      services.set(
        id,
        stamp(id, {
          spec: {
            Name: name,
            Labels: { ...options.labels },
            TaskTemplate: { ContainerSpec: { Image: 'x' }, Networks: attached },
            EndpointSpec: { Mode: options.mode ?? 'vip', Ports: ports },
          },
          created: created(options.createdMs ?? clock),
          ancestors: [],
          generation: 1,
          vips: options.networks.map((n, i) => ({ network: `net-${n.network}`, address: `10.0.1.${10 + i}` })),
          ports: [],
          updatedMs: 0,
        }),
      )
      return self
    },
    task(id: string, service: string, slot: string, options: TaskOptions = {}) {
      const serviceId = services.has(service) ? service : `svc-${service}`
      const attached = services.get(serviceId)?.value.spec.TaskTemplate.Networks ?? []
      const addresses = attached.map((n, i) => ({ network: n.Target, address: `10.0.${i + 1}.${100 + tasks.size}` }))
      const ports = (services.get(serviceId)?.value.spec.EndpointSpec?.Ports ?? []).map((p) => ({
        protocol: p.Protocol ?? ('tcp' as const),
        target: p.TargetPort,
        actual: 20_000 + p.TargetPort,
      }))
      const common = { service: serviceId, slot, node: 'n1', boot: 'b1' }
      tasks.set(
        id,
        stamp(id, {
          ...common,
          created: created(clock),
          generation: 1,
          template: 't',
          image: 'x',
          state: options.state ?? 'running',
          stateMs: 0,
          message: '',
          addresses,
          ports,
        }),
      )
      for (const { network, address } of addresses) {
        const value: EndpointValue = {
          ...common,
          address,
          host: '127.0.0.1',
          ports,
          aliases: [...(options.aliases ?? [])],
          hostname: options.hostname ?? '',
          ready: options.ready ?? true,
          draining: options.draining ?? false,
        }
        endpoints.get(network)?.set(id, stamp(id, value))
      }
      return self
    },
    guest(id: string, network: string, options: Partial<GuestValue> = {}) {
      const value: GuestValue = {
        network: `net-${network}`,
        node: 'n1',
        boot: 'b1',
        created: created(clock),
        container: `${id}`.padEnd(64, '0'),
        name: id,
        aliases: [],
        address: `10.0.1.${200 + guests.size}`,
        alone: false,
        ...options,
      }
      guests.set(id, stamp(id, value))
      return self
    },
    view(): View {
      const member = {
        id: 'n1',
        liveness: 'alive',
        sinceMs: 0,
        record: { value: { boot: 'b1', name: 'n1' } },
        node: { spec: {} },
      }
      return {
        self: 'n1',
        revision: clock,
        settings: undefined,
        members: new Map([['n1', member]]) as unknown as View['members'],
        removals: new Map(),
        tokens: new Map(),
        networks,
        services,
        ...tasksIn(tasks, 'n1'),
        endpoints,
        guests,
      }
    },
  }
  return self
}
