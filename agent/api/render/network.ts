/**
 * A network in Docker's shape (swagger.yaml, NetworkInspect), and as a task's attachment.
 *
 * `Containers` are the tasks and guests of this node. With `verbose`, `Services` is what this node holds of the network's endpoints: nothing where no
 * task of the network runs here, which is how `network inspect --verbose` tells what a node knows (issue item 7).
 */
import type { NetworkId } from '../../../protocol/ids.ts'
import { ingressNetwork, type NetworkValue } from '../../../protocol/model.ts'
import { askedOf, type Ipv6, ipv6Maker, ipv6Of } from '../../core/addresses/dual.ts'
import { ownGuests } from '../../core/guests.ts'
import { isLiveGuest, isLiveTask, isUp } from '../../core/live.ts'
import type { Stamped, View } from '../../core/view.ts'
import { addressOf } from './node.ts'
import { stamps, time } from './stamps.ts'

/** List form: what every node knows. */
export function renderNetwork(view: View, network: Stamped<NetworkValue>) {
  const { spec, created } = network.value
  const ipv6 = ipv6Of(view, network.id, network.value)
  return {
    Name: spec.Name,
    Id: network.id,
    Created: time(created.ms),
    Scope: 'swarm',
    Driver: 'overlay',
    EnableIPv4: true,
    EnableIPv6: ipv6 !== undefined,
    IPAM: { Driver: 'default', Options: {}, Config: ipamConfig(network.value, ipv6) },
    Internal: spec.Internal ?? false,
    Attachable: spec.Attachable ?? false,
    Ingress: network.id === ingressNetwork,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Options: spec.Options ?? {},
    Labels: spec.Labels ?? {},
  }
}

/** The subnet in use, with what was asked of it. None where a network has no addresses of its own: ingress in user space. */
function ipamConfig({ spec, subnet, gateway }: NetworkValue, ipv6: Ipv6 | undefined) {
  if (subnet === '') return []
  const { IPRange: range = '', AuxiliaryAddresses: spare = {} } = askedOf(spec, 4) ?? {}
  const { AuxiliaryAddresses: spare6 = {} } = askedOf(spec, 6) ?? {}
  const kept = (addresses: Readonly<Record<string, string>>) =>
    Object.keys(addresses).length === 0 ? {} : { AuxiliaryAddresses: addresses }
  return [
    { Subnet: subnet, ...(range === '' ? {} : { IPRange: range }), Gateway: gateway, ...kept(spare) },
    ...(ipv6 === undefined ? [] : [{ Subnet: ipv6.subnet, Gateway: ipv6.gateway, ...kept(spare6) }]),
  ]
}

/** An IPv4 address of a network in CIDR form, and the IPv6 one that it stands for, which nothing answers in user space. */
export function addressesOf(view: View, id: NetworkId, address: string): readonly string[] {
  const network = view.networks.get(id)?.value
  if (network === undefined) return [`${address}/32`]
  const ipv6 = ipv6Of(view, id, network)
  const second = ipv6 === undefined ? undefined : ipv6Maker(network.subnet, ipv6.subnet)(address)
  const withPrefix = (text: string, subnet = '') => `${text}/${subnet.split('/')[1] ?? '32'}`
  return [withPrefix(address, network.subnet), ...(second === undefined ? [] : [withPrefix(second, ipv6?.subnet)])]
}

export function inspectNetwork(view: View, network: Stamped<NetworkValue>, show: { readonly verbose: boolean }) {
  return {
    ...renderNetwork(view, network),
    Containers: { ...localTasks(view, network), ...localGuests(view, network) },
    Peers: holders(view, network.id),
    ...(show.verbose ? { Services: heldServices(view, network.id) } : {}),
  }
}

