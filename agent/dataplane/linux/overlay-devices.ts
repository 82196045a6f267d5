/**
 * Decides what one network is on this node: a bridge that answers at the network's gateway, and a tunnel to the other nodes as its port; the commands that
 * make and remove them, and the sentence for what stands in their way. Pure.
 *
 * The ports of a bridge are isolated from each other, so that every frame between tasks passes the host, and neither learn nor flood. Only where
 * br_netfilter stays on they are not (bridge-filter.ts): frames pass our table all the same, inside the bridge. See ip-link(8), bridge(8).
 */
import type { NetworkId } from '../../../protocol/ids.ts'
import type { Ipv6 } from '../../core/addresses/dual.ts'
import { overlap, parseSubnet } from '../../core/addresses/ipv4.ts'
import { overlap6, parseSubnet6 } from '../../core/addresses/ipv6.ts'
import type { OverlayNetwork } from '../../core/routes/overlay.ts'
import { bridgeName, tunnelName, tunnelNumber } from './names.ts'
import type { Refusal } from './tools.ts'
import { wireguardBytes } from './wireguard.ts'

/** Bytes that the tunnel's headers take of a frame: IPv4 20, UDP 8, VXLAN 8, the inner Ethernet 14. */
export const tunnelBytes = 50

/** The same inside WireGuard, whose addresses are IPv6: IPv6 40, UDP 8, VXLAN 8, the inner Ethernet 14. */
export const innerTunnelBytes = 70

/** This machine, for all networks alike. */
export interface Site {
  readonly nodeMac: string
  /** The near end of the tunnels. */
  readonly underlay: string
  /** The near end of the tunnels of encrypted networks. */
  readonly inner: string
  readonly vxlanPort: number
  /** Largest packet that the underlay carries. */
  readonly pathMtu: number
  /** br_netfilter is on and stays on. */
  readonly filtered: boolean
  /** The devices' group and the beginning of their alias. */
  readonly group: number
  readonly mark: string
}

export interface NetworkDevices {
  readonly network: NetworkId
  /** What people call the network. */
  readonly name: string
  readonly bridge: string
  readonly tunnel: string
  readonly subnet: string
  readonly gateway: string
  readonly encrypted: boolean
  /** The near end of its tunnel. */
  readonly near: string
  readonly mtu: number
  /** Beside IPv4. */
  readonly ipv6: Ipv6 | undefined
  /** On the bridge once all of it is made: says what was made, so that equal text means nothing to do. */
  readonly alias: string
}

export function networkDevices(network: OverlayNetwork, site: Site): NetworkDevices {
  const { id, name, subnet, gateway, encrypted, ipv6 } = network
  const mtu = mtuOf(network, site)
  const near = encrypted ? site.inner : site.underlay
  const tunnels = `${near}:${site.vxlanPort}${site.filtered ? ' filtered' : ''}`
  const second = ipv6 === undefined ? '' : ` ${ipv6.subnet} ${ipv6.gateway}`
  const alias = `grapevine:${site.mark} ${subnet} ${gateway} ${mtu} ${site.nodeMac} ${tunnels}${second}`
  const [bridge, tunnel] = [bridgeName(id), tunnelName(id)]
  return { network: id, name, bridge, tunnel, subnet, gateway, encrypted, near, mtu, ipv6, alias }
}

/**
 * A network may ask for less than the path carries, never for more: larger packets would be lost without a word. Of 1500 an encrypted one has 1370: less
 * 60 for WireGuard (80 where nodes reach each other by IPv6), less 70 for the tunnel in it.
 */
export function mtuOf(network: OverlayNetwork, site: Site): number {
  const taken = network.encrypted ? wireguardBytes(site.underlay) + innerTunnelBytes : tunnelBytes
  return Math.min(network.mtu ?? Number.POSITIVE_INFINITY, site.pathMtu - taken)
}

/** What a port of one of our bridges is, once it is one. `hairpin`: the task that a virtual IP leads to may be the one that asked. */
export function portLines(device: string, bridge: string, { filtered }: Site): readonly string[] {
  const between = filtered ? 'isolated off hairpin on' : 'isolated on hairpin off'
  return [
    `link set dev ${device} addrgenmode none`,
    `link set dev ${device} master ${bridge} up`,
    `link set dev ${device} type bridge_slave ${between} learning off flood off mcast_flood off bcast_flood off`,
  ]
}

/** What of a network is there already. */
export interface NetworkThere {
  readonly bridge: boolean
  readonly tunnel: boolean
  /** Of tasks that are on it. */
  readonly cables: readonly string[]
}

