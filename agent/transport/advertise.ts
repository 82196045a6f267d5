/**
 * Which addresses other machines are told to dial. Pure: interfaces come in as data.
 *
 * A wildcard listener is reachable by every address of the machine, most of which are of no use elsewhere (docker0, bridges, veth pairs);
 * announcing those makes peers wait for time-outs (ecosystem.md 2, trap 17).
 */
import { type HostAddress, isLinkLocal, isReachable } from '../interfaces.ts'

export interface Reachability {
  /** Hosts that the operator named, which then are all there is; empty: those found. */
  readonly advertise: readonly string[]
  /** Where published ports answer: the default route's address, which comes first and is told even if a bridge has it. */
  readonly addresses: readonly string[]
}

/**
 * Multiaddrs to put in the member record, best first. `listening`: multiaddrs with real ports. Without any usable address, loopback: a cluster
 * on one machine.
 */
export function advertised(
  listening: readonly string[],
  { advertise, addresses }: Reachability,
  hosts: readonly HostAddress[],
): readonly string[] {
  const ports = [...new Set(listening.map(portOf).filter((port) => port !== undefined))]
  if (advertise.length > 0) return advertise.flatMap((host) => ports.map((port) => multiaddrText(host, port)))
  const useless = new Set(hosts.filter((host) => !host.internal && !isReachable(host)).map(({ address }) => address))
  const rank = (address: string) => (addresses.includes(hostOf(address)) ? 0 : 1)
  const usable = listening
    .filter((address) => rank(address) === 0 || !(useless.has(hostOf(address)) || isLinkLocal(hostOf(address))))
    .toSorted((a, b) => rank(a) - rank(b))
  const global = usable.filter((address) => !isLoopback(hostOf(address)))
  return global.length > 0 ? global : usable
}

/** `/ip4/…/tcp/…`, `/ip6/…` or `/dns/…`, by the form of the host. */
export function multiaddrText(host: string, port: number): string {
  const kind = /^[0-9.]+$/.test(host) ? 'ip4' : host.includes(':') ? 'ip6' : 'dns'
  return `/${kind}/${host}/tcp/${port}`
}

export function portOf(address: string): number | undefined {
  const port = /\/tcp\/([0-9]{1,5})(?:\/|$)/.exec(address)?.[1]
  return port === undefined ? undefined : Number(port)
}

export function hostOf(address: string): string {
  return address.split('/')[2] ?? ''
}

function isLoopback(host: string): boolean {
  return host.startsWith('127.') || host === '::1'
}
