/**
 * The part of the table that grows with services: a chain for each published port and each VIP, and the elements that lead there.
 *
 * Backends are settled by the rules of core/routes/pick.ts. A chain whose backends did not change is the very same object as last time, which makes the
 * difference to the last table cheap. What comes from other nodes is checked here before it becomes text for nft: an endpoint without an IPv4
 * address and real ports is left out.
 */
import type { NodeId } from '../../../protocol/ids.ts'
import { parseAddress } from '../../core/addresses/ipv4.ts'
import { maglevTable } from '../../core/routes/maglev.ts'
import { settled } from '../../core/routes/pick.ts'
import type { Backend, ForwardOptions, PublishedRoute, ServiceRoute, TaskRoute } from '../../core/routes/types.ts'
import { type Chain, type Choice, device, keyOf, type Rule, type Target } from './model.ts'
import { bridgeName } from './names.ts'

/** Chains of the last table, by name, with what they were made from. */
export type Memory = Map<string, { readonly from: string; readonly chain: Chain }>

/** What ways add to the table; `elements` by set. */
export interface Ways {
  readonly chains: Map<string, Chain>
  readonly elements: ReadonlyMap<WaySet, Map<string, string>>
}

export type WaySet = 'published' | 'refused_ports' | 'vips' | 'refused_vips' | 'strangers' | 'stranger_ends'

export interface WayFacts {
  readonly published: readonly PublishedRoute[]
  readonly services: readonly ServiceRoute[]
  readonly tasks: readonly TaskRoute[]
  /** How a node's tasks are reached; undefined: not known here, so not at all. */
  planeOf(node: NodeId): 'linux' | 'userspace' | undefined
}

