/**
 * Who may have which address of a network: the first quarter of its range is for VIPs, the rest for tasks (design.md 6). The range is the
 * subnet, or the part of it that was asked for (`--ip-range`). The gateway, the network and broadcast addresses, and those kept for others
 * (`--aux-address`) are nobody's, nor are those whose IPv6 address is.
 */
import type { NetworkValue } from '../../../protocol/model.ts'
import type { Stamped } from '../view.ts'
import { askedOf, ipv4At } from './dual.ts'
import { formatAddress, parseAddress, parseSubnet } from './ipv4.ts'
import { probe } from './probe.ts'

/** Offset of the first address after network address and the usual gateway. */
const firstOffset = 2

/**
 * The address that the key claims: the first in its order that is free. `takenLevel` says how dear an address is: 0 free, and higher
 * the less it should be taken; an address of `Infinity` never is. Undefined when nothing is left.
 */
export function chooseAddress(
  network: Stamped<NetworkValue>,
  options: {
    readonly range: 'vips' | 'tasks'
    readonly key: string
    readonly takenLevel: ReadonlyMap<string, number>
  },
): string | undefined {
  const spans = spansOf(network.value)
  if (spans === undefined) return undefined
  const { first, end } = spans[options.range]
  const nobodys = keptBack(network.value)
  let best: { readonly address: string; readonly level: number } | undefined
  for (const offset of probe(options.key, end - first)) {
    const number = first + offset
    if (nobodys.has(number)) continue
    const address = formatAddress(number)
    const level = options.takenLevel.get(address) ?? 0
    if (level === 0) return address
    if (level !== Number.POSITIVE_INFINITY && (best === undefined || level < best.level)) best = { address, level }
  }
  return best?.address
}

/** Addresses from `first` up to and without `end`. */
interface Span {
  readonly first: number
  readonly end: number
}

function spansOf({ spec, subnet: text }: NetworkValue): Readonly<Record<'vips' | 'tasks', Span>> | undefined {
  const subnet = parseSubnet(text)
  if (subnet === undefined) return undefined
  const range = parseSubnet(askedOf(spec, 4)?.IPRange ?? '') ?? subnet
  const first = Math.max(range.base, subnet.base + firstOffset)
  const end = Math.min(range.base + range.size, subnet.base + subnet.size - 1)
  // At least one VIP in the smallest ranges.
  const border = Math.max(first + 1, range.base + Math.floor(range.size / 4))
  return { vips: { first, end: border }, tasks: { first: border, end } }
}

function keptBack({ spec, subnet, gateway, subnet6, gateway6 }: NetworkValue): ReadonlySet<number | undefined> {
  const spare = (family: 4 | 6) => Object.values(askedOf(spec, family)?.AuxiliaryAddresses ?? {})
  const kept6 = gateway6 === undefined ? [] : [gateway6, ...spare(6)]
  const places = kept6.flatMap((address) => ipv4At(subnet, subnet6 ?? '', address) ?? [])
  return new Set([gateway, ...spare(4), ...places].map(parseAddress))
}
