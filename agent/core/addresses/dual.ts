/**
 * IPv6 beside IPv4 (design.md 6): a network with both has an IPv6 subnet, and each IPv4 address of it stands for the IPv6 address at the same place of that.
 *
 * So nothing is claimed twice: who holds an IPv4 address holds its IPv6 address, and an IPv6 address that is kept for a gateway or others keeps the
 * IPv4 address of its place back (ranges.ts). A subnet that nobody named is a /64 of the cluster's own block of unique local addresses (RFC 4193):
 * 40 bits from the cluster's founding, 16 from the network's name. `ingress` has the last, in no record, so that ports published on IPv6 addresses need no
 * wish and no migration.
 */
import { ingressNetwork, type NetworkValue } from '../../../protocol/model.ts'
import type { NetworkSpec } from '../../../protocol/spec.ts'
import { hash32 } from '../placement/hash.ts'
import type { View } from '../view.ts'
import { contains, formatAddress, parseAddress, parseSubnet } from './ipv4.ts'
import {
  contains6,
  formatAddress6,
  formatSubnet6,
  overlap6,
  parseAddress6,
  parseSubnet6,
  type Subnet6,
} from './ipv6.ts'
import { probe } from './probe.ts'

/** The IPv6 half of a network's addresses, in the canonical form of both. */
export interface Ipv6 {
  readonly subnet: string
  readonly gateway: string
}

type Known = Pick<View, 'settings' | 'networks'>

/** Undefined for a network without, and for what no node could make so. */
export function ipv6Of({ settings }: Pick<View, 'settings'>, id: string, network: NetworkValue): Ipv6 | undefined {
  const last = settings === undefined ? undefined : blockOf(settings.value.created, lastBlock)
  const chosen = id === ingressNetwork && last !== undefined ? asChosen(last) : recorded(network)
  const [subnet, gateway] = [parseSubnet6(chosen?.subnet ?? ''), parseAddress6(chosen?.gateway ?? '')]
  const room = parseSubnet(network.subnet)
  if (subnet === undefined || gateway === undefined || room === undefined) return undefined
  if (!contains6(subnet, gateway) || !hasRoom(subnet, room.bits)) return undefined
  return { subnet: formatSubnet6(subnet), gateway: formatAddress6(gateway) }
}

/** Whether an IPv6 subnet has a place for each address of an IPv4 one. */
export function hasRoom({ bits }: Subnet6, bits4: number): boolean {
  return 128 - bits >= 32 - bits4
}

/** Gives the IPv6 address that an IPv4 address of the network stands for; undefined for an address that is not the network's. */
export function ipv6Maker(subnet4: string, subnet6: string): (address: string) => string | undefined {
  const [from, to] = [parseSubnet(subnet4), parseSubnet6(subnet6)]
  if (from === undefined || to === undefined || !hasRoom(to, from.bits)) return () => undefined
  const start = formatAddress6(to.base)
  const isPlain = to.base >> 112n !== 0n && to.base % (1n << 64n) === 0n
  return (text) => {
    const address = parseAddress(text)
    if (address === undefined || !contains(from, address)) return undefined
    const place = address - from.base
    // Asked for each endpoint at each change: here only the last group differs, behind the run of zeros that stays the longest.
    if (isPlain && place > 0 && place <= 0xffff) return `${start}${place.toString(16)}`
    return formatAddress6(to.base + BigInt(place))
  }
}

/** The IPv4 address of the same place; undefined where the IPv4 subnet has no such place. */
export function ipv4At(subnet4: string, subnet6: string, text: string): string | undefined {
  const [to, from, address] = [parseSubnet(subnet4), parseSubnet6(subnet6), parseAddress6(text)]
  if (from === undefined || to === undefined || address === undefined || !contains6(from, address)) return undefined
  const place = address - from.base
  return place < BigInt(to.size) ? formatAddress(to.base + Number(place)) : undefined
}

/** What was asked of the addresses of one family, by the subnet that it belongs to. What has no subnet is IPv4's. */
export function askedOf({ IPAM }: NetworkSpec, family: 4 | 6): Asked | undefined {
  return IPAM?.Config?.find(({ Subnet = '' }) => Subnet.includes(':') === (family === 6))
}

export type Asked = NonNullable<NonNullable<NonNullable<NetworkSpec['IPAM']>['Config']>[number]>

/** A subnet for a network that named none, from a hash of its name, as its IPv4 one. Undefined when all 65,535 are taken, or the cluster is not known. */
export function chooseIpv6(view: Known, networkName: string): Ipv6 | undefined {
  const created = view.settings?.value.created
  if (created === undefined) return undefined
  const taken = subnets6In(view)
  for (const block of probe(networkName, lastBlock)) {
    const subnet = blockOf(created, block)
    if (!taken.some((other) => overlap6(other.subnet, subnet))) return asChosen(subnet)
  }
  return undefined
}

/** Of all networks that have one, and of ingress. */
export function subnets6In(view: Known): readonly { readonly name: string; readonly subnet: Subnet6 }[] {
  const created = view.settings?.value.created
  const ingress = created === undefined ? [] : [{ name: ingressNetwork, subnet: blockOf(created, lastBlock) }]
  const others = [...view.networks.values()].flatMap(({ id, value }) => {
    const subnet = id === ingressNetwork ? undefined : parseSubnet6(value.subnet6 ?? '')
    return subnet === undefined ? [] : [{ name: value.spec.Name, subnet }]
  })
  return [...ingress, ...others]
}

/** The first address after the subnet's own, Docker's habit. */
export function gateway6Of({ base }: Subnet6): string {
  return formatAddress6(base + 1n)
}

const lastBlock = 0xffff

/** `fd`, 40 bits that are the cluster's, 16 that are the network's. */
function blockOf(founded: NonNullable<View['settings']>['value']['created'], block: number): Subnet6 {
  const key = `${founded.ms} ${founded.counter} ${founded.node}`
  const cluster = (BigInt(hash32(`unique local ${key}`)) << 8n) | BigInt(hash32(`more of ${key}`) & 0xff)
  return { base: (((0xfdn << 40n) | cluster) << 80n) | (BigInt(block) << 64n), bits: 64 }
}

function asChosen(subnet: Subnet6): Ipv6 {
  return { subnet: formatSubnet6(subnet), gateway: gateway6Of(subnet) }
}

function recorded({ subnet6, gateway6 }: NetworkValue): Ipv6 | undefined {
  return subnet6 === undefined || gateway6 === undefined ? undefined : { subnet: subnet6, gateway: gateway6 }
}
