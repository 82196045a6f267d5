/**
 * Decides whether a network may be created or removed, and makes the value to store. Pure, with Docker's sentences where Docker has one.
 */
import { compareVersions, type Version } from '../../../protocol/hlc.ts'
import { limits } from '../../../protocol/limits.ts'
import { ingressNetwork, type NetworkValue } from '../../../protocol/model.ts'
import { type NetworkSpec, networkSpecSchema } from '../../../protocol/spec.ts'
import { Fault, fault } from '../../fault.ts'
import { activeGuest } from '../guests.ts'
import { carriesIpv6, nodeName, upMembers } from '../live.ts'
import type { Stamped, View } from '../view.ts'
import { attachments } from '../wanted.ts'
import { checkName } from './checks.ts'
import { admitAddresses } from './ipam.ts'
import { checkNetworkOptions } from './network-options.ts'
import { invalid, readSpec } from './read.ts'

/** Names that Docker keeps for networks of one machine, and the network of published ports. */
const predefined = new Set(['host', 'bridge', 'none', 'default', 'ingress'])

export function admitNetwork(raw: unknown, created: Version, view: View): NetworkValue | Fault {
  const read = readSpec(networkSpecSchema, 'network', raw)
  if (read instanceof Fault) return read
  const refused =
    checkName(read.Name) ??
    checkFree(view, read.Name) ??
    checkSupported(read) ??
    checkNetworkOptions(view, read.Options ?? {}) ??
    checkMtu(read)
  if (refused !== undefined) return refused
  const addressing = admitAddresses(view, read)
  if (addressing instanceof Fault) return addressing
  return checkSize({ spec: stored(read), created, ...addressing })
}

/** What has no effect, or not everywhere, or less than people may think; told when the network is created. */
export function networkWarnings(view: View, { spec }: NetworkValue): readonly string[] {
  const planes = new Set(upMembers(view).map(({ record }) => record.value.dataplane))
  const without = spec.EnableIPv6 === true ? upMembers(view).filter((member) => !carriesIpv6(member)) : []
  const [first, ...more] = without.map(({ id }) => nodeName(view, id))
  const nodes = more.length === 0 ? `node ${first}` : `node ${first} and ${more.length} more`
  return [
    ...(spec.Options?.encrypted !== undefined && planes.size > 1
      ? ['on an encrypted network tasks of nodes with the linux data plane do not reach those of nodes without it']
      : []),
    ...(first === undefined ? [] : [`tasks on ${nodes} will have no IPv6: that is for the linux data plane`]),
  ]
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
  const guest = activeGuest(view, network.id)
  if (user === undefined && guest !== undefined)
    return fault(
      'forbidden',
      `network ${network.value.spec.Name} has active endpoints: container ${guest}`,
      `Take it off first, on that node: vine network disconnect ${network.value.spec.Name} CONTAINER`,
    )
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

/** The least that IPv6 takes of any link (RFC 8200, section 5). */
const ipv6MtuMin = 1_280

function checkMtu({ EnableIPv6, Options }: NetworkSpec): Fault | undefined {
  const mtu = Options?.['com.docker.network.driver.mtu']
  if (EnableIPv6 !== true || mtu === undefined || Number(mtu) >= ipv6MtuMin) return undefined
  return invalid(`an IPv6 network cannot have an MTU of ${mtu}`, `The least is ${ipv6MtuMin}`)
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
  if (asked.EnableIPv4 === false) return no('networks without IPv4')
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

/** A record that does not fit on the wire would be accepted here and reach nobody. */
function checkSize(value: NetworkValue): NetworkValue | Fault {
  const bytes = JSON.stringify(value).length
  return bytes > limits.recordBytesMax
    ? invalid(`the network is too large: ${bytes} bytes, at most ${limits.recordBytesMax}`)
    : value
}