/** `NetworksAttachments` of a task. */
export function renderAttachment(view: View, id: NetworkId, address: string) {
  const network = view.networks.get(id)
  if (network === undefined) return { Network: { ID: id }, Addresses: addressesOf(view, id, address) }
  const { spec, created, subnet, gateway } = network.value
  const range = askedOf(spec, 4)?.IPRange ?? ''
  const config = { Subnet: subnet, ...(range === '' ? {} : { Range: range }), Gateway: gateway }
  const ipv6 = ipv6Of(view, id, network.value)
  const second = ipv6 === undefined ? [] : [{ Subnet: ipv6.subnet, Gateway: ipv6.gateway }]
  const ipam = { Driver: { Name: 'default' }, Configs: [config, ...second] }
  return {
    Network: {
      ID: id,
      ...stamps(network.version, created),
      Spec: {
        Name: spec.Name,
        Labels: spec.Labels ?? {},
        DriverConfiguration: { Name: 'overlay' },
        IPAMOptions: ipam,
        Scope: 'swarm',
      },
      DriverState: { Name: 'overlay' },
      IPAMOptions: ipam,
    },
    Addresses: addressesOf(view, id, address),
  }
}

function localTasks(view: View, network: Stamped<NetworkValue>) {
  const entries = [...view.tasks.values()]
    .filter((task) => task.value.node === view.self && isLiveTask(task.value, view))
    .flatMap((task) => {
      const claim = task.value.addresses.find((held) => held.network === network.id)
      if (claim === undefined) return []
      const name = taskName(view, task.value.service, task.value.slot, task.id)
      const [ipv4, ipv6 = ''] = addressesOf(view, network.id, claim.address)
      const resource = {
        Name: name,
        EndpointID: task.id,
        MacAddress: '',
        IPv4Address: ipv4,
        IPv6Address: ipv6,
      }
      return [[task.id, resource] as const]
    })
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)))
}

function localGuests(view: View, { id: network }: Stamped<NetworkValue>) {
  const entries = ownGuests(view).flatMap(({ id, value }) => {
    if (value.network !== network || !isLiveGuest(value, view)) return []
    const [IPv4Address] = addressesOf(view, network, value.address)
    return [
      [value.container, { Name: value.name, EndpointID: id, MacAddress: '', IPv4Address, IPv6Address: '' }] as const,
    ]
  })
  return Object.fromEntries(entries)
}

/** Nodes that hold the network's endpoint records: those that run a task or have a guest on it. */
function holders(view: View, network: NetworkId) {
  return [...view.members.values()]
    .filter((member) => isUp(member) && (network === ingressNetwork || member.record.value.networks.includes(network)))
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .map((member) => ({ Name: member.id, IP: addressOf(member) }))
}

function heldServices(view: View, network: NetworkId) {
  const services = new Map<string, { VIP: string; Ports: string[]; LocalLBIndex: number; Tasks: object[] }>()
  for (const [task, endpoint] of [...(view.endpoints.get(network) ?? [])].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const { service: id, slot, node, address, ready, draining } = endpoint.value
    const service = view.services.get(id)?.value
    const name = service?.spec.Name ?? id
    const entry = services.get(name) ?? {
      VIP: service?.vips.find((vip) => vip.network === network)?.address ?? '',
      Ports: (service?.ports ?? []).map((port) => `Target: ${port.target}, Publish: ${port.published}`),
      LocalLBIndex: 0,
      Tasks: [],
    }
    const owner = view.members.get(node)
    entry.Tasks.push({
      Name: taskName(view, id, slot, task),
      EndpointID: task,
      EndpointIP: address,
      Info: {
        'Host IP': owner === undefined ? '' : addressOf(owner),
        Node: node,
        State: !isUp(owner) ? 'hidden: its node is down' : draining ? 'draining' : ready ? 'ready' : 'not ready',
      },
    })
    services.set(name, entry)
  }
  return Object.fromEntries([...services].sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** Docker's container name of a task. */
function taskName(view: View, service: string, slot: string, task: string): string {
  return `${view.services.get(service)?.value.spec.Name ?? service}.${slot}.${task}`
}
