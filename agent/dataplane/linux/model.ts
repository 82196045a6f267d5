/**
 * The kernel's table as data: what render.ts computes, text.ts says to nft, and the tests trace packets through.
 *
 * Only what this data plane needs of nftables. Keys and values of elements are spelled as nft spells them (`"vb0" . 10.0.0.1`), parts joined by ` . `,
 * so that equal tables are equal text. Types only, but for the spelling.
 */

export interface Table {
  readonly sets: ReadonlyMap<string, NamedSet>
  readonly chains: ReadonlyMap<string, Chain>
}

/** What a rule can read of a packet, in nft's words. */
export type Field =
  | 'iifname'
  | 'oifname'
  | 'ether saddr'
  | 'ip saddr'
  | 'ip daddr'
  | 'ip6 saddr'
  | 'ip6 daddr'
  | 'meta nfproto'
  | 'meta l4proto'
  | 'th dport'
  | 'meta mark'
  | 'ct mark'
  | 'ct zone'
  | 'ct original ip daddr'
  | 'ct original ip6 daddr'
  | 'ct state'
  | 'ct status'
  | 'ct direction'

/** A set; a map where it has values; a verdict map where they are `goto <chain>`. */
export interface NamedSet {
  readonly keys: readonly Field[]
  readonly values: readonly Field[] | 'verdict' | undefined
  /** Keys are subnets, and do not overlap. */
  readonly interval: boolean
  /** Key to value; the empty text in a set. */
  readonly elements: ReadonlyMap<string, string>
}

export interface Chain {
  /** Undefined: reached by jumps alone. */
  readonly hook: Hook | undefined
  readonly rules: readonly Rule[]
}

export interface Hook {
  readonly type: 'filter' | 'nat'
  readonly at: 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting'
  readonly priority: number
}

/** Holds for a packet when all conditions do. A packet that an action finds no element for goes on with the next rule. */
export interface Rule {
  readonly when: readonly Condition[]
  readonly action: Action
}

export type Condition =
  | { readonly field: Field; readonly is: readonly string[]; readonly not?: true }
  | { readonly fields: readonly Field[]; readonly in: string; readonly not?: true }
  /** The bits under the mask are those of the value. */
  | { readonly field: 'ct mark'; readonly mask: number; readonly value: number }
  /** A datagram of VXLAN to one of these ports, with one of these numbers (RFC 7348). None is empty. */
  | { readonly vxlan: readonly number[]; readonly numbers: readonly number[] }
  /** The first packet of a TCP handshake, either way. */
  | { readonly tcp: 'syn' }

export type Action =
  | { readonly do: 'accept' | 'drop' | 'masquerade' | 'clamp-mss' | 'notrack' }
  | { readonly do: 'reject'; readonly with: 'tcp reset' | 'icmpx port-unreachable' | 'icmpx admin-prohibited' }
  | { readonly do: 'goto' | 'jump'; readonly chain: string }
  | { readonly do: 'verdict'; readonly of: readonly Field[]; readonly map: string }
  | { readonly do: 'set'; readonly field: 'ct mark' | 'ct original zone'; readonly of: Field; readonly map: string }
  | { readonly do: 'copy'; readonly from: 'ct mark'; readonly to: 'meta mark' }
  | { readonly do: 'dnat' | 'snat'; readonly ip: 'ip' | 'ip6'; readonly to: Target }
  /** Goes on in one of these chains. */
  | { readonly do: 'choose'; readonly among: Choice }

/** An address, or `address . port`. */
export type Target =
  | { readonly value: string }
  | { readonly of: readonly Field[]; readonly map: string }
  | { readonly of: readonly Field[]; readonly elements: ReadonlyMap<string, string> }
  | { readonly choice: Choice }

export interface Choice {
  /** random: each with equal chance. client: the value at the place of the client's address (core/routes/client-place.ts), IPv6 or not. */
  readonly by: 'random' | 'client' | 'client6'
  readonly values: readonly string[]
  /** Index into `values` by place; not with `random`. */
  readonly places?: Uint16Array | undefined
}

export function keyOf(...parts: readonly (string | number)[]): string {
  return parts.join(' . ')
}

/** A device's name as nft spells it in keys and conditions. */
export function device(name: string): string {
  return `"${name}"`
}
