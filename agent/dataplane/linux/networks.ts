/**
 * Makes and removes the devices of one network, whole or not at all, and says why where it cannot. Called by one caller at a time (devices.ts).
 */
import type { OverlayNetwork } from '../../core/routes/overlay.ts'
import { holderText } from '../holders.ts'
import { forgetNetworksOf } from './departed.ts'
import { type Found, isWhole, readKernel } from './found.ts'
import { forwardIpv6 } from './ipv6.ts'
import { cablesOf, forget, type State } from './kernel-state.ts'
import {
  clashingRoute,
  makeLines,
  type NetworkDevices,
  networkDevices,
  portTaken,
  removeLines,
  sentences,
} from './overlay-devices.ts'
import { batchAll, batchUntilRefused, type Refusal, writeSetting } from './tools.ts'

/**
 * The sentence that says why it cannot be, or undefined: it is there. `encrypt` says what encryption lacks here, as half a sentence; asked each time, since
 * it may end at any time.
 */
export async function ensureNetwork(
  network: OverlayNetwork,
  now: State,
  encrypt: () => Promise<string | undefined>,
): Promise<string | undefined> {
  const devices = networkDevices(network, now.site)
  const lack = network.encrypted ? await encrypt() : undefined
  if (lack !== undefined) return sentences.encrypted(devices, lack)
  if (now.networks.get(network.id)?.alias === devices.alias) return undefined
  if (!now.unproven.delete(devices.bridge) || !isWhole(devices, now.found)) {
    const why = await makeNetwork(devices, now)
    if (why !== undefined) return why
  }
  now.networks.set(network.id, devices)
  return undefined
}

async function makeNetwork(devices: NetworkDevices, now: State): Promise<string | undefined> {
  const { bridge, tunnel } = devices
  const found = await readKernel(now.site.group)
  const foreign = [bridge, tunnel].find((name) => (found.links.get(name) ?? now.site).group !== now.site.group)
  if (foreign !== undefined) return sentences.foreign(devices, foreign)
  const why = await makeDevices(devices, found, now)
  forget(now, bridge)
  if (why === undefined) now.bridges.add(bridge)
  else await removeBridges([bridge], now)
  return why
}

async function makeDevices(devices: NetworkDevices, found: Found, { site, tasks }: State): Promise<string | undefined> {
  const { network, bridge, tunnel, ipv6 } = devices
  const routes = found.routes.filter(({ dev }) => dev !== bridge)
  for (const subnet of [devices.subnet, ...(ipv6 === undefined ? [] : [ipv6.subnet])]) {
    const clash = clashingRoute(subnet, routes)
    if (clash !== undefined) return sentences.route(devices, subnet, clash)
  }
  const there = {
    bridge: found.links.has(bridge),
    tunnel: found.links.has(tunnel),
    cables: [...tasks.values()].flatMap((task) => cablesOf(task, network)),
  }
  const refusal = (await batchUntilRefused('ip', makeLines(devices, site, there))) ?? refusedSetting(devices)
  if (refusal === undefined) return undefined
  const holder = refusal.why === portTaken ? holderText('udp', '::', site.vxlanPort) : ''
  return sentences.refused(devices, refusal, { port: site.vxlanPort, holder })
}

/** With the connections of their networks. One that is not there is refused, which is as good. */
export async function removeBridges(names: readonly string[], now: State): Promise<void> {
  await forgetNetworksOf(names)
  await batchAll('ip', names.flatMap(removeLines))
  for (const name of names) {
    now.bridges.delete(name)
    // What was read of it is no longer so.
    now.unproven.delete(name)
    forget(now, name)
  }
  for (const [id, { bridge }] of [...now.networks]) if (names.includes(bridge)) now.networks.delete(id)
}

/**
 * Loose reverse path, since replies may come back through another node. Redirects would tell tasks of a way past their node; they are sent if the bridge
 * or `all` says so, and other interfaces, which have a word of their own, keep it.
 */
function refusedSetting({ bridge, ipv6 }: NetworkDevices): Refusal | undefined {
  if (ipv6 !== undefined && !forwardIpv6())
    return { line: 'ipv6/conf/all/forwarding = 1', why: 'the setting cannot be written' }
  for (const [setting, value] of [
    [`ipv4/conf/${bridge}/rp_filter`, '2'],
    [`ipv4/conf/${bridge}/send_redirects`, '0'],
    ['ipv4/conf/all/send_redirects', '0'],
    // No task is a router to its node. IPv6 redirects are not sent by a bridge that has no link-local address.
    ...(ipv6 === undefined ? [] : ([[`ipv6/conf/${bridge}/accept_ra`, '0']] as const)),
  ] as const) {
    if (!writeSetting(setting, value)) return { line: `${setting} = ${value}`, why: 'the setting cannot be written' }
  }
  return undefined
}
