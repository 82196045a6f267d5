/**
 * The network interfaces of this machine, and which of their addresses are of no use to other machines. Reads the kernel's lists, changes nothing.
 */
import { existsSync } from 'node:fs'
import { networkInterfaces } from 'node:os'

export interface HostAddress {
  /** Of the interface. */
  readonly name: string
  readonly address: string
  readonly family: 'IPv4' | 'IPv6'
  readonly internal: boolean
  /** The interface is a bridge of this machine: as a rule one that containers or virtual machines hang on. */
  readonly bridge: boolean
}

/** Interfaces that container engines, hypervisors and we ourselves make. */
const virtualInterface = /^(docker|br-|veth|virbr|cni|flannel|vxlan|cali|podman|lxc|lxd|vmnet|vine|kube)/

/** In the kernel's order. */
export function hostAddresses(): readonly HostAddress[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses]) => {
    const bridge = existsSync(`/sys/class/net/${name}/bridge`)
    return (addresses ?? []).map(({ address, family, internal }) => ({ name, address, family, internal, bridge }))
  })
}

/** Whether other machines may be told this address, unless something better is known of it. */
export function isReachable({ name, address, internal, bridge }: HostAddress): boolean {
  return !internal && !bridge && !virtualInterface.test(name) && !isLinkLocal(address)
}

export function isLinkLocal(address: string): boolean {
  return address.startsWith('169.254.') || address.toLowerCase().startsWith('fe80:')
}
