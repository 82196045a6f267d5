/**
 * IPv6 of this machine's kernel: whether tasks can have it, and forwarding turned on without a loss to the machine itself.
 *
 * A kernel that forwards IPv6 takes no router's word for its own addresses and routes any more, unless accept_ra is 2 (ip-sysctl): a machine that has its
 * default route from one would lose it. So that comes first, for every interface that listened to routers.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { tunnelBytes } from './overlay-devices.ts'
import { writeSetting } from './tools.ts'

/** The least that IPv6 takes of any link (RFC 8200, section 5). */
export const ipv6MtuMin = 1_280

/** Why tasks of this machine have no IPv6, as half a sentence; undefined: they can. `underlay`: where tunnels end. */
export function whyNoIpv6(underlay: string): string | undefined {
  for (const which of ['all', 'default']) {
    const value = setting(which, 'disable_ipv6')
    if (value === undefined) return 'the kernel has no IPv6'
    if (value !== '0') return `net.ipv6.conf.${which}.disable_ipv6 is ${value}`
  }
  const mtu = mtuOf(underlay)
  if (mtu !== undefined && mtu - tunnelBytes < ipv6MtuMin)
    return `packets of ${mtu} bytes leave less than the ${ipv6MtuMin} of IPv6 inside of tunnels`
  return undefined
}

/** Whether the kernel can be asked for anything of IPv6. */
export function hasIpv6(): boolean {
  return setting('all', 'disable_ipv6') !== undefined
}

/** False where a setting may not be written. */
export function forwardIpv6(): boolean {
  if (setting('all', 'forwarding') === '1') return true
  const listening = readdirSync('/proc/sys/net/ipv6/conf').filter(
    (name) => name !== 'all' && setting(name, 'accept_ra') === '1' && setting(name, 'forwarding') === '0',
  )
  const kept = listening.map((name) => writeSetting(`ipv6/conf/${name}/accept_ra`, '2'))
  return kept.every(Boolean) && writeSetting('ipv6/conf/all/forwarding', '1')
}

function setting(which: string, name: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/net/ipv6/conf/${which}/${name}`, 'utf8').trim()
  } catch {
    // The kernel was started without IPv6, or the interface went.
    return undefined
  }
}

function mtuOf(underlay: string): number | undefined {
  const [name] =
    Object.entries(networkInterfaces()).find(([, own]) => own?.some(({ address }) => address === underlay)) ?? []
  return name === undefined ? undefined : Number(readFileSync(`/sys/class/net/${name}/mtu`, 'utf8'))
}
