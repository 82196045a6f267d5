/**
 * Decides whether a network may be created or removed, and makes the value to store. Pure, with Docker's sentences where Docker has one.
 */
import { compareVersions, type Version } from '../../../protocol/hlc.ts'
import { ingressNetwork, type NetworkValue } from '../../../protocol/model.ts'
import { type NetworkSpec, networkSpecSchema } from '../../../protocol/spec.ts'
import { Fault, fault } from '../../fault.ts'
import { contains, formatAddress, formatSubnet, parseAddress, parseSubnet } from '../addresses/ipv4.ts'
import { chooseSubnet, gatewayOf, overlapping } from '../addresses/subnet.ts'
import type { Stamped, View } from '../view.ts'
import { attachments } from '../wanted.ts'
import { checkName } from './checks.ts'
import { invalid, readSpec } from './read.ts'

/** Names that Docker keeps for networks of one machine, and the network of published ports. */
const predefined = new Set(['host', 'bridge', 'none', 'default', 'ingress'])

export function admitNetwork(raw: unknown, created: Version, view: View): NetworkValue | Fault {
  const read = readSpec(networkSpecSchema, 'network', raw)
  if (read instanceof Fault) return read
  const refused = checkName(read.Name) ?? checkFree(view, read.Name) ?? checkSupported(read)
  if (refused !== undefined) return refused
  const spec = stored(read)
  const given = read.IPAM?.Config?.[0]
  const asked = given?.Subnet ?? ''
  const range = asked === '' ? chooseSubnet(view, read.Name) : givenSubnet(view, asked, given?.Gateway)
  if (range instanceof Fault) return range
  if (range === undefined) {
    return fault('conflict', 'could not find an available, non-overlapping IPv4 address pool', 'Name one with --subnet')
  }
  return { spec, created, ...range }
}

/** A network by id, by name (the earlier creation holds a name), by start of its id. */
export function networkNamed(view: View, name: string): Stamped<NetworkValue> | Fault | undefined {
  const exact = view.networks.get(name)
  if (exact !== undefined) return exact
  const all = [...view.networks.values()]
  const named = all.filter((network) => network.value.spec.Name === name)
  if (named.length > 0) return named.sort((a, b) => compareVersions(a.value.created, b.value.created))[0]
  const begun = name === '' ? [] : all.filter((network) => network.id.startsWith(name))
  return begun.length > 1
    ? invalid(`network ${name} is ambiguous (${begun.length} matches found on ID prefix)`)
    : begun[0]
}

/** undefined, or why the network must stay. */
export function checkNetworkRemoval(view: View, network: Stamped<NetworkValue>): Fault | undefined {
  if (network.id === ingressNetwork) return fault('forbidden', 'ingress is a pre-defined network and cannot be removed')
  const user = [...view.services.values()]
    .filter((service) => attachments(service.value.spec).some((a) => a.Target === network.id))
    .sort((a, b) => (a.id < b.id ? -1 : 1))[0]
  if (user === undefined) return undefined
  const service = user.value.spec.Name
  return fault(
    'forbidden',
    `network ${network.value.spec.Name} is in use by service ${service}`,
    `Remove service "${service}" first`,
  )
}

function checkFree(view: View, name: string): Fault | undefined {
  if (predefined.has(name)) return fault('forbidden', `operation is not permitted on predefined ${name} network`)
  const taken = [...view.networks.values()].some((network) => network.value.spec.Name === name)
  return taken ? fault('conflict', `network with name ${name} already exists`, 'Choose another name') : undefined
}

function checkSupported(spec: NetworkSpec): Fault | undefined {
  const asked = spec as NetworkSpec & Readonly<Record<string, unknown>>
  const no = (what: string, fix?: string): Fault => fault('unsupported', `Grapevine does not support ${what}`, fix)
  if (spec.Driver !== undefined && spec.Driver !== '' && spec.Driver !== 'overlay') {
    return no(
      `the network driver "${spec.Driver.slice(0, 40)}"`,
      'Every network here spans the cluster: create it with --driver overlay',
    )
  }
  if (asked.Scope !== undefined && asked.Scope !== '' && asked.Scope !== 'swarm') return no('networks of one machine')
  if (asked.ConfigOnly === true) return no('config-only networks')
  const from = asked.ConfigFrom
  if (typeof from === 'object' && from !== null && Object.values(from).some((value) => value !== ''))
    return no('config-only networks')
  if (spec.Ingress === true) return no('another ingress network', 'There is one already')
  if (spec.EnableIPv6 === true) return no('IPv6 networks in user space')
  if (asked.EnableIPv4 === false) return no('networks without IPv4')
  const option = Object.keys(spec.Options ?? {}).find((name) => name !== 'encrypted')
  if (option !== undefined) return no(`the network option "${option.slice(0, 80)}"`)
  return checkIpam(spec, no)
}

function checkIpam(spec: NetworkSpec, no: (what: string) => Fault): Fault | undefined {
  const ipam = spec.IPAM ?? {}
  if (ipam.Driver !== undefined && ipam.Driver !== '' && ipam.Driver !== 'default') return no('IPAM drivers')
  if (typeof ipam.Options === 'object' && ipam.Options !== null && Object.keys(ipam.Options).length > 0)
    return no('IPAM options')
  const config = ipam.Config ?? []
  if (config.length > 1) return no('more than one subnet a network')
  const [first] = config
  if ((first?.IPRange ?? '') !== '') return no('an IP range within a subnet (--ip-range)')
  if (Object.keys(first?.AuxiliaryAddresses ?? {}).length > 0) return no('auxiliary addresses (--aux-address)')
  if ((first?.Subnet ?? '') === '' && (first?.Gateway ?? '') !== '') return invalid('a gateway needs a subnet')
  return undefined
}

/** Docker's create request holds fields that are no part of the spec. */
function stored(spec: NetworkSpec): NetworkSpec {
  const {
    CheckDuplicate: _check,
    Scope: _scope,
    ConfigFrom: _from,
    ConfigOnly: _only,
    ...rest
  } = spec as NetworkSpec & Readonly<Record<string, unknown>>
  return { ...rest, Name: spec.Name, Driver: 'overlay' }
}

type Range = Pick<NetworkValue, 'subnet' | 'gateway'>

/** VIPs take the first quarter of a subnet: below /29 nothing would be left; above /8 it is no private pool. */
const prefixMin = 8
const prefixMax = 29

function givenSubnet(view: View, text: string, gateway = ''): Range | Fault {
  const subnet = parseSubnet(text)
  if (subnet === undefined) return invalid(`invalid subnet ${text.slice(0, 80)}: invalid CIDR block notation`)
  if (subnet.bits < prefixMin || subnet.bits > prefixMax) {
    return invalid(`invalid subnet ${text}: the prefix must be /${prefixMin} to /${prefixMax}`)
  }
  if (parseAddress(text.split('/')[0] ?? '') !== subnet.base) {
    return invalid(`invalid subnet ${text}: it should be ${formatSubnet(subnet)}`)
  }
  const other = overlapping(view, subnet)
  if (other !== undefined) {
    return fault(
      'forbidden',
      'invalid pool request: Pool overlaps with other one on this address space',
      `Network "${other}" has part of it`,
    )
  }
  if (gateway === '') return { subnet: formatSubnet(subnet), gateway: gatewayOf(subnet) }
  const address = parseAddress(gateway)
  if (address === undefined || !contains(subnet, address))
    return invalid(`no matching subnet for gateway ${gateway.slice(0, 80)}`)
  return { subnet: formatSubnet(subnet), gateway: formatAddress(address) }
}
