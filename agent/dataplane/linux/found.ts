/**
 * What is in the kernel now: devices, routes and forwarding entries of this network namespace, read whole. The agent reads at its start and after any
 * failure; between, it knows what it did.
 */
import type { Forwarding } from './forwarding.ts'
import { hasIpv6 } from './ipv6.ts'
import type { HostRoute, NetworkDevices } from './overlay-devices.ts'
import { type Row, tableOf } from './tools.ts'

export interface FoundLink {
  readonly group: number
  readonly alias: string
  readonly master: string | undefined
  readonly up: boolean
  readonly mtu: number
}

export interface Found {
  /** By name, ours and others'. */
  readonly links: ReadonlyMap<string, FoundLink>
  /** `<device> <address>`. */
  readonly addresses: ReadonlySet<string>
  /** Of the main table. */
  readonly routes: readonly HostRoute[]
  /** On our devices only. */
  readonly forwarding: Forwarding
}

export async function readKernel(group: number): Promise<Found> {
  const [links, addresses, routes, neighbours, forwarding] = await Promise.all([
    tableOf('ip', ['link', 'show']),
    tableOf('ip', ['address', 'show']),
    rowsOfMain(),
    tableOf('ip', ['neighbour', 'show', 'nud', 'permanent']),
    tableOf('bridge', ['fdb', 'show']),
  ])
  return foundIn({ links, addresses, routes, neighbours, forwarding }, group)
}

/** The main table of both families. */
export async function routesOfMain(): Promise<readonly HostRoute[]> {
  return (await rowsOfMain()).map(route)
}

async function rowsOfMain(): Promise<readonly Row[]> {
  const families = hasIpv6() ? ['-4', '-6'] : ['-4']
  return (await Promise.all(families.map((family) => tableOf('ip', [family, 'route', 'show', 'table', 'main'])))).flat()
}

/** Whether all that belongs to a network is there as it should be. */
export function isWhole(devices: NetworkDevices, found: Found): boolean {
  const { bridge, tunnel, alias, ipv6 } = devices
  const [ours, port] = [found.links.get(bridge), found.links.get(tunnel)]
  return (
    ours?.alias === alias &&
    ours.up &&
    port?.up === true &&
    port.master === bridge &&
    [devices, ...(ipv6 === undefined ? [] : [ipv6])].every(
      ({ gateway, subnet }) =>
        found.addresses.has(`${bridge} ${gateway}`) &&
        found.routes.some(({ dst, dev }) => dst === subnet && dev === bridge),
    )
  )
}

/** Of the device that has this address; an Ethernet's where none has. */
export function mtuAt(address: string, found: Found): number {
  const device = [...found.links.keys()].find((name) => found.addresses.has(`${name} ${address}`))
  return found.links.get(device ?? '')?.mtu ?? 1500
}

type Tables = Readonly<Record<'links' | 'addresses' | 'routes' | 'neighbours' | 'forwarding', readonly Row[]>>

export function foundIn(tables: Tables, group: number): Found {
  const links = new Map(
    tables.links.flatMap((row) => (row.ifname === undefined ? [] : [[text(row.ifname), link(row)]])),
  )
  const isOurs = (device: string) => links.get(device)?.group === group
  const neighbours = new Map<string, string>()
  for (const { dst, dev, lladdr } of tables.neighbours) {
    // Those of marks.ts, the ways back through entry nodes, are link-local, and no overlay address is.
    if (isOurs(text(dev)) && !/^(169\.254\.|fe80:)/.test(text(dst)))
      neighbours.set(`${text(dev)} ${text(dst)}`, text(lladdr))
  }
  return {
    links,
    addresses: new Set(
      tables.addresses.flatMap(({ ifname, addr_info }) =>
        ((addr_info ?? []) as readonly Row[]).map(({ local }) => `${text(ifname)} ${text(local)}`),
      ),
    ),
    routes: tables.routes.map(route),
    forwarding: { neighbours, ports: portsIn(tables.forwarding, isOurs) },
  }
}

function route({ dst, dev }: Row): HostRoute {
  return { dst: text(dst), dev: text(dev) }
}

function link(row: Row): FoundLink {
  return {
    group: Number(row.group),
    alias: text(row.ifalias),
    master: row.master === undefined ? undefined : text(row.master),
    up: ((row.flags ?? []) as readonly string[]).includes('UP'),
    mtu: Number(row.mtu),
  }
}

/** A tunnel's entry counts only with both its halves; half of one reads as an entry that leads nowhere, and so is set again. */
function portsIn(rows: readonly Row[], isOurs: (device: string) => boolean): Map<string, string> {
  const [byPort, farEnds] = [new Set<string>(), new Map<string, string>()]
  for (const { mac, ifname, dst, port, state, master } of rows) {
    const key = `${text(ifname)} ${text(mac)}`
    if (!isOurs(text(ifname))) continue
    if (dst !== undefined) farEnds.set(key, port === undefined ? text(dst) : `${text(dst)} port ${port}`)
    else if (master !== undefined && state === 'static') byPort.add(key)
  }
  const ports = new Map<string, string>()
  for (const key of byPort) ports.set(key, farEnds.get(key) ?? (key.startsWith('vx') ? '' : 'here'))
  for (const key of farEnds.keys()) if (!byPort.has(key)) ports.set(key, '')
  return ports
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
