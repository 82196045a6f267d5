/**
 * Which addresses other machines are told to dial. Pure: interfaces come in as data.
 *
 * A wildcard listener is reachable by every address of the machine, most of which are of no use elsewhere (docker0, bridges, veth pairs);
 * announcing those makes peers wait for time-outs (ecosystem.md 2, trap 17).
 */
export interface HostAddress {
  readonly name: string
  readonly address: string
  readonly family: 'IPv4' | 'IPv6'
  readonly internal: boolean
}

/** Interfaces that container engines, hypervisors and we ourselves make. */
const virtualInterface = /^(docker|br-|veth|virbr|cni|flannel|vxlan|cali|podman|lxc|lxd|vmnet|vine|kube)/

/**
 * Multiaddrs to put in the member record, best first. `listening`: multiaddrs with real ports. `advertise`: hosts that the operator named, which
 * then are all there is. Without any usable address, loopback: a cluster on one machine.
 */
export function advertised(
  listening: readonly string[],
  advertise: readonly string[],
  hosts: readonly HostAddress[],
): readonly string[] {
  const ports = [...new Set(listening.map(portOf).filter((port) => port !== undefined))]
  if (advertise.length > 0) return advertise.flatMap((host) => ports.map((port) => multiaddrText(host, port)))
  const virtual = new Set(hosts.filter((host) => virtualInterface.test(host.name)).map((host) => host.address))
  const usable = listening.filter((address) => !virtual.has(hostOf(address)) && !isLinkLocal(hostOf(address)))
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

function isLinkLocal(host: string): boolean {
  return host.startsWith('169.254.') || host.toLowerCase().startsWith('fe80:')
}
