/**
 * Every name that a network holds, and what each stands for (design.md 7; swarm-reference.md 1.6).
 *
 * A name belongs to the spec: it is in the table as long as the service is, whether or not a task is ready. Two services that claim one
 * name stay two candidates; the lookup chooses between them and never merges their answers (moby #41532).
 */
import { compareVersions, type Version } from '../../../protocol/hlc.ts'
import type { GuestId, NetworkId, ServiceId, TaskId } from '../../../protocol/ids.ts'
import type { EndpointValue, ServiceValue } from '../../../protocol/model.ts'
import { isLiveGuest, isLiveTask } from '../live.ts'
import { compareCreation } from '../placement/order.ts'
import type { Stamped, View } from '../view.ts'
import { type Wanted, wanted } from '../wanted.ts'

/** What an address stands for: a service behind its virtual IP, one task, or one container that is none. The data plane knows the address. */
export type Target =
  | { readonly kind: 'service'; readonly network: NetworkId; readonly id: ServiceId }
  | { readonly kind: 'task'; readonly network: NetworkId; readonly id: TaskId }
  | { readonly kind: 'guest'; readonly network: NetworkId; readonly id: GuestId }

export interface Named {
  /** Whose it is: a service's, or a guest's. */
  readonly service: ServiceId | GuestId
  readonly stack: string | undefined
  readonly created: Version
  readonly ttlS: number
  /** Empty: the name is known, nothing is ready behind it. */
  readonly targets: readonly Target[]
  /** Tasks behind it with their declared ports, for SRV. */
  readonly tasks: readonly NamedTask[]
}

export interface NamedTask {
  readonly task: TaskId
  /** `<slot>.<service>`, its stable name. */
  readonly name: string
  readonly ports: readonly { readonly protocol: string; readonly target: number; readonly label: string | undefined }[]
}

/** Names in lower case. Candidates in order: the earlier creation first. */
export type NameTable = ReadonlyMap<string, readonly Named[]>

/** 5 s: an address is withdrawn within a second or two, and clients should notice before they give up on a request. */
const ttlDefaultS = 5
const stackLabel = 'com.docker.stack.namespace'

/** `conflicted`: services in conflict, which are not resolved (design.md 6). */
export function nameTable(view: View, network: NetworkId, conflicted: ReadonlySet<string>): NameTable {
  const table = new Map<string, Named[]>()
  const endpoints = endpointsByService(view, network)
  for (const service of [...view.services.values()].sort((a, b) => compareVersions(a.value.created, b.value.created))) {
    if (conflicted.has(service.id)) continue
    const want = wanted(service)
    const attachment = want.networks.find((n) => n.network === network)
    const serving = endpoints.get(service.id) ?? []
    // A service that has just left the network keeps its names while tasks of its former spec still serve there.
    if (attachment === undefined && serving.length === 0) continue
    const labels = portLabels(service.value)
    const entries = serviceEntries(want, network, serving, attachment?.aliases ?? [], service.value.vips)
    for (const [name, targets, tasks] of entries) {
      add(table, name, {
        service: service.id,
        stack: want.labels[stackLabel],
        created: service.value.created,
        ttlS: ttlOf(want),
        targets,
        tasks: tasks.map((endpoint) => namedTask(want, endpoint, labels)),
      })
    }
  }
  addGuests(table, view, network)
  return table
}

function add(table: Map<string, Named[]>, name: string, named: Named): void {
  const key = name.toLowerCase()
  const others = table.get(key)
  if (others === undefined) table.set(key, [named])
  else if (!others.some((other) => other.service === named.service)) others.push(named)
}

/** After all services: whoever may name a container must not be able to take a name of theirs. */
function addGuests(table: Map<string, Named[]>, view: View, network: NetworkId): void {
  for (const { id, value } of [...view.guests.values()].sort(compareCreation)) {
    if (value.network !== network || !isLiveGuest(value, view)) continue
    const targets: readonly Target[] = [{ kind: 'guest', network, id }]
    const named = { service: id, stack: undefined, created: value.created, ttlS: ttlDefaultS, targets, tasks: [] }
    for (const name of [value.name, ...value.aliases, value.container.slice(0, 12)]) add(table, name, named)
  }
}