export function ways(facts: WayFacts, memory: Memory): Ways {
  const chains = new Map<string, Chain>()
  const elements: Record<WaySet, Map<string, string>> = {
    published: new Map(),
    refused_ports: new Map(),
    vips: new Map(),
    refused_vips: new Map(),
    strangers: new Map(),
    stranger_ends: new Map(),
  }
  for (const route of facts.published) publish(route)
  for (const route of facts.services) balance(route)
  for (const route of facts.tasks) reachStranger(route)
  for (const name of memory.keys()) if (!chains.has(name)) memory.delete(name)
  return { chains, elements: new Map(Object.entries(elements) as [WaySet, Map<string, string>][]) }

  function publish(route: PublishedRoute): void {
    const { protocol, port, target, options } = route
    // The kernel cannot write the header: such a port is left to its listener in this process.
    if (options.proxyProtocol) return
    const key = keyOf(protocol, port)
    const ends = usable(route.backends).flatMap((backend) => {
      const actual = actualPort(backend, protocol, target)
      return actual === undefined ? [] : [{ name: backend.task, value: keyOf(backend.host, actual), backend }]
    })
    if (ends.length === 0) {
      elements.refused_ports.set(key, '')
      return
    }
    for (const { value, backend } of ends) if (isStranger(backend)) addEnd(value, protocol)
    const name = `p_${protocol}_${port}`
    keep(name, madeFrom(ends, options), () => [
      { when: [{ field: 'meta l4proto', is: [protocol] }], action: { do: 'dnat', to: to(ends, options) } },
    ])
    elements.published.set(key, `goto ${name}`)
  }

  function balance(route: ServiceRoute): void {
    if (route.vip === undefined || parseAddress(route.vip) === undefined) return
    const key = keyOf(device(bridgeName(route.network)), route.vip)
    if (elements.vips.has(key) || elements.refused_vips.has(key)) return
    const backends = usable(route.backends)
    // A stranger serves only the ports that it declared: what finds none is refused.
    if (backends.length === 0 || backends.some(isStranger)) elements.refused_vips.set(key, '')
    if (backends.length === 0) return
    const name = `v_${route.service}_${route.network}`
    if (backends.some(isStranger)) balanceMixed(name, route, backends)
    else {
      const ends = backends.map((backend) => ({ name: backend.task, value: backend.host }))
      keep(name, madeFrom(ends, route.options), () => [
        { when: [], action: { do: 'dnat', to: to(ends, route.options) } },
      ])
    }
    elements.vips.set(key, `goto ${name}`)
  }

  function balanceMixed(name: string, route: ServiceRoute, backends: readonly Backend[]): void {
    const ends = backends.map((backend) => {
      const chain = `e_${backend.task}_${route.network}`
      const ports = isStranger(backend) ? portMap(backend) : undefined
      const target: Target =
        ports === undefined ? { value: backend.host } : { of: ['meta l4proto', 'th dport'], elements: ports }
      for (const { protocol, actual } of ports === undefined ? [] : backend.ports) {
        addEnd(keyOf(backend.host, actual), protocol)
      }
      const from = ports === undefined ? backend.host : [...ports].join(' ')
      keep(chain, from, () => (ports?.size === 0 ? [] : [{ when: [], action: { do: 'dnat', to: target } }]))
      return { name: backend.task, value: `goto ${chain}` }
    })
    keep(name, madeFrom(ends, route.options), () => [
      { when: [], action: { do: 'choose', among: choice(ends, route.options) } },
    ])
  }

  /** A task of a userspace node has no place on the network: its address leads to its node's, port by port. */
  function reachStranger({ network, address, backend }: TaskRoute): void {
    if (parseAddress(address) === undefined || !isUsable(backend) || !isStranger(backend)) return
    for (const { protocol, target, actual } of backend.ports) {
      if (!isPort(target) || !isPort(actual)) continue
      const end = keyOf(backend.host, actual)
      elements.strangers.set(keyOf(device(bridgeName(network)), address, protocol, target), end)
      addEnd(end, protocol)
    }
  }

  function addEnd(end: string, protocol: string): void {
    const [host = '', port = ''] = end.split(' . ')
    elements.stranger_ends.set(keyOf(host, protocol, port), '')
  }

  function keep(name: string, from: string, rules: () => readonly Rule[]): void {
    const held = memory.get(name)
    const chain = held?.from === from ? held.chain : { hook: undefined, rules: rules() }
    if (held?.chain !== chain) memory.set(name, { from, chain })
    chains.set(name, chain)
  }

  function usable(backends: readonly Backend[]): readonly Backend[] {
    return settled(backends.filter(isUsable))
  }

  function isUsable(backend: Backend): boolean {
    return facts.planeOf(backend.node) !== undefined && parseAddress(backend.host) !== undefined
  }

  function isStranger(backend: Backend): boolean {
    return facts.planeOf(backend.node) === 'userspace'
  }
}

interface End {
  /** The task, which is what Maglev's table is made of on every node. */
  readonly name: string
  readonly value: string
}

function madeFrom(ends: readonly End[], { affinity }: ForwardOptions): string {
  return ends
    .map(({ name, value }) => (affinity === 'none' ? value : `${name} ${value}`))
    .join(affinity === 'none' ? ',' : ';')
}

function to(ends: readonly End[], options: ForwardOptions): Target {
  return ends.length === 1 ? { value: ends[0]!.value } : { choice: choice(ends, options) }
}

function choice(ends: readonly End[], { affinity }: ForwardOptions): Choice {
  if (affinity === 'none' || ends.length === 1) return { by: 'random', values: ends.map(({ value }) => value) }
  const byName = new Map(ends.map(({ name, value }) => [name, value]))
  const { names, places } = maglevTable([...byName.keys()])
  return { by: 'client', values: names.map((name) => byName.get(name)!), places }
}

/** As dialled by the userspace data plane: a target port that is not declared is dialled as it is. */
function actualPort({ ports }: Backend, protocol: string, target: number): number | undefined {
  const actual = ports.find((port) => port.protocol === protocol && port.target === target)?.actual ?? target
  return isPort(actual) ? actual : undefined
}

function portMap({ host, ports }: Backend): ReadonlyMap<string, string> {
  const map = new Map<string, string>()
  for (const { protocol, target, actual } of ports) {
    if (isPort(target) && isPort(actual)) map.set(keyOf(protocol, target), keyOf(host, actual))
  }
  return map
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port > 0 && port < 65_536
}
