/**
 * Decides which addresses a network has, from what was asked (`--subnet`, `--gateway`, `--ip-range`, `--aux-address`). Pure, with Docker's
 * sentences where Docker has one (moby api/types/network ValidateIPAM); what cannot be done is refused and never ignored.
 */
import type { NetworkValue } from '../../../protocol/model.ts'
import type { NetworkSpec } from '../../../protocol/spec.ts'
import { Fault, fault } from '../../fault.ts'
import { type Asked, askedOf } from '../addresses/dual.ts'
import { contains, formatAddress, formatSubnet, parseAddress, parseSubnet, type Subnet } from '../addresses/ipv4.ts'
import { chooseSubnet, gatewayOf, overlapping } from '../addresses/subnet.ts'
import type { View } from '../view.ts'
import { type Addressing6, admitIpv6 } from './ipam6.ts'
import { invalid } from './read.ts'

export type Addressing = Pick<NetworkValue, 'subnet' | 'gateway'>

/** The subnets and gateways of a new network; its ranges and spare addresses stay in the spec (addresses/ranges.ts reads them there). */
export function admitAddresses(view: View, spec: NetworkSpec): (Addressing & Addressing6) | Fault {
  const first = checkSupported(spec) ?? admitIpv4(view, spec)
  if (first instanceof Fault) return first
  const second = admitIpv6(view, spec, first.subnet)
  return second instanceof Fault ? second : { ...first, ...second }
}

function admitIpv4(view: View, spec: NetworkSpec): Addressing | Fault {
  const asked: Asked = askedOf(spec, 4) ?? {}
  if ((asked.Subnet ?? '') !== '') return asGiven(view, asked)
  const alone = needsSubnet(asked)
  if (alone !== undefined) return invalid(`${alone} needs a subnet`, 'Name the subnet: --subnet 10.77.0.0/16')
  return (
    chooseSubnet(view, spec.Name) ??
    fault('conflict', 'could not find an available, non-overlapping IPv4 address pool', 'Name one with --subnet')
  )
}

function checkSupported({ IPAM }: NetworkSpec): Fault | undefined {
  const no = (what: string): Fault => fault('unsupported', `Grapevine does not support ${what}`)
  const { Driver: driver = '', Options: options, Config: config } = IPAM ?? {}
  if (driver !== '' && driver !== 'default') return no('IPAM drivers')
  if (typeof options === 'object' && options !== null && Object.keys(options).length > 0) return no('IPAM options')
  const ofIpv6 = (config ?? []).filter(({ Subnet = '' }) => Subnet.includes(':')).length
  if (ofIpv6 > 1 || (config ?? []).length - ofIpv6 > 1) return no('more than one subnet of a kind a network')
  return undefined
}

function needsSubnet({ Gateway, IPRange, AuxiliaryAddresses }: Asked): string | undefined {
  if ((Gateway ?? '') !== '') return 'a gateway'
  if ((IPRange ?? '') !== '') return 'an ip-range'
  return Object.keys(AuxiliaryAddresses ?? {}).length > 0 ? 'an auxiliary address' : undefined
}

/** VIPs take the first quarter of a subnet: below /29 nothing would be left; above /8 it is no private pool. */
const prefixMin = 8
const prefixMax = 29
/** The least that has room for a VIP and a task. */
const rangePrefixMax = 30

function asGiven(view: View, asked: Asked): Addressing | Fault {
  const text = asked.Subnet ?? ''
  const subnet = parseSubnet(text)
  if (subnet === undefined) return invalid(`invalid subnet ${text.slice(0, 80)}: invalid CIDR block notation`)
  if (subnet.bits < prefixMin || subnet.bits > prefixMax)
    return invalid(`invalid subnet ${text}: the prefix must be /${prefixMin} to /${prefixMax}`)
  const wrong = checkAligned('subnet', text, subnet) ?? checkRange(asked.IPRange ?? '', subnet)
  if (wrong !== undefined) return wrong
  const other = overlapping(view, subnet)
  if (other !== undefined) {
    return fault(
      'forbidden',
      'invalid pool request: Pool overlaps with other one on this address space',
      `Network "${other}" has part of it`,
    )
  }
  const gateway = gatewayIn(subnet, asked.Gateway ?? '')
  if (gateway instanceof Fault) return gateway
  return checkSpare(asked.AuxiliaryAddresses ?? {}, subnet, gateway) ?? { subnet: formatSubnet(subnet), gateway }
}

function checkAligned(what: string, text: string, subnet: Subnet): Fault | undefined {
  return parseAddress(text.split('/')[0] ?? '') === subnet.base
    ? undefined
    : invalid(`invalid ${what} ${text}: it should be ${formatSubnet(subnet)}`)
}

function checkRange(text: string, subnet: Subnet): Fault | undefined {
  if (text === '') return undefined
  const bad = (why: string): Fault => invalid(`invalid ip-range ${text.slice(0, 80)}: ${why}`)
  const range = parseSubnet(text)
  if (range === undefined) return bad('invalid CIDR block notation')
  if (range.bits < subnet.bits) return bad(`CIDR block is bigger than its parent subnet ${formatSubnet(subnet)}`)
  if (!contains(subnet, range.base)) return bad(`parent subnet ${formatSubnet(subnet)} doesn't contain ip-range`)
  if (range.bits > rangePrefixMax) return bad(`the prefix must be at most /${rangePrefixMax}`)
  return checkAligned('ip-range', text, range)
}

function gatewayIn(subnet: Subnet, text: string): string | Fault {
  if (text === '') return gatewayOf(subnet)
  const address = parseAddress(text)
  return address === undefined || !isHost(subnet, address)
    ? invalid(`no matching subnet for gateway ${text.slice(0, 80)}`)
    : formatAddress(address)
}

function checkSpare(spare: Readonly<Record<string, string>>, subnet: Subnet, gateway: string): Fault | undefined {
  for (const [name, text] of Object.entries(spare)) {
    const address = parseAddress(text)
    if (address === undefined || !contains(subnet, address))
      return invalid(`no matching subnet for aux-address ${text.slice(0, 80)}`)
    if (formatAddress(address) === gateway)
      return fault(
        'conflict',
        `failed to allocate secondary ip address (${name.slice(0, 80)}:${gateway}): Address already in use`,
        'It is the gateway: name another with --gateway',
      )
  }
  return undefined
}

/** Neither the network's own address nor the one of all its hosts. */
function isHost(subnet: Subnet, address: number): boolean {
  return contains(subnet, address) && address !== subnet.base && address !== subnet.base + subnet.size - 1
}
