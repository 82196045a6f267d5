/**
 * Computes the kernel's whole table from what this node knows. Pure: equal input gives an equal table.
 *
 * `memory` makes it cheap to render again after a small change and never alters the result. Everything from other nodes that becomes a word of nft is
 * checked on the way, here and in ways.ts.
 */
import type { NodeId } from '../../../protocol/ids.ts'
import { ingressNetwork } from '../../../protocol/model.ts'
import { ipv6Maker } from '../../core/addresses/dual.ts'
import {
  contains,
  isAddress,
  isSubnet,
  overlap,
  parseAddress,
  parseSubnet,
  type Subnet,
} from '../../core/addresses/ipv4.ts'
import {
  contains6,
  isAddress6,
  isSubnet6,
  overlap6,
  parseAddress6,
  parseSubnet6,
  type Subnet6,
} from '../../core/addresses/ipv6.ts'
import type { Overlay, OverlayNetwork } from '../../core/routes/overlay.ts'
import { type Family, familiesOf, ipv4 } from './family.ts'
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
  const { routes, underlay, self, addresses } = facts
  const overlay: Overlay = routes.overlay ?? { networks: [], nodes: [], places: [] }
  const networks = disjoint(overlay.networks)
  const ingress = networks.some(({ id }) => id === ingressNetwork) ? bridgeName(ingressNetwork) : undefined
  const planes = new Map(overlay.nodes.map(({ node, dataplane }) => [node, dataplane]))
  const encrypted = new Set(overlay.networks.flatMap((network) => (network.encrypted ? [network.id] : [])))
  const numbers = [...encrypted].map(tunnelNumber)
  const { device: sealedBy, vxlanPort: own } = facts.encrypted
  const tunnelPorts = { own, far: [...new Set([own, ...overlay.nodes.map(({ dataPathPort }) => dataPathPort)])] }
  const sealed = numbers.length === 0 ? undefined : { device: sealedBy, numbers }
  const families = familiesOf(networks)
  const underlay6 = addresses.find(isAddress6)
  const chains = new Map(frame({ underlay, underlay6, ingress, families, tunnelPorts, sealed }))
  const elements = Object.fromEntries(Object.keys(waySets).map((name) => [name, new Map()])) as WayElements
  for (const way of waysOf(routes, { planes: planes.set(self, 'linux'), encrypted }, memory))
    addWay(way, chains, elements)
  const sets = new Map<string, NamedSet>()
  for (const [name, shape] of Object.entries(waySets)) {
    const isCarried = families.some(({ suffix }) => suffix === '6') || !name.endsWith('6')
    if (isCarried) sets.set(name, { ...shape, interval: false, elements: elements[name as WaySet] })
  }
  for (const [name, elements] of Object.entries(sidesOf(facts, overlay, networks))) {
    sets.set(name, { ...sideSets[name as SideSet], elements })
  }
  for (const family of families) {
    const [shapes, sides] = [familySets(family), familySidesOf(family, facts, { overlay, networks })]
    for (const name of Object.keys(shapes) as FamilySet[])
      sets.set(`${name}${family.suffix}`, { ...shapes[name], elements: sides[name] })
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
  published6: { keys: ['meta l4proto', 'th dport'], values: 'verdict' },
  refused_ports: { keys: ['meta l4proto', 'th dport'], values: undefined },
  vips: { keys: ['iifname', 'ip daddr'], values: 'verdict' },
  vips6: { keys: ['iifname', 'ip6 daddr'], values: 'verdict' },
  refused_vips: { keys: ['iifname', 'ip daddr'], values: undefined },
  refused_vips6: { keys: ['iifname', 'ip6 daddr'], values: undefined },
  strangers: { keys: ['iifname', ...socket], values: ['ip daddr', 'th dport'] },
  stranger_ends: { keys: socket, values: undefined },
}

type SideSet = keyof ReturnType<typeof sidesOf>

