/**
 * One question, asked by one task, to one answer (design.md 7; Docker's order: swarm-reference.md 2.1).
 *
 * Looks only at the networks of the asking task. Says `not-ours` for what upstream servers may be asked; a name that we own in any form
 * (a service's, our zone, a single label) is answered here and never leaks.
 */
import type { NetworkId } from '../../../protocol/ids.ts'
import type { Named, NameTable, Target } from './table.ts'

export interface Caller {
  /** Its networks in the order of its service's spec. */
  readonly networks: readonly CallerNetwork[]
  /** Its stack: short names are looked up there first. */
  readonly stack: string | undefined
}

export interface CallerNetwork {
  readonly id: NetworkId
  readonly name: string
  readonly internal: boolean
  /** False while the scope is not caught up: answers are held, and nothing is denied. */
  readonly ready: boolean
  readonly table: NameTable
}

export interface Question {
  /** As asked, without the last dot; compared in lower case. */
  readonly name: string
  readonly type: string
}

export interface ServiceRecord {
  readonly target: string
  readonly port: number
}

export type Answer =
  | { readonly kind: 'addresses'; readonly family: 4 | 6; readonly targets: readonly Target[]; readonly ttlS: number }
  | { readonly kind: 'services'; readonly records: readonly ServiceRecord[]; readonly ttlS: number }
  | { readonly kind: 'pointer'; readonly name: string; readonly ttlS: number }
  /** The name exists, without records of this type. */
  | { readonly kind: 'nodata' }
  | { readonly kind: 'nxdomain' }
  /** Upstream servers may know. */
  | { readonly kind: 'not-ours' }
  /** The asker's networks are all internal: nothing outside may be asked. */
  | { readonly kind: 'no-upstream' }
  /** Not caught up yet: ask again shortly. */
  | { readonly kind: 'held' }

/** Our zone: `<name>.<network>.vine.internal`. `.internal` is reserved for private use (ICANN, July 2024). */
export const ownZone = 'vine.internal'

/** Answers everything but PTR, which needs the data plane's addresses: see `reverse`. */
export function lookup(question: Question, caller: Caller): Answer {
  const name = question.name.toLowerCase()
  const service = question.type === 'SRV' ? /^_([^.]+)\._(tcp|udp)\.(.+)$/.exec(name) : null
  const subject = service === null ? name : (service[3] as string)
  const found = find(subject, caller)
  if (found === undefined) return notFound(subject, caller)
  if (service !== null) return serviceRecords(service[1] as string, service[2] as string, found.named, found.network)
  const family = question.type === 'AAAA' ? 6 : question.type === 'A' || question.type === 'ANY' ? 4 : undefined
  if (family === undefined || found.named.targets.length === 0) return { kind: 'nodata' }
  return { kind: 'addresses', family, targets: found.named.targets, ttlS: found.named.ttlS }
}

interface Found {
  readonly named: Named
  readonly network: CallerNetwork
}

function find(name: string, caller: Caller): Found | undefined {
  if (name === ownZone || name.endsWith(`.${ownZone}`)) {
    const rest = name.slice(0, Math.max(0, name.length - ownZone.length - 1))
    return qualified(rest, caller)
  }
  // For a.b.c: a.b.c on all networks, then a.b on network c, then a on network b.c.
  for (const network of caller.networks) {
    const named = choose(network.table.get(name), caller)
    if (named !== undefined) return { named, network }
  }
  return qualified(name, caller)
}

function qualified(name: string, caller: Caller): Found | undefined {
  for (let dot = name.lastIndexOf('.'); dot > 0; dot = name.lastIndexOf('.', dot - 1)) {
    const network = caller.networks.find((n) => n.name.toLowerCase() === name.slice(dot + 1))
    const named = network === undefined ? undefined : choose(network.table.get(name.slice(0, dot)), caller)
    if (network !== undefined && named !== undefined) return { named, network }
  }
  return undefined
}

/** The caller's own stack first; between strangers the earlier creation. Never both. */
function choose(candidates: readonly Named[] | undefined, caller: Caller): Named | undefined {
  if (candidates === undefined) return undefined
  return candidates.find((c) => caller.stack !== undefined && c.stack === caller.stack) ?? candidates[0]
}

function notFound(name: string, caller: Caller): Answer {
  if (caller.networks.some((network) => !network.ready)) return { kind: 'held' }
  if (name === ownZone) return { kind: 'nodata' }
  if (name.endsWith(`.${ownZone}`) || !name.includes('.')) return { kind: 'nxdomain' }
  if (caller.networks.length > 0 && caller.networks.every((network) => network.internal)) return { kind: 'no-upstream' }
  return { kind: 'not-ours' }
}

function serviceRecords(port: string, protocol: string, named: Named, network: CallerNetwork): Answer {
  const records = named.tasks.flatMap((task) =>
    task.ports
      .filter((p) => p.protocol === protocol && (String(p.target) === port || p.label?.toLowerCase() === port))
      .map((p): ServiceRecord => ({ target: `${task.name}.${network.name}.${ownZone}`, port: p.target })),
  )
  return records.length === 0 ? { kind: 'nodata' } : { kind: 'services', records, ttlS: named.ttlS }
}

/** The name of what an address stands for, for PTR: `<service>.<slot>.<task>.<network>` or `<service>.<network>`. */
export function reverse(target: Target, caller: Caller): Answer {
  const network = caller.networks.find((n) => n.id === target.network)
  if (network === undefined) return { kind: 'nxdomain' }
  let longest: { name: string; ttlS: number } | undefined
  for (const [name, candidates] of network.table) {
    const named = candidates.find((c) => c.targets.length === 1 && sameTarget(c.targets[0] as Target, target))
    if (named === undefined) continue
    const better =
      target.kind === 'task' ? name.endsWith(`.${target.id}`) : !name.startsWith('tasks.') && longest === undefined
    if (better) longest = { name, ttlS: named.ttlS }
  }
  if (longest === undefined) return { kind: 'nxdomain' }
  return { kind: 'pointer', name: `${longest.name}.${network.name}`, ttlS: longest.ttlS }
}

function sameTarget(a: Target, b: Target): boolean {
  return a.kind === b.kind && a.id === b.id && a.network === b.network
}
