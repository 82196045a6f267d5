/**
 * IPv4 and IPv6 to whatever is said of both alike: the table's rules and sets, reply routes, entries of conntrack. What is said twice is made by one piece
 * of code, and the IPv6 one bears a 6 at the end of its name.
 */
import { isAddress, isSubnet } from '../../core/addresses/ipv4.ts'
import { isAddress6, isSubnet6 } from '../../core/addresses/ipv6.ts'
import type { OverlayNetwork } from '../../core/routes/overlay.ts'
import type { Backend } from '../../core/routes/types.ts'
import type { Field } from './model.ts'

export interface Family {
  /** Behind the names of sets and chains. */
  readonly suffix: '' | '6'
  /** In nft's words. */
  readonly word: 'ip' | 'ip6'
  readonly saddr: Field
  readonly daddr: Field
  readonly originalDaddr: Field
  /** Before the words of ip. */
  readonly flag: '-4' | '-6'
  /** As conntrack(8) calls it. */
  readonly tracked: 'ipv4' | 'ipv6'
  /** Canonical texts: words for programs of root. */
  isAddress(text: string): boolean
  isSubnet(text: string): boolean
  /** Subnet and gateway of a network. */
  sideOf(network: OverlayNetwork): { readonly subnet: string; readonly gateway: string } | undefined
  hostOf(backend: Backend): string | undefined
}

export const ipv4: Family = {
  suffix: '',
  word: 'ip',
  saddr: 'ip saddr',
  daddr: 'ip daddr',
  originalDaddr: 'ct original ip daddr',
  flag: '-4',
  tracked: 'ipv4',
  isAddress,
  isSubnet,
  sideOf: (network) => network,
  hostOf: ({ host }) => host,
}

export const ipv6: Family = {
  suffix: '6',
  word: 'ip6',
  saddr: 'ip6 saddr',
  daddr: 'ip6 daddr',
  originalDaddr: 'ct original ip6 daddr',
  flag: '-6',
  tracked: 'ipv6',
  isAddress: isAddress6,
  isSubnet: isSubnet6,
  sideOf: (network) => network.ipv6,
  hostOf: ({ host6 }) => host6,
}

/** IPv6 only where a network has it: a kernel without is then not asked for any. */
export function familiesOf(networks: readonly OverlayNetwork[]): readonly Family[] {
  return networks.some((network) => network.ipv6 !== undefined) ? [ipv4, ipv6] : [ipv4]
}
