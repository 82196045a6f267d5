/**
 * Forgets connections of addresses at which no task is any more. Nobody is left who would end them: the kernel would keep them for five days, a client
 * with an open one would wait for its own time-outs, and the next task at the address would be taken for the earlier one.
 *
 * By comparison of who was there at the last look with who is now (conntrack.ts says why). After it a client's next packet finds another task, which
 * refuses a connection that it does not know, so that the client hears of it at once.
 */
import { contains, parseAddress, parseSubnet, type Subnet } from '../../core/addresses/ipv4.ts'
import type { Routes } from '../../core/routes/types.ts'
import { eachConnection } from './conntrack.ts'
import type { TaskLinks } from './devices.ts'
import { ipv4 } from './family.ts'
import { run } from './tools.ts'

/** Who has addresses of our networks: tasks here and elsewhere, and this node as gateway. */
export interface Population {
  readonly addresses: ReadonlySet<string>
  /** Of the networks that are here. */
  readonly subnets: readonly string[]
}

export function populationOf({ overlay }: Routes, local: readonly TaskLinks[]): Population {
  const { places = [], networks = [] } = overlay ?? {}
  const own = local.flatMap(({ links }) => links.map(({ address }) => address))
  return {
    addresses: new Set([...places.map(({ address }) => address), ...networks.map(({ gateway }) => gateway), ...own]),
    subnets: networks.map(({ subnet }) => subnet),
  }
}

/** Deletes what is left of those that are gone since `before`; undefined: nothing is known, so that all is looked through. Rejects with a Fault. */
export async function forgetDeparted(before: Population | undefined, now: Population): Promise<void> {
  if (before !== undefined && [...before.addresses].every((address) => now.addresses.has(address))) return
  const subnets = [...(before?.subnets ?? []), ...now.subnets].flatMap((text) => parseSubnet(text) ?? [])
  const gone = new Set<string>()
  await eachConnection(ipv4, [], (line) => {
    for (const address of departedIn(line, { addresses: now.addresses, subnets })) gone.add(address)
  })
  for (const address of gone) {
    // It fails when the last of them has just ended by itself, which is what we want.
    for (const end of ['--orig-src', '--reply-src']) await run('conntrack', ['-D', end, address]).catch(() => {})
  }
}

/** Who speaks on this connection, as client or as server, from an address of our networks that nobody has. */
export function departedIn(
  line: string,
  now: { readonly addresses: ReadonlySet<string>; readonly subnets: readonly Subnet[] },
): readonly string[] {
  const ends = [...line.matchAll(/ src=([\d.]+) /g)].map(([, address = '']) => address)
  return ends.filter((address) => {
    const number = parseAddress(address)
    return number !== undefined && !now.addresses.has(address) && now.subnets.some((subnet) => contains(subnet, number))
  })
}
