/**
 * Reaches another node: one dial with its time limit, the hello behind it, and the dial-back that a newcomer is owed.
 *
 * A dial that resolved says nothing yet, the other side may refuse a moment later (ecosystem.md 2, trap 11): only a welcome counts. What comes back is
 * always a value, with the stage that failed.
 */

import { setTimeout as pause } from 'node:timers/promises'
import type { Connection, PeerId } from '@libp2p/interface'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { reasonOf } from '../fault.ts'
import { checkCertificate } from '../trust/certificate.ts'
import { nodeIdOf } from '../trust/identity.ts'
import { abortNow } from './abort.ts'
import type { TransportTimes } from './admission.ts'
import { type DialFailure, dialFailureOf, impostorSentence } from './diagnose.ts'
import { type DialerWish, type HelloContext, helloAsDialer, type OpenLink, type Peer } from './handshake.ts'
import type { Welcome } from './hello.ts'
import type { Libp2pNode } from './libp2p.ts'

/** One protocol for hello and requests; versions are told in the hello, where they can be refused with a sentence. */
export const controlProtocol = '/grapevine/control'

export type Reached =
  | {
      readonly kind: 'open'
      readonly peer: Peer
      readonly connection: Connection
      readonly link: OpenLink
      readonly welcome: Welcome
    }
  | { readonly kind: 'failed'; readonly failure: DialFailure }

export interface Reaching {
  readonly node: Libp2pNode
  readonly times: TransportTimes
  readonly hello: HelloContext
}

/** 250 ms (RFC 8305, 8): an address that leads nowhere costs no more than that. */
const staggerMs = 250

/** Tries the addresses, best first, each a multiaddr with or without `/p2p/…`, all within one dial's time. */
export async function reach(addresses: readonly string[], wish: DialerWish, use: Reaching): Promise<Reached> {
  let connected = false
  let connection: Connection
  try {
    connection = await dialFirst(addresses, {
      node: use.node,
      signal: AbortSignal.timeout(use.times.dialMs),
      onReached: () => {
        connected = true
      },
    })
  } catch (error) {
    return failed(dialFailureOf(error, connected))
  }
  const outcome = await greet(connection, wish, use)
  if (outcome.kind === 'failed') abortNow(connection, 'not admitted')
  return outcome
}

interface Dialling {
  readonly node: Libp2pNode
  readonly signal: AbortSignal
  /** A TCP connection was opened. */
  readonly onReached: () => void
}

/**
 * A connection by the first address that gives one. libp2p's own list is tried one after the other within one time limit, so that an address of a
 * network that leads nowhere from here, and drops what is sent to it, uses all of it up.
 */
async function dialFirst(addresses: readonly string[], dialling: Dialling): Promise<Connection> {
  const [only] = addresses
  if (only !== undefined && addresses.length === 1) return dialOne(multiaddr(only), dialling)
  const settled = new AbortController()
  const racing = { ...dialling, signal: AbortSignal.any([dialling.signal, settled.signal]) }
  const tries: Promise<Connection>[] = []
  for (const [place, address] of addresses.entries()) {
    const previous = tries[place - 1] ?? Promise.reject(new Error('there is none'))
    const failed = new Promise<void>((resolve) => void previous.catch(() => resolve()))
    const turn = Promise.race([failed, pause(place * staggerMs, undefined, { signal: racing.signal })])
    tries.push(turn.then(() => dialExpected(address, racing)))
  }
  try {
    return await Promise.any(tries)
  } finally {
    settled.abort()
  }
}

/** The peer is left out of the address: libp2p would make one dial of all to the same peer. */
async function dialExpected(address: string, dialling: Dialling): Promise<Connection> {
  const [plain = '', expected] = address.split('/p2p/')
  const connection = await dialOne(multiaddr(plain), dialling)
  const isAnother = expected !== undefined && connection.remotePeer.toString() !== expected
  if (!isAnother && !dialling.signal.aborted) return connection
  abortNow(connection, 'not wanted')
  throw new Error(isAnother ? impostorSentence : 'another address answered first')
}

function dialOne(address: Multiaddr, { node, signal, onReached }: Dialling): Promise<Connection> {
  return node.dial(address, {
    // Without it libp2p hands out a connection that is being closed, or the peer's own before its hello.
    force: true,
    signal,
    onProgress: (event) => {
      if (event.type.startsWith('upgrader:')) onReached()
    },
  })
}

async function greet(connection: Connection, wish: DialerWish, { hello, times }: Reaching): Promise<Reached> {
  const peer = peerOf(connection.remotePeer)
  if (peer === undefined) return failed({ kind: 'silent', detail: 'its key is not of type Ed25519' })
  try {
    const stream = await connection.newStream(controlProtocol, { signal: AbortSignal.timeout(times.helloMs) })
    const outcome = await helloAsDialer(stream, peer, wish, hello)
    if (outcome.kind === 'failed') return outcome
    const { link, welcome } = outcome
    if (!isOurs(welcome.certificate, hello)) return failed({ kind: 'distrust', reason: 'bad-certificate' })
    return { kind: 'open', peer, connection, link, welcome }
  } catch (error) {
    return failed({ kind: 'silent', detail: reasonOf(error) })
  }
}

/** A certificate made for us must be for our key and cluster; none is needed by one who has one. */
function isOurs(certificate: Uint8Array | undefined, { identity, standing }: HelloContext): boolean {
  const { cluster, certificate: held } = standing()
  if (certificate === undefined) return held !== undefined
  const trusting = { isRemoved: () => false, isMember: () => true }
  return checkCertificate(certificate, { cluster, node: identity.nodeId, ...trusting }).ok
}

/** Undefined when the newcomer's port answers with its key; else what was tried and how it failed. */
export async function dialBack(
  peer: Peer,
  listen: readonly string[],
  node: Libp2pNode,
  times: TransportTimes,
): Promise<string | undefined> {
  if (listen.length === 0) return 'it names no address'
  // Eight addresses are more than a machine has networks; the rest of a hostile list is not dialled.
  const tried = listen.slice(0, 8)
  try {
    const addresses = tried.map((address) => `${address}/p2p/${peer.peerId}`)
    // The newcomer waits for its welcome within its own hello time.
    const signal = AbortSignal.timeout(Math.min(times.dialMs, times.helloMs * 0.6))
    const connection = await dialFirst(addresses, { node, signal, onReached: () => {} })
    connection.close().catch(() => abortNow(connection, 'dial-back'))
    return undefined
  } catch (error) {
    return `tried ${tried.join(', ')}: ${dialFailureOf(error, false).kind}`
  }
}

export function peerOf(peerId: PeerId): Peer | undefined {
  if (peerId.type !== 'Ed25519') return undefined
  const publicKey = peerId.publicKey.raw
  return { node: nodeIdOf(publicKey), peerId: peerId.toString(), publicKey }
}

export function failed(failure: DialFailure): { readonly kind: 'failed'; readonly failure: DialFailure } {
  return { kind: 'failed', failure }
}
