/**
 * Sees what other programs do to the devices and routes of our networks, by names and routes alone, so that a look costs a millisecond and may be had all
 * the time. What is not seen so (addresses, neighbours, settings) is read again once in a while (devices.ts).
 *
 * From /proc/net, which is that of this process's own network namespace; /sys/class/net is that of whoever mounted it.
 */
import { readFileSync } from 'node:fs'
import { formatAddress } from '../../core/addresses/ipv4.ts'
import { cablesOf, type State } from './kernel-state.ts'
import { clashingRoute, type HostRoute, type NetworkDevices, tunnelOf } from './overlay-devices.ts'

/** What is there: the two files' texts. */
export interface Glance {
  /** /proc/net/dev */
  readonly devices: string
  /** /proc/net/route */
  readonly routes: string
}

export function glance(): Glance {
  return { devices: readFileSync('/proc/net/dev', 'utf8'), routes: readFileSync('/proc/net/route', 'utf8') }
}

/** As halves of sentences; nothing when all is as it was made. */
export function harmTo(
  { bridges, tasks, networks, found }: State,
  { devices, routes: text }: Glance,
): readonly string[] {
  const there = new Set([...devices.matchAll(/^ *(\S+?):/gm)].map(([, name]) => name))
  const wanted = [...bridges].flatMap((bridge) => [bridge, tunnelOf(bridge)])
  for (const task of tasks.values()) wanted.push(...cablesOf(task))
  const gone = wanted.filter((name) => !there.has(name)).map((name) => `the device ${name} is gone`)
  const routes = readRoutes(text)
  const others = [...networks.values()].flatMap((network) => {
    const { bridge, subnet } = network
    if (!there.has(bridge)) return []
    if (!routes.some(({ dst, dev }) => dst === subnet && dev === bridge)) return [`the route to ${subnet} is gone`]
    const clash = clashWith(network, routes)
    if (clash?.dst === clashWith(network, found.routes)?.dst) return []
    return [clash === undefined ? `nothing overlaps ${subnet} any more` : `a route to ${clash.dst} overlaps ${subnet}`]
  })
  return [...gone, ...others]
}

/** A route of the machine, made after the network, that leads to some of the same addresses. */
export function clashWith({ subnet, bridge }: NetworkDevices, routes: readonly HostRoute[]): HostRoute | undefined {
  return clashingRoute(
    subnet,
    routes.filter(({ dev }) => dev !== bridge),
  )
}

/** Of the main table: device, destination and mask in hexadecimal, the bytes in the machine's order (little-endian on all that we run on). */
function readRoutes(text: string): readonly HostRoute[] {
  return text.split('\n').flatMap((line) => {
    const [dev = '', destination = '', , , , , , mask = ''] = line.split('\t')
    if (!/^[0-9A-F]{8}$/.test(destination)) return []
    const bits = bytesOf(mask).reduce((sum, byte) => sum + byte.toString(2).replaceAll('0', '').length, 0)
    return [{ dst: `${formatAddress(Buffer.from(bytesOf(destination)).readUInt32BE())}/${bits}`, dev }]
  })
}

function bytesOf(hexadecimal: string): readonly number[] {
  return [...Buffer.from(hexadecimal, 'hex')].reverse()
}
