/**
 * Which nodes may hold a slot of a service, and why the others may not.
 *
 * Filters run in Swarm's order and the first that refuses is the reason reported (swarmkit manager/scheduler/pipeline.go, filter.go);
 * the sentences are Swarm's. `runtime` and `rejected` are ours: a node without the runtime, and one that tried and could not.
 */
import type { NodeId, TaskId } from '../../../protocol/ids.ts'
import type { TaskValue } from '../../../protocol/model.ts'
import { isUp } from '../live.ts'
import type { Member, Stamped } from '../view.ts'
import type { Wanted } from '../wanted.ts'
import { dockerArch } from './architecture.ts'
import { meetsConstraints } from './constraints.ts'

export type Refusal =
  | 'ready'
  | 'resources'
  | 'constraints'
  | 'platform'
  | 'runtime'
  | 'container'
  | 'host-port'
  | 'max-per-node'
  | 'rejected'

const explanations: Readonly<Record<Refusal, (nodes: number) => string>> = {
  ready: (n) => `${n} ${n === 1 ? 'node' : 'nodes'} not available for new tasks`,
  resources: (n) => `insufficient resources on ${nodes(n)}`,
  constraints: (n) => `scheduling constraints not satisfied on ${nodes(n)}`,
  platform: (n) => `unsupported platform on ${nodes(n)}`,
  runtime: (n) => `no such runtime on ${nodes(n)}`,
  container: (n) => `no Docker, which it needs, on ${nodes(n)}`,
  'host-port': (n) => `host-mode port already in use on ${nodes(n)}`,
  'max-per-node': (n) => `max replicas per node limit exceed on ${nodes(n)}`,
  rejected: (n) => `rejected on ${nodes(n)}`,
}

/** What tasks already placed take of one node. Filled by place() as it goes. */
export interface Room {
  readonly member: Member
  nanoCpus: number
  memoryBytes: number
  /** `tcp/80` of host-mode and fixed ports. */
  readonly hostPorts: Set<string>
  /** Slots held, of all services. */
  tasks: number
}

export function emptyRoom(member: Member): Room {
  const { nanoCpus, memoryBytes } = member.record.value.resources
  return { member, nanoCpus, memoryBytes, hostPorts: new Set(), tasks: 0 }
}

/** Takes room for one slot of the service. */
export function occupy(room: Room, wanted: Wanted): void {
  room.tasks += 1
  room.nanoCpus -= wanted.reserved.nanoCpus
  room.memoryBytes -= wanted.reserved.memoryBytes
  for (const port of hostPorts(wanted)) room.hostPorts.add(port)
}

/** What does not change while slots are given out: the node itself, its labels, platform and runtimes. */
export function refusesNode(wanted: Wanted, member: Member): Refusal | undefined {
  if (!isUp(member) || member.record.value.presence === 'left' || member.node.spec.Availability !== 'active')
    return 'ready'
  return refusesKind(wanted, member)
}

/** The filters that a running task must go on meeting: constraints, platform, runtime. */
export function refusesKind(wanted: Wanted, member: Member): Refusal | undefined {
  if (!meetsConstraints(wanted.constraints, member)) return 'constraints'
  const { platform, runtimes } = member.record.value
  const arch = dockerArch(platform.arch)
  const fits = wanted.platforms.some(
    (p) => (p.os === '' || p.os === platform.os) && (p.arch === '' || dockerArch(p.arch) === arch),
  )
  if (wanted.platforms.length > 0 && !fits) return 'platform'
  const runtime = wanted.labels['grapevine.runtime']
  if (runtime !== undefined && !runtimes.includes(runtime)) return 'runtime'
  if (wanted.needsContainer !== undefined && !runtimes.includes('docker')) return 'container'
  return undefined
}

/** What else changes as slots are given out. `copies`: slots of this service on the node so far. */
export function refusesMore(wanted: Wanted, room: Room, copies: number): Refusal | undefined {
  if (hostPorts(wanted).some((port) => room.hostPorts.has(port))) return 'host-port'
  if (wanted.maxPerNode > 0 && copies >= wanted.maxPerNode) return 'max-per-node'
  return undefined
}

export function hasResources(wanted: Wanted, room: Room): boolean {
  const { nanoCpus, memoryBytes } = wanted.reserved
  return (nanoCpus === 0 || nanoCpus <= room.nanoCpus) && (memoryBytes === 0 || memoryBytes <= room.memoryBytes)
}

const portCache = new WeakMap<Wanted, readonly string[]>()

/** Ports that only one task of a node can have: host mode, and `grapevine.port=fixed`. */
export function hostPorts(wanted: Wanted): readonly string[] {
  const known = portCache.get(wanted)
  if (known !== undefined) return known
  const fixed = wanted.labels['grapevine.port'] === 'fixed'
  const published = wanted.ports.filter((p) => p.mode === 'host').map((p) => `${p.protocol}/${p.published}`)
  const targets = fixed ? [...wanted.ports, ...wanted.exposed].map((p) => `${p.protocol}/${p.target}`) : []
  const ports = [...new Set([...published, ...targets])].sort()
  portCache.set(wanted, ports)
  return ports
}

export type Rejections = ReadonlyMap<
  NodeId,
  { readonly task: TaskId; readonly retryAtMs: number; readonly error: string }
>

/** Nodes that rejected the present template of a service, and until when (wall ms), with what they said. */
export function rejections(wanted: Wanted, tasks: readonly Stamped<TaskValue>[], nowMs: number): Rejections {
  const found = new Map<NodeId, { task: TaskId; retryAtMs: number; error: string }>()
  for (const { id, value } of tasks) {
    const { retryAtMs = 0 } = value
    if (value.state !== 'rejected' || value.template !== wanted.template || retryAtMs <= nowMs) continue
    const other = found.get(value.node)
    if (other === undefined || other.retryAtMs < retryAtMs || (other.retryAtMs === retryAtMs && id < other.task)) {
      found.set(value.node, { task: id, retryAtMs, error: value.error ?? value.message })
    }
  }
  return found
}

/** Swarm's sentence: most frequent reason first. `errors`: what rejecting nodes said, each once. */
export function noSuitableNode(counts: ReadonlyMap<Refusal, number>, errors: readonly string[] = []): string {
  const reasons = [...counts].filter(([, n]) => n > 0).sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1))
  if (reasons.length === 0) return 'no suitable node'
  const said = [...new Set(errors)].sort().slice(0, 3)
  const parts = reasons.map(([refusal, n]) => {
    const text = explanations[refusal](n)
    return refusal === 'rejected' && said.length > 0 ? `${text}: ${said.join(', ')}` : text
  })
  return `no suitable node (${parts.join('; ')})`
}

function nodes(n: number): string {
  return `${n} ${n === 1 ? 'node' : 'nodes'}`
}
