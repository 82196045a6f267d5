/**
 * The kernel's br_netfilter: while it is on, what a task sends to a virtual IP is translated inside the bridge and bridged on, never routed, and is lost.
 *
 * It is one switch for all bridges of the machine, so it is turned off only where there are none but ours; a module that is loaded later turns it on again
 * (Docker with icc=false and Kubernetes load it). net/bridge/br_netfilter_hooks.c, Linux 6.18.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { writeSetting } from './tools.ts'

const setting = 'bridge/bridge-nf-call-iptables'
const ours = /^vb[0-9a-z]{9}$/

/** Turns it off where nobody else may need it. The second half of a sentence when it stays on. */
export function filteredBridges(): string | undefined {
  if (!isOn()) return undefined
  const other = readdirSync('/sys/class/net').find(
    (name) => existsSync(`/sys/class/net/${name}/bridge`) && !ours.test(name),
  )
  if (other === undefined && writeSetting(setting, '0')) return undefined
  const whose = other === undefined ? 'it cannot be turned off' : `the bridge ${other} of another program may need it`
  return `net.${setting.replaceAll('/', '.')} is on, and ${whose}`
}

function isOn(): boolean {
  try {
    return readFileSync(`/proc/sys/net/${setting}`, 'utf8').trim() !== '0'
  } catch {
    // The module is not loaded.
    return false
  }
}
