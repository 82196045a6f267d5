/**
 * Computes the kernel's whole table from what this node knows. Pure: equal input gives an equal table.
 *
 * `memory` makes it cheap to render again after a small change and never alters the result. Everything from other nodes that becomes a word of nft is
 * checked on the way, here and in ways.ts.
 */
import type { NodeId } from '../../../protocol/ids.ts'
import { ingressNetwork } from '../../../protocol/model.ts'
import {
  contains,
  isAddress,
  isSubnet,
  overlap,
  parseAddress,
  parseSubnet,
  type Subnet,
} from '../../core/addresses/ipv4.ts'
import type { Overlay, OverlayNetwork } from '../../core/routes/overlay.ts'
import type { FirewallInput } from './firewall.ts'
import { frame, markBase } from './frame.ts'
import { emptyMemory, type Memory, waysOf } from './memory.ts'
import { type Chain, device, type Field, keyOf, type NamedSet, type Table } from './model.ts'
import { bridgeName, nodeMac, tunnelNumber } from './names.ts'
import type { Way, WaySet } from './ways.ts'

export interface RenderFacts extends FirewallInput {
  /** Numbers of the nodes through which connections may come (marks.ts). */
  readonly numbers: ReadonlyMap<NodeId, number>
}

export function renderTable(facts: RenderFacts, memory: Memory = emptyMemory()): Table {
  const { routes, underlay, self } = facts
  const overlay: Overlay = routes.overlay ?? { networks: [], nodes: [], places: [] }
  const networks = disjoint(overlay.networks)
  const ingress = networks.some(({ id }) => id === ingressNetwork) ? bridgeName(ingressNetwork) : undefined
  const planes = new Map(overlay.nodes.map(({ node, dataplane }) => [node, dataplane]))
  const encrypted = new Set(overlay.networks.flatMap((network) => (network.encrypted ? [network.id] : [])))
  const numbers = [...encrypted].map(tunnelNumber)
  const farPorts = [...new Set([facts.encrypted.vxlanPort, ...overlay.nodes.map(({ dataPathPort }) => dataPathPort)])]
  const sealed = numbers.length === 0 ? undefined : { ...facts.encrypted, farPorts, numbers }
  const chains = new Map(frame({ underlay, ingress, sealed }))
  const elements = Object.fromEntries(Object.keys(waySets).map((name) => [name, new Map()])) as WayElements
  for (const way of waysOf(routes, { planes: planes.set(self, 'linux'), encrypted }, memory))
    addWay(way, chains, elements)
  const sets = new Map<string, NamedSet>()
  for (const [name, shape] of Object.entries(waySets)) {
    sets.set(name, { ...shape, interval: false, elements: elements[name as WaySet] })
  }
  for (const [name, elements] of Object.entries(sidesOf(facts, overlay, networks))) {
    sets.set(name, { ...sideSets[name as SideSet], elements })
  }
  return { sets, chains }
}

type WayElements = Readonly<Record<WaySet, Map<string, string>>>

/** Two that claim one key are in conflict, and the first keeps it (routes are sorted); the chains of the other stay unreached. */
function addWay(way: Way, chains: Map<string, Chain>, elements: WayElements): void {
  for (const [name, chain] of way.chains) if (!chains.has(name)) chains.set(name, chain)
  for (const [set, key, value] of way.elements) if (!elements[set].has(key)) elements[set].set(key, value)
}

const socket: readonly Field[] = ['ip daddr', 'meta l4proto', 'th dport']

type Shape = Pick<NamedSet, 'keys' | 'values'>

const waySets: Readonly<Record<WaySet, Shape>> = {
  published: { keys: ['meta l4proto', 'th dport'], values: 'verdict' },
  refused_ports: { keys: ['meta l4proto', 'th dport'], values: undefined },
  vips: { keys: ['iifname', 'ip daddr'], values: 'verdict' },
  refused_vips: { keys: ['iifname', 'ip daddr'], values: undefined },
  strangers: { keys: ['iifname', ...socket], values: ['ip daddr', 'th dport'] },
  stranger_ends: { keys: socket, values: undefined },
}

type SideSet = keyof ReturnType<typeof sidesOf>

