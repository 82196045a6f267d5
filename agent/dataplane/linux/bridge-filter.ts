/**
 * The kernel's br_netfilter: while it is on, what a task sends to a virtual IP is translated inside the bridge, and bridged on where the chosen task is
 * behind the same bridge, not routed. So the ports of our bridges then let it pass (overlay-devices.ts), and the same table judges it inside the bridge.
 *
 * It is one switch for all bridges of the machine, so it is turned off only where there are none but ours; a module that is loaded later turns it on again
 * (Docker with icc=false and Kubernetes load it). net/bridge/br_netfilter_hooks.c, Linux 6.18.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { writeSetting } from './tools.ts'

const settings = ['bridge/bridge-nf-call-iptables', 'bridge/bridge-nf-call-ip6tables']
const ours = /^vb[0-9a-z]{9}$/

/** Turns it off where nobody else may need it. Whether it stays on. */
export function areBridgesFiltered(): boolean {
  const on = settings.filter(isOn)
  if (on.length === 0) return false
  const isForeign = (name: string) => existsSync(`/sys/class/net/${name}/bridge`) && !ours.test(name)
  if (readdirSync('/sys/class/net').some(isForeign)) return true
  return !on.every((setting) => writeSetting(setting, '0'))
}

function isOn(setting: string): boolean {
  try {
    return readFileSync(`/proc/sys/net/${setting}`, 'utf8').trim() !== '0'
  } catch {
    // The module is not loaded.
    return false
  }
}
