/**
 * Forgets UDP connections whose backend is gone, so that their next datagram finds another (conntrack(8)).
 *
 * By comparison of what is tracked with what is current, never by event: an event that is missed leaves a client talking to nobody for as long as it talks
 * (kubernetes #126130). Only connections to addresses of ours are looked at; TCP is left to close by itself.
 */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { contains, parseAddress, parseSubnet, type Subnet } from '../../core/addresses/ipv4.ts'
import { contains6, isAddress6, parseAddress6, parseSubnet6, type Subnet6 } from '../../core/addresses/ipv6.ts'
import type { Routes } from '../../core/routes/types.ts'
import { fault, reasonOf } from '../../fault.ts'
import { type Family, familiesOf } from './family.ts'
import { keyOf } from './model.ts'
import { run, toolFolders } from './tools.ts'

export interface Tracked {
  readonly source: string
  readonly destination: string
  readonly port: number
  /** Who answers, or would. */
  readonly backend: string
  readonly backendPort: number
}

/** Who may answer at our addresses. */
export interface Current {
  /** By `address . port`, or `address` for any port: `host . port` or `host` of each backend. */
  readonly backends: ReadonlyMap<string, ReadonlySet<string>>
  readonly own: ReadonlySet<string>
  /** Addresses of other members. */
  readonly members: ReadonlySet<string>
  /** Of the networks that are here. */
  readonly subnets: readonly Subnet[]
  readonly subnets6: readonly Subnet6[]
  /** Which entries there can be. */
  readonly families: readonly Family[]
}

export function currentBackends(routes: Routes, own: readonly string[]): Current {
  const backends = new Map<string, Set<string>>()
  const add = (key: string, ends: readonly string[]) => {
    backends.set(key, new Set([...(backends.get(key) ?? []), ...ends]))
  }
  for (const route of routes.published) {
    const { protocol, port, target } = route
    if (protocol !== 'udp' || route.options.proxyProtocol) continue
    const ends = route.backends.flatMap(({ host, host6, ports }) => {
      const found = ports.find((p) => p.protocol === 'udp' && p.target === target)
      return [host, ...(host6 === undefined ? [] : [host6])].map((one) => keyOf(one, found?.actual ?? target))
    })
    for (const address of own) {
      // Left to the listener at this address, which answers for itself.
      if (isAddress6(address) && route.backends.every(({ host6 }) => host6 === undefined)) continue
      add(keyOf(address, port), ends)
    }
  }
  for (const { vip, vip6, backends: all } of routes.services) {
    if (vip !== undefined)
      add(
        vip,
        all.map(({ host }) => host),
      )
    if (vip6 !== undefined)
      add(
        vip6,
        all.flatMap(({ host6 }) => host6 ?? []),
      )
  }
  for (const { address, backend } of routes.tasks) add(address, [address, backend.host])
  const { nodes = [], networks = [] } = routes.overlay ?? {}
  return {
    backends,
    own: new Set(own),
    members: new Set(nodes.flatMap(({ addresses }) => addresses)),
    subnets: networks.flatMap(({ subnet }) => parseSubnet(subnet) ?? []),
    subnets6: networks.flatMap(({ ipv6 }) => parseSubnet6(ipv6?.subnet ?? '') ?? []),
    families: familiesOf(networks),
  }
}

/** Those whose backend is gone, once for each destination and backend. */
export function outdated(tracked: readonly Tracked[], current: Current): readonly Tracked[] {
  const found = new Map<string, Tracked>()
  for (const entry of tracked) {
    if (!isOurs(entry, current)) continue
    const { destination, port, backend, backendPort } = entry
    const ends = current.backends.get(keyOf(destination, port)) ?? current.backends.get(destination)
    if (ends?.has(backend) || ends?.has(keyOf(backend, backendPort))) continue
    found.set(keyOf(destination, port, backend, backendPort), entry)
  }
  return [...found.values()]
}

/**
 * To an address at which we answer for backends, or once did: it was translated to where only we translate. What this machine sends to itself is
 * served by the listeners in this process.
 */
function isOurs(
  { source, destination, port, backend }: Tracked,
  { backends, own, members, subnets, subnets6 }: Current,
): boolean {
  if (own.has(source)) return false
  if (backends.has(keyOf(destination, port)) || backends.has(destination)) return true
  if (destination === backend) return false
  const inside = (address: string) =>
    address.includes(':')
      ? subnets6.some((subnet) => contains6(subnet, parseAddress6(address) ?? 0n))
      : subnets.some((subnet) => contains(subnet, parseAddress(address) ?? 0))
  return (own.has(destination) || inside(destination)) && (inside(backend) || members.has(backend))
}

/** A line of `conntrack -L -p udp`: the original direction first, then the reply. Undefined where it is nothing of ours to judge. */
export function readTracked(line: string): Tracked | undefined {
  const match = /^udp .*?src=(\S+) dst=(\S+) sport=\d+ dport=(\d+) .*?src=(\S+) dst=\S+ sport=(\d+) dport=\d+/.exec(
    line,
  )
  if (match === null) return undefined
  const [, source = '', destination = '', port, backend = '', backendPort] = match
  return { source, destination, port: Number(port), backend, backendPort: Number(backendPort) }
}

/**
 * Deletes what is outdated; resolves to how many kinds. Rejects with a Fault when conntrack(8) is missing. `current` is asked again when all has been read,
 * since the table goes on changing meanwhile.
 */
export async function forgetOutdated(current: () => Current): Promise<number> {
  const before = current()
  const tracked: Tracked[] = []
  for (const family of before.families) tracked.push(...(await listUdp(before, family)))
  const gone = tracked.length === 0 ? [] : outdated(tracked, current())
  for (const { destination, port, backend, backendPort } of gone) {
    const words = [
      '-f',
      destination.includes(':') ? 'ipv6' : 'ipv4',
      '-p',
      'udp',
      '--orig-dst',
      destination,
      '--orig-port-dst',
      port,
      '--reply-src',
      backend,
    ]
    await forgetConnections([...words, '--reply-port-src', backendPort].map(String))
  }
  return gone.length
}

/** Line by line, keeping only entries to our addresses: a busy node tracks hundreds of thousands. */
async function listUdp(current: Current, family: Family): Promise<readonly Tracked[]> {
  const kept: Tracked[] = []
  await eachConnection(family, ['-p', 'udp'], (line) => {
    const entry = readTracked(line)
    if (entry !== undefined && isOurs(entry, current)) kept.push(entry)
  })
  return kept
}

/** Every line of `conntrack -L`, of those that `words` choose. Rejects with a Fault when conntrack(8) is missing. */
export function eachConnection(family: Family, words: readonly string[], take: (line: string) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('conntrack', ['-L', '-f', family.tracked, ...words], {
      env: { PATH: toolFolders.join(':'), LC_ALL: 'C' },
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    createInterface({ input: child.stdout }).on('line', take)
    child.on('error', (error) => reject(fault('unavailable', `conntrack failed: ${reasonOf(error)}`)))
    child.on('close', () => resolve())
  })
}

/**
 * Deletes all that `words` choose. When one of them ends by itself meanwhile, conntrack(8) stops before the rest, and is begun anew; that there is none
 * is as good.
 */
export async function forgetConnections(words: readonly string[]): Promise<void> {
  for (let tries = 0; tries < FORGET_TRIES; tries++) {
    const why = await run('conntrack', ['-D', ...words]).then(() => '', reasonOf)
    if (!why.includes("doesn't exist")) return
  }
}

/** Each try goes at least as far as the one before; what is left after so many is of a busy address, and found by the next comparison. */
const FORGET_TRIES = 5