type Entry = readonly [name: string, targets: readonly Target[], tasks: readonly Stamped<EndpointValue>[]]

function serviceEntries(
  want: Wanted,
  network: NetworkId,
  serving: readonly Stamped<EndpointValue>[],
  aliases: readonly string[],
  vips: readonly { readonly network: NetworkId; readonly address: string }[],
): readonly Entry[] {
  const taskTargets = serving.map((e): Target => ({ kind: 'task', network, id: e.id }))
  const hasVip = want.endpointMode === 'vip' && vips.some((v) => v.network === network)
  const targets: readonly Target[] = hasVip ? [{ kind: 'service', network, id: want.id }] : taskTargets
  // Aliases of older tasks answer until the last of them is gone (swarm-reference.md 5.D 63).
  const allAliases = new Set([...aliases, ...serving.flatMap((e) => e.value.aliases)])
  const entries: Entry[] = []
  for (const name of [want.name, ...[...allAliases].sort()]) {
    entries.push([name, targets, serving], [`tasks.${name}`, taskTargets, serving])
  }
  for (const endpoint of serving) {
    const own: readonly Target[] = [{ kind: 'task', network, id: endpoint.id }]
    for (const name of taskNames(want, endpoint)) entries.push([name, own, [endpoint]])
  }
  return entries
}

function taskNames(want: Wanted, endpoint: Stamped<EndpointValue>): readonly string[] {
  const { slot, hostname } = endpoint.value
  const names = [
    `${slot}.${want.name}`,
    `${slot}.tasks.${want.name}`,
    `${want.name}.${slot}.${endpoint.id}`,
    endpoint.id.slice(0, 12),
  ]
  return hostname === '' ? names : [...names, hostname]
}

function namedTask(want: Wanted, endpoint: Stamped<EndpointValue>, labels: ReadonlyMap<string, string>): NamedTask {
  return {
    task: endpoint.id,
    name: `${endpoint.value.slot}.${want.name}`,
    ports: endpoint.value.ports.map(({ protocol, target }) => ({
      protocol,
      target,
      label: labels.get(`${target}/${protocol}`),
    })),
  }
}

/** Names that the spec gives its ports, by `target/protocol`: what SRV may be asked by, beside the number. */
function portLabels(service: ServiceValue): ReadonlyMap<string, string> {
  const ports = service.spec.EndpointSpec?.Ports ?? []
  return new Map(
    ports.flatMap((p) => (p.Name === undefined ? [] : [[`${p.TargetPort}/${p.Protocol ?? 'tcp'}`, p.Name] as const])),
  )
}

/** Ready endpoints of live tasks, by service, in the order of their slots. Draining ones take no new clients. */
function endpointsByService(view: View, network: NetworkId): ReadonlyMap<ServiceId, readonly Stamped<EndpointValue>[]> {
  const byService = new Map<ServiceId, Stamped<EndpointValue>[]>()
  for (const endpoint of view.endpoints.get(network)?.values() ?? []) {
    const { ready, draining, service } = endpoint.value
    const task = view.tasks.get(endpoint.id)
    if (!ready || draining || task === undefined || !isLiveTask(task.value, view)) continue
    const list = byService.get(service)
    if (list === undefined) byService.set(service, [endpoint])
    else list.push(endpoint)
  }
  for (const list of byService.values()) {
    list.sort((a, b) => Number(a.value.slot) - Number(b.value.slot) || (a.id < b.id ? -1 : 1))
  }
  return byService
}

/** Label `grapevine.ttl=SECONDS`, 0 to 3600. */
function ttlOf(want: Wanted): number {
  const text = want.labels['grapevine.ttl']
  const seconds = text === undefined ? Number.NaN : Number(text)
  return Number.isInteger(seconds) && seconds >= 0 && seconds <= 3600 ? seconds : ttlDefaultS
}