const sideSets: Readonly<Record<SideSet, Omit<NamedSet, 'elements'>>> = {
  own: { keys: ['ip daddr'], values: undefined, interval: false },
  members: { keys: ['ip saddr'], values: undefined, interval: false },
  subnets: { keys: ['ip saddr'], values: undefined, interval: true },
  loopback: { keys: ['ip daddr'], values: undefined, interval: true },
  bridges: { keys: ['iifname'], values: undefined, interval: false },
  internal: { keys: ['iifname'], values: undefined, interval: false },
  same: { keys: ['iifname', 'oifname'], values: undefined, interval: false },
  gateways: { keys: ['ip daddr'], values: undefined, interval: false },
  hairpin: { keys: ['ip saddr', 'ip daddr'], values: ['ip saddr'], interval: false },
  resolvers: { keys: ['ip saddr', ...socket], values: undefined, interval: false },
  entries: { keys: ['ether saddr'], values: ['ct mark'], interval: false },
  /** Filled by firewall.ts with every transaction. */
  generation: { keys: ['meta mark'], values: undefined, interval: false },
  zones: { keys: ['ether saddr'], values: ['ct zone'], interval: false },
}

/** The sets that say who is who: they grow with networks, nodes and local tasks. */
function sidesOf(
  { addresses, underlay, local, numbers }: RenderFacts,
  overlay: Overlay,
  networks: readonly OverlayNetwork[],
) {
  const bridges = networks.map(({ id }) => ({ id, bridge: device(bridgeName(id)) }))
  const gateways = new Map(networks.map(({ id, gateway }) => [id, gateway]))
  const links = local.flatMap(({ links, resolver }) =>
    links.filter(({ address }) => isAddress(address)).map((link) => ({ ...link, resolver })),
  )
  const linux = overlay.nodes.filter(({ dataplane }) => dataplane === 'linux')
  const entries = linux.flatMap(({ node }) => {
    const number = numbers.get(node)
    return number === undefined ? [] : [{ mac: nodeMac(node), number }]
  })
  return {
    own: setOf(addresses.filter(isAddress)),
    members: setOf([underlay, ...addresses, ...overlay.nodes.flatMap((node) => node.addresses)].filter(isAddress)),
    subnets: setOf(networks.map(({ subnet }) => subnet)),
    loopback: setOf(['127.0.0.0/8']),
    bridges: setOf(bridges.map(({ bridge }) => bridge)),
    internal: setOf(networks.filter((network) => network.internal).map(({ id }) => device(bridgeName(id)))),
    same: setOf(bridges.filter(({ id }) => id !== ingressNetwork).map(({ bridge }) => keyOf(bridge, bridge))),
    gateways: setOf([...gateways.values()]),
    hairpin: new Map(
      links.flatMap(({ network, address }) => {
        const gateway = gateways.get(network)
        return gateway === undefined ? [] : [[keyOf(address, address), gateway]]
      }),
    ),
    resolvers: setOf(
      links.flatMap(({ address, resolver: { host, port } }) => [
        keyOf(address, host, 'tcp', port),
        keyOf(address, host, 'udp', port),
      ]),
    ),
    entries: new Map(entries.map(({ mac, number }) => [mac, `0x${(markBase | number).toString(16)}`])),
    generation: setOf([]),
    zones: new Map(entries.map(({ mac, number }) => [mac, String(number)])),
  }
}

function setOf(keys: readonly string[]): ReadonlyMap<string, string> {
  return new Map(keys.map((key) => [key, '']))
}

/** The kernel takes no overlapping subnets in a set. Networks that overlap are in conflict and not in the overlay; what still does comes after. */
function disjoint(networks: readonly OverlayNetwork[]): readonly OverlayNetwork[] {
  const kept: { readonly network: OverlayNetwork; readonly subnet: Subnet }[] = []
  for (const network of networks) {
    const subnet = parseSubnet(network.subnet)
    const gateway = parseAddress(network.gateway)
    if (subnet === undefined || gateway === undefined || !contains(subnet, gateway)) continue
    if (!isSubnet(network.subnet) || !isAddress(network.gateway)) continue
    if (kept.every((other) => !overlap(other.subnet, subnet))) kept.push({ network, subnet })
  }
  return kept.map(({ network }) => network)
}
