/**
 * Decides which address of the overlay is where: neighbour and forwarding entries of this node, and the commands that change what is into what should be.
 *
 * Nothing is ever learned or flooded. A task of this node is reached through its cable. A task of another linux node is reached through that node's
 * bridge: frames go to the node's hardware address, and it routes them on. A task of a userspace node has no entry; the nft table knows the way.
 */
import type { NetworkId, NodeId } from '../../../protocol/ids.ts'
import { ipv6Maker } from '../../core/addresses/dual.ts'
import type { Overlay } from '../../core/routes/overlay.ts'
import type { TaskLinks } from './devices.ts'
import { bridgeName, cableName, innerAddress, nodeMac, taskMac, tunnelName } from './names.ts'
import type { NetworkDevices } from './overlay-devices.ts'

export interface Forwarding {
  /** `<bridge> <address>` -> the hardware address that its frames go to. */
  readonly neighbours: Map<string, string>
  /** `<cable or tunnel> <hardware address>` -> the far end: its address, and ` port <UDP port>` where that is not our own; or 'here'. */
  readonly ports: Map<string, string>
}

/** Lines for `ip -batch` and `bridge -batch`. */
export interface Lines {
  readonly ip: readonly string[]
  readonly bridge: readonly string[]
}

export interface ForwardingFacts {
  readonly self: NodeId
  /** Those of this node that have their cables. */
  readonly tasks: Iterable<TaskLinks>
  /** Names of those that are there. */
  readonly bridges: ReadonlySet<string>
  /** UDP port of our own tunnels. */
  readonly vxlanPort: number
  /** Networks that are there whole: only then is their IPv6 known. */
  readonly networks: ReadonlyMap<NetworkId, NetworkDevices>
}

export function forwardingOf(overlay: Overlay, here: ForwardingFacts): Forwarding {
  const ipv6Of = ipv6Makers(here.networks)
  const neighbours = new Map<string, string>()
  const ports = new Map<string, string>()
  const linux = new Map<NodeId, string>()
  for (const { node, dataplane } of overlay.nodes) if (dataplane === 'linux') linux.set(node, nodeMac(node))
  const bridges = new Map<NetworkId, string>()
  for (const { id, encrypted } of overlay.networks) {
    if (!here.bridges.has(bridgeName(id))) continue
    bridges.set(id, bridgeName(id))
    const tunnel = tunnelName(id)
    for (const { node, address, dataPathPort, wireguard } of overlay.nodes) {
      const mac = linux.get(node)
      // Never in clear: a node without a key is not on an encrypted network.
      if (mac === undefined || (encrypted && wireguard === undefined)) continue
      const far = encrypted ? innerAddress(node) : address
      ports.set(`${tunnel} ${mac}`, dataPathPort === here.vxlanPort ? far : `${far} port ${dataPathPort}`)
    }
  }
  for (const { network, address, node } of overlay.places) {
    const [bridge, mac] = [bridges.get(network), linux.get(node)]
    if (bridge === undefined || mac === undefined || node === here.self) continue
    for (const one of [address, ...ipv6Of(network, address)]) neighbours.set(`${bridge} ${one}`, mac)
  }
  // A task that is ending may be the last on a network that the overlay has no more.
  for (const { task, links } of here.tasks) {
    for (const { network, address } of links) {
      if (!here.bridges.has(bridgeName(network))) continue
      for (const one of [address, ...ipv6Of(network, address)])
        neighbours.set(`${bridgeName(network)} ${one}`, taskMac(task, network))
      ports.set(`${cableName(task, network)} ${taskMac(task, network)}`, 'here')
    }
  }
  return { neighbours, ports }
}

type Ipv6Of = (network: NetworkId, address: string) => readonly string[]

/** The IPv6 address that an IPv4 one of a network stands for here, if any. */
export function ipv6Makers(networks: ReadonlyMap<NetworkId, NetworkDevices>): Ipv6Of {
  const makers = new Map<NetworkId, (address: string) => string | undefined>()
  for (const [id, { subnet, ipv6 }] of networks) if (ipv6 !== undefined) makers.set(id, ipv6Maker(subnet, ipv6.subnet))
  return (network, address) => {
    const made = makers.get(network)?.(address)
    return made === undefined ? [] : [made]
  }
}

/** Old entries go first, so that an address that moves is never refused as taken. */
export function difference(have: Forwarding, want: Forwarding): Lines {
  const ip: string[] = []
  const bridge: string[] = []
  for (const key of have.neighbours.keys()) if (!want.neighbours.has(key)) ip.push(neighbourGone(key))
  for (const key of have.ports.keys()) if (!want.ports.has(key)) bridge.push(...portGone(key))
  for (const [key, mac] of want.neighbours) if (have.neighbours.get(key) !== mac) ip.push(neighbour(key, mac))
  for (const [key, end] of want.ports) if (have.ports.get(key) !== end) bridge.push(...port(key, end))
  return { ip, bridge }
}

function neighbour(key: string, mac: string): string {
  const [bridge, address] = key.split(' ')
  return `neighbour replace ${address} lladdr ${mac} dev ${bridge} nud permanent`
}

function neighbourGone(key: string): string {
  const [bridge, address] = key.split(' ')
  return `neighbour delete ${address} dev ${bridge}`
}

/** A tunnel needs two entries: by which port of the bridge, and to which machine from there. */
function port(key: string, end: string): readonly string[] {
  const [device, mac] = key.split(' ')
  const byPort = `fdb replace ${mac} dev ${device} master static`
  return end === 'here' ? [byPort] : [byPort, `fdb replace ${mac} dev ${device} dst ${end} self permanent`]
}

function portGone(key: string): readonly string[] {
  const [device = '', mac] = key.split(' ')
  const byPort = `fdb delete ${mac} dev ${device} master`
  return device.startsWith('vx') ? [byPort, `fdb delete ${mac} dev ${device} self`] : [byPort]
}
