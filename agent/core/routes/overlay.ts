/**
 * What a kernel needs to carry a node's networks: which they are, who else is on them, and where each address lives (design.md 8, linux).
 *
 * Pure and sorted like `routes`, of which it is a part on nodes with the linux data plane. Addresses come from task records, which every node holds,
 * and not from endpoints: a task that drains, or is not ready yet, is reached all the same.
 */
import type { NetworkId, NodeId, TaskId } from '../../../protocol/ids.ts'
import { ingressNetwork } from '../../../protocol/model.ts'
import { conflicts } from '../conflicts.ts'
import { isLiveTask } from '../live.ts'
import type { View } from '../view.ts'

export interface Overlay {
  /** Networks on which this node runs a task, and ingress. Sorted by id. */
  readonly networks: readonly OverlayNetwork[]
  /** The other members that are not dead, sorted by id. */
  readonly nodes: readonly OverlayNode[]
  /** Addresses of live tasks on these networks, here and elsewhere, sorted by network and address. */
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
}

export interface OverlayNode {
  readonly node: NodeId
  /** Where the machine is reached: the far end of tunnels. */
  readonly address: string
  /** All its own addresses. */
  readonly addresses: readonly string[]
  readonly dataplane: 'linux' | 'userspace'
}

export interface Place {
  readonly network: NetworkId
  readonly address: string
  readonly task: TaskId
  readonly node: NodeId
}

/** Undefined where this node's data plane is not linux. */
export function overlay(view: View, self: NodeId = view.self): Overlay | undefined {
  if (view.members.get(self)?.record.value.dataplane !== 'linux') return undefined
  const clashing = conflicts(view)
  const places: Place[] = []
  const here = new Set<NetworkId>([ingressNetwork])
  for (const { id, value } of view.tasks.values()) {
    if (!isLiveTask(value, view)) continue
    for (const { network, address } of value.addresses) {
      if (clashing.has(network)) continue
      places.push({ network, address, task: id, node: value.node })
      if (value.node === self) here.add(network)
    }
  }
  const networks = [...here].sort().flatMap((id): OverlayNetwork[] => {
    const network = view.networks.get(id)
    if (network === undefined) return []
    const { subnet, gateway, spec } = network.value
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
      },
    ]
  })
  const carried = new Set(networks.map(({ id }) => id))
  return {
    networks,
    nodes: nodes(view, self),
    places: places.filter(({ network }) => carried.has(network)).sort(byPlace),
  }
}

function nodes(view: View, self: NodeId): readonly OverlayNode[] {
  const found: OverlayNode[] = []
  for (const [node, member] of view.members) {
    const { addresses, dataplane } = member.record.value
    const [address] = addresses
    if (node === self || member.liveness === 'dead' || member.liveness === 'left' || address === undefined) continue
    found.push({ node, address, addresses, dataplane: dataplane === 'linux' ? 'linux' : 'userspace' })
  }
  return found.sort((a, b) => (a.node < b.node ? -1 : 1))
}

function byPlace(a: Place, b: Place): number {
  if (a.network !== b.network) return a.network < b.network ? -1 : 1
  return a.address < b.address ? -1 : a.address > b.address ? 1 : a.task < b.task ? -1 : 1
}
