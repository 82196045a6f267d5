/**
 * Decides which IPv6 subnet and gateway a new network has, beside its IPv4 ones (`--ipv6`, a second `--subnet`). Pure; sentences as in ipam.ts.
 *
 * IPv6 addresses follow the IPv4 ones (addresses/dual.ts): the subnet must have a place for each of them, and a range of its own means nothing.
 */
import type { NetworkValue } from '../../../protocol/model.ts'
import type { NetworkSpec } from '../../../protocol/spec.ts'
import { Fault, fault } from '../../fault.ts'
import { type Asked, askedOf, chooseIpv6, gateway6Of, hasRoom, subnets6In } from '../addresses/dual.ts'
import { parseSubnet } from '../addresses/ipv4.ts'
import {
  contains6,
  formatAddress6,
  formatSubnet6,
  isUnicast,
  overlap6,
  parseAddress6,
  parseSubnet6,
  type Subnet6,
} from '../addresses/ipv6.ts'
import type { View } from '../view.ts'
import { invalid } from './read.ts'

export type Addressing6 = Pick<NetworkValue, 'subnet6' | 'gateway6'>

/** `subnet`: the network's IPv4 one. Nothing where IPv6 is not asked for. */
export function admitIpv6(view: View, spec: NetworkSpec, subnet: string): Addressing6 | Fault {
  const asked = askedOf(spec, 6)
  if (spec.EnableIPv6 !== true) {
    if (asked === undefined) return {}
    return invalid(`invalid subnet ${(asked.Subnet ?? '').slice(0, 80)}: IPv6 is not enabled`, 'Add --ipv6')
  }
  if (asked !== undefined) return asGiven(view, asked, subnet)
  const chosen = chooseIpv6(view, spec.Name)
  if (chosen !== undefined) return { subnet6: chosen.subnet, gateway6: chosen.gateway }
  return fault('conflict', 'could not find an available, non-overlapping IPv6 address pool', 'Name one with --subnet')
}

/** Shorter ones hold addresses of others, such as all unique local ones; and routes so wide are taken for default routes (overlay-devices.ts). */
const prefixMin = 16

function asGiven(view: View, asked: Asked, subnet4: string): Addressing6 | Fault {
  const text = asked.Subnet ?? ''
  const bad = (why: string): Fault => invalid(`invalid subnet ${text.slice(0, 80)}: ${why}`)
  const subnet = parseSubnet6(text)
  if (subnet === undefined) return bad('invalid CIDR block notation')
  if (parseAddress6(text.split('/')[0] ?? '') !== subnet.base) return bad(`it should be ${formatSubnet6(subnet)}`)
  if (subnet.bits < prefixMin) return bad(`the prefix must be /${prefixMin} or longer`)
  if (!isUnicast(subnet)) return bad('it is neither of global (2000::/3) nor of unique local addresses (fc00::/7)')
  const bits4 = parseSubnet(subnet4)?.bits ?? 0
  if (!hasRoom(subnet, bits4))
    return bad(`it has fewer addresses than the IPv4 subnet ${subnet4}: the prefix must be at most /${96 + bits4}`)
  const other = subnets6In(view).find((known) => overlap6(known.subnet, subnet))
  if (other !== undefined) {
    return fault(
      'forbidden',
      'invalid pool request: Pool overlaps with other one on this address space',
      `Network "${other.name}" has part of it`,
    )
  }
  if ((asked.IPRange ?? '') !== '') {
    return fault(
      'unsupported',
      'Grapevine does not support an ip-range of IPv6',
      'IPv6 addresses follow the IPv4 ones: give a range of those',
    )
  }
  const gateway = gatewayIn(subnet, asked.Gateway ?? '')
  if (gateway instanceof Fault) return gateway
  return (
    checkSpare(asked.AuxiliaryAddresses ?? {}, subnet, gateway) ?? { subnet6: formatSubnet6(subnet), gateway6: gateway }
  )
}

function gatewayIn(subnet: Subnet6, text: string): string | Fault {
  if (text === '') return gateway6Of(subnet)
  const address = parseAddress6(text)
  // The first address is that of all routers of the subnet (RFC 4291, 2.6.1).
  return address === undefined || !contains6(subnet, address) || address === subnet.base
    ? invalid(`no matching subnet for gateway ${text.slice(0, 80)}`)
    : formatAddress6(address)
}

function checkSpare(spare: Readonly<Record<string, string>>, subnet: Subnet6, gateway: string): Fault | undefined {
  for (const [name, text] of Object.entries(spare)) {
    const address = parseAddress6(text)
    if (address === undefined || !contains6(subnet, address))
      return invalid(`no matching subnet for aux-address ${text.slice(0, 80)}`)
    if (formatAddress6(address) === gateway)
      return fault(
        'conflict',
        `failed to allocate secondary ip address (${name.slice(0, 80)}:${gateway}): Address already in use`,
        'It is the gateway: name another with --gateway',
      )
  }
  return undefined
}
