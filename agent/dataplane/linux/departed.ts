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
import { eachConnection } from './conntrack.ts'
import type { TaskLinks } from './devices.ts'
import { ipv4, ipv6 } from './family.ts'
import { run } from './tools.ts'

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
 */
export async function forgetDeparted(before: Population | undefined, current: () => Population): Promise<Population> {
  const now = current()
  if (before !== undefined && [...before.addresses].every((address) => now.addresses.has(address))) return now
  const looked = {
    addresses: now.addresses,
    subnets: [...(before?.subnets ?? []), ...now.subnets],
    subnets6: [...(before?.subnets6 ?? []), ...now.subnets6],
  }
  for (const family of looked.subnets6.length > 0 ? [ipv4, ipv6] : [ipv4]) {
    const gone = new Set<string>()
    await eachConnection(family, [], (line) => {
      for (const address of departedIn(line, looked)) gone.add(address)
    })
    for (const address of withoutThose(gone, current)) {
      // It fails when the last of them has just ended by itself, which is what we want.
      for (const end of ['--orig-src', '--reply-src'])
        await run('conntrack', ['-D', '-f', family.tracked, end, address]).catch(() => {})
    }
  }
  return now
}

function withoutThose(gone: ReadonlySet<string>, current: () => Population): readonly string[] {
  if (gone.size === 0) return []
  const { addresses } = current()
  return [...gone].filter((address) => !addresses.has(address))
}

/** Who speaks on this connection, as client or as server, from an address of our networks that nobody has. */
export function departedIn(line: string, { addresses, subnets, subnets6 }: Population): readonly string[] {
  const ends = [...line.matchAll(/ src=([\da-f.:]+) /g)].map(([, address = '']) => address)
  return ends.filter((text) => {
    const six = parseAddress6(text)
    if (six !== undefined)
      return !addresses.has(formatAddress6(six)) && subnets6.some((subnet) => contains6(subnet, six))
    const four = parseAddress(text)
    return four !== undefined && !addresses.has(text) && subnets.some((subnet) => contains(subnet, four))
  })
}
