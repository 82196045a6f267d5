/**
 * What a kernel needs to carry a node's networks: which they are, who else is on them, and where each address lives (design.md 8, linux).
 *
 * Pure and sorted like `routes`, of which it is a part on nodes with the linux data plane. Addresses come from task records, which every node holds,
 * and not from endpoints: a task that drains, or is not ready yet, is reached all the same. Nor does the way to a node end with its agent: its kernel
 * goes on, and with it the connections that are open to its tasks or came in through it. Nothing new is sent there, since it is in no table.
 *
 * What comes out becomes words for root's programs, so texts of records that are no addresses end here.
 */
import type { GuestId, NetworkId, NodeId, TaskId } from '../../../protocol/ids.ts'
import { type GuestValue, ingressNetwork, type TaskValue } from '../../../protocol/model.ts'
import { type Ipv6, ipv6Of } from '../addresses/dual.ts'
import { isAddress, isSubnet } from '../addresses/ipv4.ts'
import { conflicts } from '../conflicts.ts'
import { carriesIpv6, hasEnded, isLiveGuest, isLiveTask } from '../live.ts'
import type { View } from '../view.ts'

/** VXLAN's own UDP port (RFC 7348). */
export const vxlanPort = 4789

export interface Overlay {
  /** Networks on which this node runs a task or has a guest, and ingress. Sorted by id. */
  readonly networks: readonly OverlayNetwork[]
  /** The other members that have not left, sorted by id. */
  readonly nodes: readonly OverlayNode[]
  /** Addresses of tasks and guests that may run on these networks, here and elsewhere, each once, sorted by network and address. */
  readonly places: readonly Place[]
}

export interface OverlayNetwork {
  readonly id: NetworkId
  readonly name: string
  /** CIDR. */
  readonly subnet: string
  /** Every node answers at it, for its own tasks: they route everything through it. */
  readonly gateway: string
  /** No way out of the network. */
  readonly internal: boolean
  readonly encrypted: boolean
  /** MTU that was asked for (`com.docker.network.driver.mtu`); undefined: that of the path. */
  readonly mtu: number | undefined
  /** Beside IPv4; left out where the network or this node has none. */
  readonly ipv6?: Ipv6 | undefined
}

export interface OverlayNode {
  readonly node: NodeId
  /** Where the machine is reached: the far end of tunnels. */
  readonly address: string
  /** All its own addresses. */
  readonly addresses: readonly string[]
  readonly dataplane: 'linux' | 'userspace'
  /** UDP port of its tunnels. */
  readonly dataPathPort: number
  /** How encrypted networks reach it: its key in base64, and its UDP port. A node without is on none. */
  readonly wireguard?: { readonly key: string; readonly port: number } | undefined
}

export interface Place {
  readonly network: NetworkId
  readonly address: string
  readonly task: TaskId | GuestId
  readonly node: NodeId
}

/** Undefined where this node's data plane is not linux. */
export function overlay(view: View, self: NodeId = view.self): Overlay | undefined {
  if (view.members.get(self)?.record.value.dataplane !== 'linux') return undefined
  const clashing = conflicts(view)
  const places = new Map<string, Place & { readonly isLive: boolean }>()
  const here = new Set<NetworkId>([ingressNetwork])
  const take = (place: Place & { readonly isLive: boolean }): void => {
    const { network, address, node } = place
    if (clashing.has(network) || !isAddress(address)) return
    const key = `${network} ${address}`
    const known = places.get(key)
    if (known === undefined || comesBefore(place, known)) places.set(key, place)
    if (node === self) here.add(network)
  }
  for (const { id, value } of view.tasks.values()) {
    if (!mayRun(value, view)) continue
    const isLive = isLiveTask(value, view)
    for (const { network, address } of value.addresses) take({ network, address, task: id, node: value.node, isLive })
  }
  for (const { id, value } of view.guests.values()) {
    const { network, address, node } = value
    if (address === undefined || !isHere(value, view)) continue
    take({ network, address, task: id, node, isLive: isLiveGuest(value, view) })
  }
  const hasIpv6 = carriesIpv6(view.members.get(self))
  const networks = [...here].sort().flatMap((id): OverlayNetwork[] => {
    const network = view.networks.get(id)
    if (network === undefined) return []
    const { subnet, gateway, spec } = network.value
    if (!isWord(id) || !isSubnet(subnet) || !isAddress(gateway)) return []
    const mtu = Number(spec.Options?.['com.docker.network.driver.mtu'])
    return [
      {
        id,
        name: spec.Name,
        subnet,
        gateway,
        internal: spec.Internal === true,
        encrypted: spec.Options?.encrypted !== undefined,
        mtu: Number.isInteger(mtu) ? mtu : undefined,
        ipv6: hasIpv6 ? ipv6Of(view, id, network.value) : undefined,
      },
    ]
  })
  const carried = new Set(networks.map(({ id }) => id))
  return {
    networks,
    nodes: nodes(view, self),
    places: [...places.values()]
      .filter(({ network }) => carried.has(network))
      .map(({ isLive: _isLive, ...place }) => place)
      .sort(byPlace),
  }
}

function isWord(id: NetworkId): boolean {
  return /^[0-9a-z]{1,40}$/.test(id)
}

/** Of two that claim one address: the live one. Of two live ones the one that loses it is replaced (addresses/lost.ts). */
function comesBefore(a: { isLive: boolean; task: TaskId }, b: { isLive: boolean; task: TaskId }): boolean {
  return a.isLive === b.isLive ? a.task < b.task : a.isLive
}

/** Not known to have ended with its node: an agent that is gone leaves its tasks running. */
function mayRun(task: TaskValue, view: View): boolean {
  return !hasEnded(task.state) && isHere(task, view)
}

function isHere({ node, boot }: TaskValue | GuestValue, view: View): boolean {
  const member = view.members.get(node)
  return member?.liveness !== 'left' && member?.record.value.boot === boot
}

/**
 * Members that only programs of their own machine can reach, because their first address is a loopback one. To a kernel such an address is a stranger's
 * mistake, whoever sends there, so nothing of such a node is in a linux node's table.
 */
export function nodesOnLoopback(view: View): readonly NodeId[] {
  const found = [...view.members].filter(([, { record }]) => isLoopback(record.value.addresses[0]))
  return found.map(([node]) => node).sort()
}

function isLoopback(address = ''): boolean {
  return /^127\./.test(address)
}

function nodes(view: View, self: NodeId): readonly OverlayNode[] {
  const found: OverlayNode[] = []
  for (const [node, member] of view.members) {
    const { dataplane, dataPathPort = vxlanPort, wireguard } = member.record.value
    const addresses = member.record.value.addresses.filter((text) => /^[0-9a-f:.]+$/i.test(text))
    const [address] = addresses
    if (node === self || member.liveness === 'left' || address === undefined || isLoopback(address)) continue
    found.push({
      node,
      address,
      addresses,
      dataplane: dataplane === 'linux' ? 'linux' : 'userspace',
      dataPathPort,
      wireguard:
        wireguard === undefined
          ? undefined
          : { key: btoa(String.fromCharCode(...wireguard.key)), port: wireguard.port },
    })
  }
  return found.sort((a, b) => (a.node < b.node ? -1 : 1))
}

function byPlace(a: Place, b: Place): number {
  if (a.network !== b.network) return a.network < b.network ? -1 : 1
  return a.address < b.address ? -1 : a.address > b.address ? 1 : a.task < b.task ? -1 : 1
}
