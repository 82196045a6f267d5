/**
 * Joining: tries every given address and every member it knows, all at once, again and again with jitter until one lets it in, and says after
 * each round what is wrong with each address. Never gives up: the other machine may be started tomorrow.
 */
import { lookup } from 'node:dns/promises'
import type { NodeId } from '../../protocol/ids.ts'
import { reasonOf } from '../fault.ts'
import type { Cancel, Clock, Random } from '../world.ts'
import type { KnownMember, TransportTimes } from './admission.ts'
import { multiaddrText } from './advertise.ts'
import { type DialFailure, dialFailureOf, type JoinProblem, problemOf } from './diagnose.ts'
import { redialDelayMs } from './dialer.ts'
import { ownVersion, type Welcome } from './hello.ts'
import { defaultPort, type Place, placeOf } from './place.ts'
import type { Reached } from './reach.ts'

export interface JoinRequest {
  /** Multiaddrs with or without `/p2p/…`, `host:port`, or a bare host. */
  readonly addresses: readonly string[]
  /** The token's secret; undefined for a node that comes back with its certificate. */
  readonly secret: Uint8Array | undefined
  /** After each round that failed: one entry for each given address that was tried. */
  readonly onProblems: (problems: readonly JoinProblem[]) => void
}

export interface Joined {
  readonly certificate: Uint8Array
  /** What `Admission.seed` of the other side gave; undefined when this node returned by its own members. */
  readonly seed: Uint8Array | undefined
  readonly members: readonly KnownMember[]
  readonly by: NodeId
}

export interface Joining {
  /** Never rejects; pending until a node lets us in or `stop`. */
  readonly joined: Promise<Joined>
  stop(): void
}

export interface JoinOptions {
  readonly request: JoinRequest
  readonly clock: Clock
  readonly random: Random
  readonly times: TransportTimes
  readonly ownPort: number
  readonly dial: (addresses: readonly string[], secret: Uint8Array | undefined) => Promise<Reached>
  readonly known: () => readonly KnownMember[]
  readonly connected: () => boolean
  readonly joined: (welcome: Welcome, by: NodeId) => Joined
}

/** Addresses tried at the same time: a list of a whole cluster must not cost a whole second of handshakes. */
const parallelMax = 8
/** A resolver that does not answer is told as a name that does not resolve before the 5 s are over. */
const resolveMs = 2_000

export function join(options: JoinOptions): Joining {
  const { request, clock, random, times } = options
  let stopped = false
  let cancel: Cancel | undefined
  let rounds = 0
  let admitted = false
  let settle: (joined: Joined) => void = () => {}
  const joined = new Promise<Joined>((resolve) => {
    settle = resolve
  })

  async function round(): Promise<void> {
    // Admitted, and connected with somebody: the seeds are of use again only when everybody is lost.
    if (admitted && options.connected()) return wait(times.redialMaxMs)
    const given = turn(request.addresses, rounds)
    const members = turn(options.known(), rounds)
    const tries = given.map((address) => tryAddress(address))
    const more = members.map((member) => tryMember(member))
    const outcomes = await Promise.all(tries)
    await Promise.all(more)
    if (stopped) return
    const problems = outcomes.filter((outcome) => outcome !== undefined)
    if (!admitted && problems.length > 0) request.onProblems(problems)
    wait(redialDelayMs(rounds++, random.next(), times))
  }

  async function tryAddress(address: string): Promise<JoinProblem | undefined> {
    const place = placeOf(address)
    const failure: DialFailure | undefined =
      place === undefined ? { kind: 'name', detail: 'not an address' } : await tryPlace(place)
    const { host, port } = place ?? { host: address, port: defaultPort }
    const sought = { address, host, port, ownPort: options.ownPort, ownVersion }
    return failure === undefined ? undefined : problemOf(failure, sought)
  }

  async function tryPlace({ host, port, peer }: Place): Promise<DialFailure | undefined> {
    const hosts = await resolve(host)
    if ('kind' in hosts) return hosts
    return attempt(hosts.map((one) => multiaddrText(one, port) + peer))
  }

  async function tryMember(member: KnownMember): Promise<void> {
    await attempt(member.listen.map((address) => `${address}/p2p/${member.peerId}`))
  }

  async function attempt(addresses: readonly string[]): Promise<DialFailure | undefined> {
    if (stopped || addresses.length === 0) return undefined
    let result: Reached
    try {
      result = await options.dial(addresses, request.secret)
    } catch (error) {
      return { kind: 'no-route', detail: reasonOf(error) }
    }
    if (result.kind === 'failed') return result.failure
    if (!admitted && !stopped) {
      admitted = true
      settle(options.joined(result.welcome, result.peer.node))
    }
    return undefined
  }

  async function resolve(host: string): Promise<readonly string[] | DialFailure> {
    if (/^[0-9.]+$/.test(host) || host.includes(':')) return [host]
    try {
      const found = await within(resolveMs, lookup(host, { all: true }))
      return found.map(({ address }) => address)
    } catch (error) {
      const failure = dialFailureOf(error, false)
      return failure.kind === 'name' ? failure : { kind: 'name', detail: reasonOf(error) }
    }
  }

  function within<T>(ms: number, work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const cancel = clock.after(ms, () => reject(new Error(`no answer within ${ms} ms`)))
      work.then(resolve, reject).finally(cancel)
    })
  }

  function wait(ms: number): void {
    if (stopped) return
    cancel = clock.after(ms, () => void round())
  }

  function stop(): void {
    stopped = true
    cancel?.()
  }

  void round()
  return { joined, stop }
}

/** A long list is worked through in turns. */
function turn<T>(list: readonly T[], round: number): readonly T[] {
  if (list.length <= parallelMax) return list
  const start = (round * parallelMax) % list.length
  return [...list.slice(start), ...list.slice(0, start)].slice(0, parallelMax)
}
