/**
 * Forgets connections of addresses at which no task is any more. Nobody is left who would end them: the kernel would keep them for five days, a client
 * with an open one would wait for its own time-outs, and the next task at the address would be taken for the earlier one.
 *
 * By comparison of who was there at the last look with who is now (conntrack.ts says why). After it a client's next packet finds another task, which
 * refuses a connection that it does not know, so that the client hears of it at once.
 */
import { ipv6Maker } from '../../core/addresses/dual.ts'
import { contains, parseAddress, parseSubnet, type Subnet } from '../../core/addresses/ipv4.ts'
import { contains6, formatAddress6, parseAddress6, parseSubnet6, type Subnet6 } from '../../core/addresses/ipv6.ts'
import type { Routes } from '../../core/routes/types.ts'
import { eachConnection, forgetConnections } from './conntrack.ts'
import type { TaskLinks } from './devices.ts'
import { ipv4, ipv6 } from './family.ts'
import { routesOfMain } from './found.ts'

/** Who has addresses of our networks: tasks here and elsewhere, and this node as gateway. */
export interface Population {
  /** Of both families, in canonical form. */
  readonly addresses: ReadonlySet<string>
  /** Of the networks that are here. */
  readonly subnets: readonly Subnet[]
  readonly subnets6: readonly Subnet6[]
}

export function populationOf({ overlay }: Routes, local: readonly TaskLinks[]): Population {
  const { places = [], networks = [] } = overlay ?? {}
  const makers = new Map(networks.map(({ id, subnet, ipv6 }) => [id, ipv6Maker(subnet, ipv6?.subnet ?? '')]))
  const held = [...places, ...local.flatMap(({ links }) => links)]
  return {
    addresses: new Set([
      ...held.flatMap(({ network, address }) => [address, makers.get(network)?.(address) ?? address]),
      ...networks.flatMap(({ gateway, ipv6 }) => [gateway, ipv6?.gateway ?? gateway]),
    ]),
    subnets: networks.flatMap(({ subnet }) => parseSubnet(subnet) ?? []),
    subnets6: networks.flatMap(({ ipv6 }) => parseSubnet6(ipv6?.subnet ?? '') ?? []),
  }
}

/**
 * Deletes what is left of those that are gone since `before`; undefined: nothing is known, so that all is looked through. Resolves to who was there when
 * it began: whoever goes meanwhile is for the next time, and `current` is asked again whether somebody has come. Rejects with a Fault.
 *
 * Of networks that are here. A network that goes takes its connections along (`forgetNetworksOf`).
 */
export async function forgetDeparted(before: Population | undefined, current: () => Population): Promise<Population> {
  const now = current()
  if (before === undefined || [...before.addresses].some((address) => !now.addresses.has(address)))
    await forgetAbsent(now, current)
  return now
}

/**
 * Deletes all connections of the networks of these bridges. Before the bridges go: so an agent that is killed in between finds by them, at its next
 * start, which connections are left. Rejects with a Fault.
 */
export async function forgetNetworksOf(bridges: readonly string[]): Promise<void> {
  if (bridges.length === 0) return
  const routes = await routesOfMain()
  const subnets = routes.filter(({ dev }) => bridges.includes(dev)).map(({ dst }) => dst)
  const nobody: Population = {
    addresses: new Set(),
    subnets: subnets.flatMap((subnet) => parseSubnet(subnet) ?? []),
    // Link-local ones are of every device.
    subnets6: subnets.filter((subnet) => !subnet.startsWith('fe80:')).flatMap((subnet) => parseSubnet6(subnet) ?? []),
  }
  await forgetAbsent(nobody, () => nobody)
}

async function forgetAbsent(looked: Population, current: () => Population): Promise<void> {
  const { subnets, subnets6 } = looked
  for (const family of [...(subnets.length > 0 ? [ipv4] : []), ...(subnets6.length > 0 ? [ipv6] : [])]) {
    const gone = new Map<string, Departed>()
    await eachConnection(family, [], (line) => {
      for (const one of departedIn(line, looked)) gone.set(`${one.end} ${one.address}`, one)
    })
    const { addresses } = gone.size === 0 ? looked : current()
    for (const { end, address } of gone.values())
      if (!addresses.has(address)) await forgetConnections(['-f', family.tracked, `--${end}-src`, address])
  }
}

/** Who speaks on a connection, as client (`orig`) or as server (`reply`). */
export interface Departed {
  readonly end: 'orig' | 'reply'
  readonly address: string
}

/** From an address of our networks that nobody has. */
export function departedIn(line: string, { addresses, subnets, subnets6 }: Population): readonly Departed[] {
  const [orig = '', reply = ''] = [...line.matchAll(/ src=([\da-f.:]+) /g)].map(([, address = '']) => address)
  const isDeparted = ({ address }: Departed) => {
    const six = parseAddress6(address)
    if (six !== undefined)
      return !addresses.has(formatAddress6(six)) && subnets6.some((subnet) => contains6(subnet, six))
    const four = parseAddress(address)
    return four !== undefined && !addresses.has(address) && subnets.some((subnet) => contains(subnet, four))
  }
  const ends = [{ end: 'orig', address: orig } as const, { end: 'reply', address: reply } as const]
  return ends.filter(isDeparted)
}
