/**
 * What is to be done here so that a Swarm's networks and services are here too, and what cannot be, and why.
 *
 * Pure, and idempotent: what is here already and alike is left, what is here and differs is told and left. What the API of this cluster refuses beyond this,
 * it says when it is asked.
 */
import type { NetworkSpec, PortConfig, ServiceSpec } from '../../../protocol/spec.ts'
import type { Network, Service } from '../docker.ts'

export interface Swarm {
  readonly networks: readonly Network[]
  readonly services: readonly Service[]
}

export type Step =
  | { readonly kind: 'network'; readonly name: string; readonly does: Outcome; readonly body: NetworkSpec }
  | { readonly kind: 'service'; readonly name: string; readonly does: Outcome; readonly body: ServiceSpec }

export type Outcome =
  | { readonly do: 'create'; readonly notes: readonly string[] }
  | { readonly do: 'keep' }
  /** Here, and not alike: the fields, as paths. */
  | { readonly do: 'differs'; readonly fields: readonly string[] }
  | { readonly do: 'refuse'; readonly why: string }

/** Networks first, in the order of names: services join them. */
export function planImport(from: Swarm, here: Swarm): readonly Step[] {
  const byName = <T extends { readonly name: string }>(a: T, b: T) => (a.name < b.name ? -1 : 1)
  const known = new Map(here.networks.map((network) => [network.Name, networkBody(network)]))
  const networks = from.networks.filter(isOurs).map((network): Step => {
    const body = networkBody(network)
    return { kind: 'network', name: network.Name, body, does: networkOutcome(network, body, known.get(network.Name)) }
  })
  const running = new Map(here.services.map((service) => [service.Spec.Name, serviceBody(service, here)]))
  const services = from.services.map((service): Step => {
    const body = serviceBody(service, from)
    const name = service.Spec.Name
    return { kind: 'service', name, body, does: serviceOutcome(service, body, running.get(name)) }
  })
  return [...networks.toSorted(byName), ...services.toSorted(byName)]
}

/** Of the cluster, and not the one of published ports, which is here without being made. */
function isOurs(network: Network): boolean {
  return network.Scope === 'swarm' && network.Ingress !== true && network.Name !== 'ingress'
}

function networkOutcome({ Driver }: Network, body: NetworkSpec, there: NetworkSpec | undefined): Outcome {
  if (Driver !== 'overlay') return { do: 'refuse', why: `its driver is ${Driver}; networks here are overlays` }
  return there === undefined ? { do: 'create', notes: [] } : compared(body, there)
}

/** What makes a network what it is; its subnets too, for addresses in settings of others. */
function networkBody(network: Network): NetworkSpec {
  const options = Object.entries(network.Options ?? {}).filter(([name]) => name !== vxlanIds)
  return {
    Name: network.Name,
    Driver: 'overlay',
    Internal: network.Internal ?? false,
    Attachable: network.Attachable ?? false,
    EnableIPv6: network.EnableIPv6 ?? false,
    IPAM: {
      Driver: 'default',
      Config: (network.IPAM?.Config ?? []).map(({ Subnet = '' }) => ({ Subnet })),
    },
    Options: Object.fromEntries(options),
    Labels: network.Labels ?? {},
  }
}

/** Numbers that Swarm gave the network itself. */
const vxlanIds = 'com.docker.network.driver.overlay.vxlanid_list'

function serviceOutcome({ Spec }: Service, body: ServiceSpec, there: ServiceSpec | undefined): Outcome {
  const container = Spec.TaskTemplate.ContainerSpec
  const files = [...names(container.Secrets, 'SecretName'), ...names(container.Configs, 'ConfigName')]
  if (files.length > 0)
    return { do: 'refuse', why: `it reads secrets or configs (${files.join(', ')}), which a Swarm does not give away` }
  if (there !== undefined) return compared(body, there)
  return { do: 'create', notes: notesOf(body) }
}

/** What means another thing here. */
function notesOf({ TaskTemplate }: ServiceSpec): readonly string[] {
  const constraints = TaskTemplate.Placement?.Constraints ?? []
  const mounts = TaskTemplate.ContainerSpec.Mounts
  const hasVolumes = Array.isArray(mounts) && mounts.some((mount) => mount?.Type === 'volume')
  return [
    ...constraints.filter((text) => /^node\.id\b/.test(text)).map((text) => `"${text}" names a node of the Swarm`),
    ...constraints
      .filter((text) => /^(node|engine)\.labels\b/.test(text))
      .map((text) => `"${text}" needs that label on nodes here`),
    ...constraints
      .filter((text) => /^node\.role\b/.test(text))
      .map((text) => `"${text}": every node here is a manager`),
    ...(hasVolumes ? ['what is in its volumes stays where it is'] : []),
  ]
}

/** The spec with names of networks for their ids, and with the ports that the Swarm chose, so that clients go on. */
function serviceBody({ Spec, Endpoint }: Service, { networks }: Swarm): ServiceSpec {
  const nameOf = new Map(networks.map(({ Id, Name }) => [Id, Name]))
  const { Networks: older, ...rest } = Spec
  const { Networks: newer, ...template } = Spec.TaskTemplate
  const joined = newer ?? older ?? []
  const attached = joined.map((one) => ({ ...one, Target: nameOf.get(one.Target) ?? one.Target }))
  const chosen = (port: PortConfig) =>
    Endpoint?.Ports?.find((p) => p.TargetPort === port.TargetPort && p.Protocol === port.Protocol)?.PublishedPort
  const ports = (Spec.EndpointSpec?.Ports ?? []).map((port) => {
    const published = port.PublishedPort || chosen(port)
    return published === undefined ? port : { ...port, PublishedPort: published }
  })
  return {
    ...rest,
    TaskTemplate: attached.length === 0 ? template : { ...template, Networks: attached },
    ...(ports.length === 0 ? {} : { EndpointSpec: { ...Spec.EndpointSpec, Ports: ports } }),
  }
}

function names(list: unknown, key: string): readonly string[] {
  return Array.isArray(list) ? list.map((item) => String(item?.[key] ?? '')) : []
}

function compared(wanted: object, there: object): Outcome {
  const fields = differences(wanted, there, '')
  return fields.length === 0 ? { do: 'keep' } : { do: 'differs', fields }
}

/** Paths at which two documents are not alike; nothing, zero, false and the empty are alike. */
function differences(a: unknown, b: unknown, path: string): readonly string[] {
  if (isEmpty(a) && isEmpty(b)) return []
  if (!isObject(a) || !isObject(b)) return JSON.stringify(a) === JSON.stringify(b) ? [] : [path]
  const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])].sort()
  return keys.flatMap((key) => differences(a[key], b[key], path === '' ? key : `${path}.${key}`))
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

function isEmpty(value: unknown): boolean {
  return !value || (isObject(value) && Object.values(value).every(isEmpty))
}