/** For `ip -batch`. Makes what is not there, and so again what differs; the alias comes last. */
export function makeLines(devices: NetworkDevices, site: Site, there: NetworkThere): readonly string[] {
  const { network, bridge, tunnel, subnet, gateway, near, mtu, ipv6 } = devices
  const { group, nodeMac, vxlanPort } = site
  const quiet = 'type bridge stp_state 0 forward_delay 0 mcast_snooping 0'
  const number = `id ${tunnelNumber(network)} local ${near} dstport ${vxlanPort}`
  return [
    ...(there.tunnel ? [`link delete dev ${tunnel}`] : []),
    ...(there.bridge ? [] : [`link add name ${bridge} group ${group} address ${nodeMac} mtu ${mtu} ${quiet}`]),
    `link set dev ${bridge} addrgenmode none address ${nodeMac} mtu ${mtu}`,
    `link add name ${tunnel} group ${group} mtu ${mtu} type vxlan ${number} nolearning`,
    ...portLines(tunnel, bridge, site),
    `link set dev ${bridge} up`,
    `address flush dev ${bridge}`,
    `address add ${gateway}/32 dev ${bridge}`,
    `route replace ${subnet} dev ${bridge} scope link src ${gateway}`,
    // Nobody else has it, so nobody is asked.
    ...(ipv6 === undefined
      ? []
      : [`address add ${ipv6.gateway}/128 dev ${bridge} nodad`, `route replace ${ipv6.subnet} dev ${bridge}`]),
    ...there.cables.flatMap((cable) => portLines(cable, bridge, site)),
    `link set dev ${bridge} alias "${devices.alias}"`,
  ]
}

export function removeLines(bridge: string): readonly string[] {
  return [`link delete dev ${tunnelOf(bridge)}`, `link delete dev ${bridge}`]
}

/** A tunnel has its bridge's name but for a letter. */
export function tunnelOf(bridge: string): string {
  return bridge.replace(/^vb/, 'vx')
}

export interface HostRoute {
  readonly dst: string
  readonly dev: string
}

/**
 * A route of this machine that leads to some of the same addresses. A network over it would take them away from whoever uses them now. Routes to
 * more than a /8, of IPv6 a /16, are default routes in parts, as VPNs set them, and stand in nobody's way.
 */
export function clashingRoute(subnet: string, routes: readonly HostRoute[]): HostRoute | undefined {
  const ours6 = parseSubnet6(subnet)
  if (ours6 !== undefined) {
    return routes.find(({ dst }) => {
      const theirs = parseSubnet6(dst.includes('/') ? dst : `${dst}/128`)
      return theirs !== undefined && theirs.bits >= 16 && overlap6(ours6, theirs)
    })
  }
  const ours = parseSubnet(subnet)
  return routes.find(({ dst }) => {
    const theirs = parseSubnet(dst.includes('/') ? dst : `${dst}/32`)
    return ours !== undefined && theirs !== undefined && theirs.bits >= 8 && overlap(ours, theirs)
  })
}

/** Why a network is not on this node. */
export const sentences = {
  route: ({ name }: NetworkDevices, subnet: string, { dst, dev }: HostRoute) =>
    `Network "${name}" cannot be on this node: its subnet ${subnet} overlaps the machine's route ${dst} dev ${dev}; create it with another --subnet`,
  overlapped: ({ name, subnet }: NetworkDevices, { dst, dev }: HostRoute) =>
    `Network "${name}" is not whole on this node: the machine's route ${dst} dev ${dev} overlaps its subnet ${subnet}; remove it with: ip route delete ${dst} dev ${dev}`,
  foreign: ({ name }: NetworkDevices, device: string) =>
    `Network "${name}" cannot be on this node: the machine has a device ${device} that is not this agent's; remove it with: ip link delete ${device}`,
  encrypted: ({ name }: NetworkDevices, lack: string) => `Network "${name}" cannot be encrypted on this node: ${lack}`,
  refused: ({ name, tunnel }: NetworkDevices, { line, why }: Refusal, at: { port: number; holder: string }) => {
    const cannot = `Network "${name}" cannot be on this node:`
    if (why === portTaken) return `${cannot} UDP port ${at.port}, which VXLAN needs, is taken by ${at.holder}; stop it`
    if (why === 'File exists' && line.includes(tunnel)) {
      return `${cannot} another device of the machine has its tunnel number; create it anew`
    }
    return `${cannot} the kernel refused "${line}": ${why}`
  },
}

/** What the kernel says when a tunnel is to be up and a program has its port. */
export const portTaken = 'Address already in use'