const sideSets: Readonly<Record<SideSet, Omit<NamedSet, 'elements'>>> = {
  loopback: { keys: ['ip daddr'], values: undefined, interval: true },
  bridges: { keys: ['iifname'], values: undefined, interval: false },
  internal: { keys: ['iifname'], values: undefined, interval: false },
  same: { keys: ['iifname', 'oifname'], values: undefined, interval: false },
  resolvers: { keys: ['ip saddr', ...socket], values: undefined, interval: false },
  entries: { keys: ['ether saddr'], values: ['ct mark'], interval: false },
  /** Filled by firewall.ts with every transaction. */
  generation: { keys: ['meta mark'], values: undefined, interval: false },
  zones: { keys: ['ether saddr'], values: ['ct zone'], interval: false },
}

type FamilySet = keyof ReturnType<typeof familySidesOf>

function familySets({ saddr, daddr }: Family): Readonly<Record<FamilySet, Omit<NamedSet, 'elements'>>> {
  return {
    own: { keys: [daddr], values: undefined, interval: false },
    members: { keys: [saddr], values: undefined, interval: false },
    subnets: { keys: [saddr], values: undefined, interval: true },
    gateways: { keys: [daddr], values: undefined, interval: false },
    hairpin: { keys: [saddr, daddr], values: [saddr], interval: false },
  }
}

interface Known {
  readonly overlay: Overlay
  readonly networks: readonly OverlayNetwork[]
}

/** The sets that say whose an address is. */
function familySidesOf(family: Family, { addresses, underlay, local }: RenderFacts, { overlay, networks }: Known) {
  const sides = networks.flatMap((network) => family.sideOf(network) ?? [])
  const makers = new Map(
    networks.flatMap((network) => {
      const side = family.sideOf(network)
      if (side === undefined) return []
      const own = (address: string) => (isAddress(address) ? address : undefined)
      return [[network.id, { side, make: family === ipv4 ? own : ipv6Maker(network.subnet, side.subnet) }] as const]
    }),
  )
  return {
    own: setOf(addresses.filter(family.isAddress)),
    members: setOf(
      [underlay, ...addresses, ...overlay.nodes.flatMap((node) => node.addresses)].filter(family.isAddress),
    ),
    subnets: setOf(sides.map(({ subnet }) => subnet)),
    gateways: setOf(sides.map(({ gateway }) => gateway)),
    hairpin: new Map(
      local.flatMap(({ links }) =>
        links.flatMap(({ network, address }) => {
          const known = makers.get(network)
          const own = known?.make(address)
          return known === undefined || own === undefined ? [] : [[keyOf(own, own), known.side.gateway] as const]
        }),
      ),
    ),
  }
}

/** The other sets that grow with networks, nodes and local tasks. */
function sidesOf({ local, numbers }: RenderFacts, overlay: Overlay, networks: readonly OverlayNetwork[]) {
  const bridges = networks.map(({ id }) => ({ id, bridge: device(bridgeName(id)) }))
  const links = local.flatMap(({ links, resolver }) =>
    links.filter(({ address }) => isAddress(address)).map((link) => ({ ...link, resolver })),
  )
  const linux = overlay.nodes.filter(({ dataplane }) => dataplane === 'linux')
  const entries = linux.flatMap(({ node }) => {
    const number = numbers.get(node)
    return number === undefined ? [] : [{ mac: nodeMac(node), number }]
  })
  return {
    loopback: setOf(['127.0.0.0/8']),
    bridges: setOf(bridges.map(({ bridge }) => bridge)),
    internal: setOf(networks.filter((network) => network.internal).map(({ id }) => device(bridgeName(id)))),
    same: setOf(bridges.filter(({ id }) => id !== ingressNetwork).map(({ bridge }) => keyOf(bridge, bridge))),
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
  return withIpv6(kept.map(({ network }) => network))
}

/** The same of IPv6; a network whose IPv6 subnet will not do goes on without. */
function withIpv6(networks: readonly OverlayNetwork[]): readonly OverlayNetwork[] {
  const kept: Subnet6[] = []
  return networks.map((network) => {
    const { subnet: text = '', gateway = '' } = network.ipv6 ?? {}
    const [subnet, address] = [parseSubnet6(text), parseAddress6(gateway)]
    const isSound = subnet !== undefined && address !== undefined && isSubnet6(text) && isAddress6(gateway)
    if (!isSound || !contains6(subnet, address) || kept.some((other) => overlap6(other, subnet)))
      return { ...network, ipv6: undefined }
    kept.push(subnet)
    return network
  })
}
