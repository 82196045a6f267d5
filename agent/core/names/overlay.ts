/**
 * What names stand for where tasks have addresses of their own: the virtual IP of a service, the address of a task, as `inspect` shows them (design.md 7).
 */
import type { NetworkId } from '../../../protocol/ids.ts'
import { contains, parseAddress, parseSubnet } from '../addresses/ipv4.ts'
import type { View } from '../view.ts'
import type { Target } from './table.ts'

/** Undefined when it has none (yet). */
export function overlayAddressOf({ kind, network, id }: Target, view: View): string | undefined {
  if (kind === 'task') return view.endpoints.get(network)?.get(id)?.value.address
  return view.services.get(id)?.value.vips.find((vip) => vip.network === network)?.address
}

/** What an address stands for; 'unknown' for one of our subnets that is not in use, undefined for others'. */
export function overlayTargetOf(address: string, view: View): Target | 'unknown' | undefined {
  const network = networkOf(address, view)
  if (network === undefined) return undefined
  for (const { id, value } of view.services.values()) {
    if (value.vips.some((vip) => vip.network === network && vip.address === address))
      return { kind: 'service', network, id }
  }
  for (const [id, { value }] of view.endpoints.get(network) ?? []) {
    if (value.address === address) return { kind: 'task', network, id }
  }
  return 'unknown'
}

function networkOf(address: string, view: View): NetworkId | undefined {
  const number = parseAddress(address)
  if (number === undefined) return undefined
  for (const { id, value } of view.networks.values()) {
    const subnet = parseSubnet(value.subnet)
    if (subnet !== undefined && contains(subnet, number)) return id
  }
  return undefined
}
