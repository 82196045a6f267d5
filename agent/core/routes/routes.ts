/**
 * The whole forwarding table that this node should have, from its view (design.md 8). Equal views give equal tables.
 *
 * An endpoint is in the table while its task is live and running and it does not drain; suspicion and health are marks on it, which
 * pick.ts weighs. A service in conflict is not published and not routed (design.md 6).
 */
import type { NetworkId, ServiceId, TaskId } from '../../../protocol/ids.ts'
import { type EndpointValue, ingressNetwork, type TaskValue } from '../../../protocol/model.ts'
import { ipv6Maker } from '../addresses/dual.ts'
import { conflicts } from '../conflicts.ts'
import { isLiveGuest, isLiveTask } from '../live.ts'
import type { View } from '../view.ts'
import { type Wanted, wanted } from '../wanted.ts'
import { type Overlay, overlay } from './overlay.ts'
import type { Backend, ForwardOptions, PublishedRoute, Routes, ServiceRoute, TaskRoute } from './types.ts'

export function routes(view: View): Routes {
  const clashing = conflicts(view)
  const services = [...view.services.values()]
    .map(wanted)
    .filter((service) => !clashing.has(service.id))
    .sort((a, b) => (a.id < b.id ? -1 : 1))
  const carried = overlay(view)
  const known: Known = { view, services, ipv6Of: ipv6Makers(carried), servings: new Map() }
  const here = networksHere(view).filter((network) => !clashing.has(network))
  return {
    revision: view.revision,
    published: published(known),
    services: here.flatMap((network) => servicesOn(network, known)),
    tasks: here.flatMap((network) => servingOn(network, known).tasks),
    overlay: carried,
  }
}

interface Known {
  readonly view: View
  /** Those that may be routed, by id. */
  readonly services: readonly Wanted[]
  /** The IPv6 address that an IPv4 one of a network stands for, in the kernel of this node. */
  ipv6Of(network: NetworkId, address: string): string | undefined
  /** What `servingOn` has found so far. */
  readonly servings: Map<NetworkId, Serving>
}

/** What serves on a network. Read once for all its services: asked for each, a network of many is read as many times. */
interface Serving {
  /** By task. */
  readonly tasks: readonly TaskRoute[]
  readonly byService: ReadonlyMap<ServiceId, readonly Backend[]>
}

function ipv6Makers(carried: Overlay | undefined): Known['ipv6Of'] {
  const makers = new Map<NetworkId, (address: string) => string | undefined>()
  for (const { id, subnet, ipv6 } of carried?.networks ?? [])
    if (ipv6 !== undefined) makers.set(id, ipv6Maker(subnet, ipv6.subnet))
  return (network, address) => makers.get(network)?.(address)
}

function published(known: Known): readonly PublishedRoute[] {
  const result: PublishedRoute[] = []
  for (const service of known.services) {
    if (service.ports.length === 0) continue
    const all = backendsOf(service.id, ingressNetwork, known)
    const local = all.filter((b) => b.local)
    for (const { protocol, target, published: port, mode } of service.ports) {
      if (port === 0 || (mode === 'host' && local.length === 0)) continue
      const backends = mode === 'host' ? local : all
      const { id, name } = service
      result.push({ protocol, port, target, mode, service: id, name, options: options(service), backends })
    }
  }
  return result.sort((a, b) => (a.protocol === b.protocol ? a.port - b.port : a.protocol < b.protocol ? -1 : 1))
}

function servicesOn(network: NetworkId, known: Known): readonly ServiceRoute[] {
  return known.services
    .filter((service) => service.networks.some((n) => n.network === network))
    .map((service) => {
      const backends = backendsOf(service.id, network, known)
      const vip = known.view.services.get(service.id)?.value.vips.find((v) => v.network === network)?.address
      const vip6 = vip === undefined ? undefined : known.ipv6Of(network, vip)
      return {
        network,
        service: service.id,
        name: service.name,
        vip,
        ...(vip6 === undefined ? {} : { vip6 }),
        ports: portsOf(service, backends),
        options: options(service),
        backends,
      }
    })
}

function servingOn(network: NetworkId, known: Known): Serving {
  const found = known.servings.get(network)
  if (found !== undefined) return found
  const tasks: TaskRoute[] = []
  const byService = new Map<ServiceId, Backend[]>()
  for (const [task, { value: endpoint }] of sorted(known.view.endpoints.get(network))) {
    const backend = backendOf(task, { network, endpoint }, known)
    if (backend === undefined) continue
    const { service, address } = endpoint
    tasks.push({ network, task, service, address, backend })
    const siblings = byService.get(service)
    if (siblings === undefined) byService.set(service, [backend])
    else siblings.push(backend)
  }
  const serving = { tasks, byService }
  known.servings.set(network, serving)
  return serving
}

function backendsOf(service: ServiceId, network: NetworkId, known: Known): readonly Backend[] {
  return servingOn(network, known).byService.get(service) ?? []
}

interface Served {
  readonly network: NetworkId
  readonly endpoint: EndpointValue
}

function backendOf(task: TaskId, { network, endpoint }: Served, known: Known): Backend | undefined {
  const { view } = known
  const record = view.tasks.get(task)?.value
  if (record === undefined || !serves(record, endpoint, view)) return undefined
  const local = endpoint.node === view.self
  const member = view.members.get(endpoint.node)
  const isDoubtful = member?.liveness === 'suspect' || member?.outOfReach === true || member?.isStale === true
  const host6 = endpoint.ipv6 === true ? known.ipv6Of(network, endpoint.address) : undefined
  return {
    task,
    node: endpoint.node,
    local,
    suspect: !local && isDoubtful,
    healthy: endpoint.ready,
    host: endpoint.host,
    ...(host6 === undefined ? {} : { host6 }),
    ports: endpoint.ports,
  }
}

function serves(task: TaskValue, endpoint: EndpointValue, view: View): boolean {
  if (endpoint.draining || task.stopping === true || task.state !== 'running') return false
  const isItsOwn = task.service === endpoint.service && task.node === endpoint.node && task.boot === endpoint.boot
  return isItsOwn && isLiveTask(task, view)
}

function options(service: Wanted): ForwardOptions {
  return {
    affinity: service.labels['grapevine.affinity'] === 'client-ip' ? 'client-ip' : 'none',
    proxyProtocol: service.labels['grapevine.proxy-protocol'] === 'v2',
  }
}

function portsOf(service: Wanted, backends: readonly Backend[]): ServiceRoute['ports'] {
  const known = new Map<string, ServiceRoute['ports'][number]>()
  for (const { protocol, target } of [...service.ports, ...service.exposed, ...backends.flatMap((b) => b.ports)]) {
    known.set(`${protocol} ${String(target).padStart(5, '0')}`, { protocol, target })
  }
  return sorted(known).map(([, port]) => port)
}

/** Networks on which this node runs a task or has a guest, sorted. */
function networksHere(view: View): readonly NetworkId[] {
  const networks = new Set<NetworkId>()
  for (const { value: task } of view.ownTasks()) {
    if (!isLiveTask(task, view)) continue
    for (const { network } of task.addresses) if (network !== ingressNetwork) networks.add(network)
  }
  for (const { value: guest } of view.guests.values())
    if (guest.node === view.self && isLiveGuest(guest, view)) networks.add(guest.network)
  return [...networks].sort()
}

function sorted<V>(map: ReadonlyMap<string, V> | undefined): readonly (readonly [string, V])[] {
  return [...(map ?? [])].sort(([a], [b]) => (a < b ? -1 : 1))
}
