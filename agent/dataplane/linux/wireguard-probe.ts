/**
 * Says what this machine lacks for encrypted networks, as half a sentence, or nothing. Changes nothing.
 */
import { existsSync } from 'node:fs'
import { holderText, takenPorts } from '../holders.ts'
import { isInstalled } from './probe.ts'
import { run } from './tools.ts'

/** `port`: where WireGuard is to listen; undefined: it listens there already. */
export async function lackForEncryption(port: number | undefined): Promise<string | undefined> {
  if (!isInstalled('wg')) return 'the program wg is missing; install wireguard-tools'
  if (!existsSync('/proc/net/if_inet6')) return 'the kernel has no IPv6, which addresses the nodes inside WireGuard'
  if (!(await kernelHasWireguard())) {
    const without = 'the kernel has no WireGuard, and'
    if (!isInstalled('wireguard-go')) return `${without} the program wireguard-go is missing; install wireguard-go`
    if (!existsSync('/dev/net/tun'))
      return `${without} wireguard-go needs /dev/net/tun, which is missing; load the module tun`
  }
  if (port === undefined || !takenPorts('udp').has(port)) return undefined
  const holder = holderText('udp', '::', port)
  return `UDP port ${port}, which WireGuard needs, is taken by ${holder}; start the agent with another --wireguard-port`
}

/** Only trying tells: the module is loaded by the first device. In a namespace that ends with the trial. */
async function kernelHasWireguard(): Promise<boolean> {
  try {
    await run('unshare', ['--net', '--', 'ip', 'link', 'add', 'name', 'trial', 'type', 'wireguard'])
    return true
  } catch {
    return false
  }
}
