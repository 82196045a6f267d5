/**
 * Who may have which address of a subnet: the first quarter is for VIPs, the rest for tasks; the gateway, the network and the broadcast
 * address are nobody's (design.md 6).
 */
import type { NetworkValue } from '../../../protocol/model.ts'
import type { Stamped } from '../view.ts'
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
  const subnet = parseSubnet(network.value.subnet)
  if (subnet === undefined) return undefined
  // At least one VIP in the smallest subnets.
  const quarter = Math.max(firstOffset + 1, Math.floor(subnet.size / 4))
  const [first, end] = options.range === 'vips' ? [firstOffset, quarter] : [quarter, subnet.size - 1]
  const gateway = parseAddress(network.value.gateway)
  let best: { readonly address: string; readonly level: number } | undefined
  for (const offset of probe(options.key, end - first)) {
    const number = subnet.base + first + offset
    if (number === gateway) continue
    const address = formatAddress(number)
    const level = options.takenLevel.get(address) ?? 0
    if (level === 0) return address
    if (level !== Number.POSITIVE_INFINITY && (best === undefined || level < best.level)) best = { address, level }
  }
  return best?.address
}
