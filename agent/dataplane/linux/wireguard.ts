/**
 * Decides what WireGuard is told on this node: who the peers are, what differs from what it has, how large its packets are, and its device's lines. Pure.
 *
 * A peer may send from its own inner address alone, so the kernel knows by the key which node a packet is from. What comes from member records becomes
 * words for root's programs: an endpoint that is no address is left out, since wg(8) would ask a name server for it.
 */
import { isIP } from 'node:net'
import type { NodeId } from '../../../protocol/ids.ts'
import type { OverlayNode } from '../../core/routes/overlay.ts'
import { innerAddress, innerPrefix } from './names.ts'

export interface Peer {
  /** `address:port`, `[address]:port`. */
  readonly endpoint: string
  readonly inner: string
}

/** By public key, in base64. */
export type Peers = ReadonlyMap<string, Peer>

/** Of two nodes that claim one key the first by id has it; nobody has ours. */
export function peersOf(nodes: readonly OverlayNode[], own: { readonly self: NodeId; readonly key: string }): Peers {
  const peers = new Map<string, Peer>()
  const taken = new Set([innerAddress(own.self)])
  for (const { node, address, dataplane, wireguard } of nodes) {
    const inner = innerAddress(node)
    if (dataplane !== 'linux' || wireguard === undefined || isIP(address) === 0) continue
    if (wireguard.key === own.key || peers.has(wireguard.key) || taken.has(inner)) continue
    taken.add(inner)
    peers.set(wireguard.key, { inner, endpoint: `${isIP(address) === 6 ? `[${address}]` : address}:${wireguard.port}` })
  }
  return peers
}

export interface PeerChanges {
  /** New peers, and those that changed: input for `wg addconf`. Empty: none. */
  readonly coming: string
  /** Keys. */
  readonly going: readonly string[]
}

export function peerChanges(have: Peers, want: Peers): PeerChanges {
  const coming = [...want].filter(([key, peer]) => {
    const held = have.get(key)
    return held?.endpoint !== peer.endpoint || held.inner !== peer.inner
  })
  return { coming: coming.map(sayPeer).join(''), going: [...have.keys()].filter((key) => !want.has(key)) }
}

/** All that a new device is told, for `wg setconf`. Holds the secret. */
export function deviceText(own: { readonly secret: string; readonly port: number }, peers: Peers): string {
  return `[Interface]\nPrivateKey = ${own.secret}\nListenPort = ${own.port}\n${[...peers].map(sayPeer).join('')}`
}

function sayPeer([key, { endpoint, inner }]: readonly [string, Peer]): string {
  return `[Peer]\nPublicKey = ${key}\nEndpoint = ${endpoint}\nAllowedIPs = ${inner}/128\n`
}

/** From `wg show … allowed-ips` and `wg show … endpoints`: a line for each peer, its key first. */
export function readPeers(allowed: string, endpoints: string): Peers {
  const reached = new Map(linesOf(endpoints))
  return new Map(
    linesOf(allowed).map(([key, inner]) => [
      key,
      { inner: inner.replace(/\/128$/, ''), endpoint: reached.get(key) ?? '' },
    ]),
  )
}

function linesOf(text: string): readonly (readonly [string, string])[] {
  return text.split('\n').flatMap((line) => {
    const [key = '', ...rest] = line.split('\t')
    return key === '' ? [] : [[key, rest.join('\t')] as const]
  })
}

/** Bytes that WireGuard takes of a packet: UDP 8, its header 16 and its tag 16, and the outer IP header, 20 or 40. */
export function wireguardBytes(underlay: string): number {
  return 8 + 16 + 16 + (isIP(underlay) === 6 ? 40 : 20)
}

/** Below 1280 a device has no IPv6 (RFC 8200). Networks on a narrower path send less than the device would take. */
const deviceMtuMin = 1280
/** The way out where WireGuard's device is not there: behind its own route, and before nothing. */
const deviceMetric = 100
const lastMetric = 9_999

export interface DeviceFacts {
  readonly device: string
  readonly self: NodeId
  readonly group: number
  readonly mtu: number
}

/** For `ip -batch`, before there is a device: from now on nothing for an inner address leaves by another way. */
export const barredLine = `route replace unreachable ${innerPrefix} metric ${lastMetric}`
export const unbarredLine = `route delete unreachable ${innerPrefix} metric ${lastMetric}`

export function deviceMtu(pathMtu: number, underlay: string): number {
  return Math.max(deviceMtuMin, pathMtu - wireguardBytes(underlay))
}

/** For `ip -batch`: what a device is that was just made, or is to be kept. */
export function deviceLines({ device, self, group, mtu }: DeviceFacts): readonly string[] {
  return [
    `link set dev ${device} group ${group} addrgenmode none mtu ${mtu}`,
    `link set dev ${device} up`,
    `address replace ${innerAddress(self)}/128 dev ${device} nodad`,
    `route replace ${innerPrefix} dev ${device} metric ${deviceMetric}`,
  ]
}
