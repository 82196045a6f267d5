/**
 * The control plane over libp2p: composes the node, the hello, links, dialer, gossip and watchdog into a `Transport` (agent/world.ts).
 *
 * Owns which link counts for each node. Nothing of an unadmitted node passes: no gossip, no request, no event. Membership is asked of
 * `Admission` at each step and kept nowhere here, except what this process has checked itself: certificates shown with messages.
 */

import type { Connection, Stream } from '@libp2p/interface'
import type { NodeId } from '../../protocol/ids.ts'
import { assert, fault } from '../fault.ts'
import { hostAddresses } from '../interfaces.ts'
import { checkRemoval } from '../trust/certificate.ts'
import type { Identity } from '../trust/identity.ts'
import type { Cancel, Clock, Disconnect, Log, Random, Transport, TransportHandlers } from '../world.ts'
import { abortNow } from './abort.ts'
import type { Admission, TransportTimes } from './admission.ts'
import { advertised, portOf, type Reachability } from './advertise.ts'
import { type DialFailure, failureWord } from './diagnose.ts'
import { type Dialer, dialer } from './dialer.ts'
import { type Gossip, topics } from './gossip.ts'
import { type DialerWish, type HelloContext, helloAsAccepter, type OpenLink, type Peer } from './handshake.ts'
import type { Standing } from './hello.ts'
import { type Joined, type Joining, type JoinRequest, join } from './join.ts'
import { knownMembers } from './known.ts'
import { listeningOn, type Started, startFault, startLibp2p } from './libp2p.ts'
import { createLink, type Link } from './link.ts'
import { keepsNew } from './mesh.ts'
import { controlProtocol, dialBack, failed, peerOf, type Reached, reach } from './reach.ts'
import { watchdog } from './watchdog.ts'

export interface TransportOptions extends Reachability {
  readonly identity: Identity
  readonly cluster: string
  /** trust/certificate.ts `clusterTag(cluster)`. */
  readonly clusterTag: Uint8Array
  /** This node's certificate, from founding, an earlier join, or undefined: then `join` with a token gets one. */
  readonly certificate: Uint8Array | undefined
  /** Multiaddrs to listen on. */
  readonly listen: readonly string[]
  readonly admission: Admission
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly times: TransportTimes
  /** Release of this agent, told in the hello. */
  readonly build: string
  /** A member refused this node with the signed proof that it was removed. */
  readonly onRemoved?: () => void
}

export interface Libp2pTransport extends Transport {
  /** Multiaddrs for the member record, best first; after `start`. */
  listening(): readonly string[]
  certificate(): Uint8Array | undefined
  join(request: JoinRequest): Joining
  /** Membership changed: connects with new members, ends links with removed ones. Cheap; call it on every change of members or removals. */
  refresh(): void
  /** libp2p's open connections, for tests and diagnosis. */
  connections(): readonly Connection[]
  /** What was dropped or healed since the start, by kind; for metrics. */
  counters(): ReadonlyMap<string, number>
}

/** 60 s: by then the member record of a newcomer is everywhere, by sync if not by gossip. */
const introductionMs = 60_000
/** A link that lost against another of the same pair lives on for requests under way. */
const retireMs = 2_000
/** One that its own end dialled again. Short: it was lost, or another agent of the same id dialled, and the first must soon learn that. */
const replacedMs = 200
/**
 * The kernel closes a killed process's sockets one after another: for a moment its connections are gone and its port still accepts, then resets. A reset
 * is looked at again after 15 ms, at most 4 times, before it is told as 'unreachable'.
 */
const dyingMs = 15
const dyingTurns = 5
/** 200 ms: a time-out is no reset, and a frozen process must not cost five of them. */
const dyingFailMs = 200

export function createTransport(options: TransportOptions): Libp2pTransport {
  const { identity, admission, clock, times, log } = options
  const self = identity.nodeId
  const links = new Map<NodeId, Link>()
  const known = knownMembers(self, options.cluster, admission)
  const greeting = new Set<NodeId>()
  const dialling = new Map<NodeId, Promise<Reached>>()
  const counts = new Map<string, number>()
  const cancels = new Set<Cancel>()
  let certificate = options.certificate
  let introduceUntilMs = 0
  let handlers: TransportHandlers | undefined
  let started: Started | undefined
  let gossip: Gossip | undefined
  let keeper: Dialer | undefined
  let stopping = false
  let joining: Joining | undefined

  const hello: HelloContext = {
    identity,
    clock,
    helloMs: times.helloMs,
    build: options.build,
    standing,
    listen: listening,
    dialBack: async (peer, addresses) => dialBack(peer, addresses, running().node, times),
  }

  async function start(given: TransportHandlers): Promise<void> {
    assert(started === undefined, 'a transport is started once')
    handlers = given
    const { listen, clusterTag } = options
    try {
      started = await startLibp2p({
        identity,
        listen,
        clusterTag,
        times,
        onGossipRefused: () => count('gossip streams of strangers'),
      })
    } catch (error) {
      throw startFault(error, listen)
    }
    const { node } = started
    gossip = topics({
      gossip: started.gossip,
      introduction: () => (clock.now() < introduceUntilMs ? certificate : undefined),
      accepts: (writer, shown) => (links.has(writer) && !admission.isRemoved(writer)) || known.accepts(writer, shown),
      onMessage: (topic, from, bytes) => {
        if (certificate === undefined) count('messages before admission')
        else handlers?.onMessage(topic, from, bytes)
      },
      dropped: count,
    })
    node.addEventListener('connection:open', (event) => guardStranger(event.detail))
    await node.handle(controlProtocol, onControlStream, { maxInboundStreams: 4, maxOutboundStreams: 4 })
    const stopWatch = watchdog({
      clock,
      everyMs: times.watchdogMs,
      links: () => links.values(),
      reopen: (connection) => started?.gate.open(connection),
      healed: (direction) => {
        count(`gossip healed ${direction}`)
        log.info(`A gossip stream was missing and is opened again (${direction})`)
      },
    })
    cancels.add(stopWatch)
    keeper = dialer({
      self,
      clock,
      random: options.random,
      times,
      missing,
      // Who is saying hello to us need not be dialled.
      connect: async (node) => void (greeting.has(node) || (await connect(node))),
    })
    keeper.refresh()
  }

  async function stop(): Promise<void> {
    stopping = true
    joining?.stop()
    keeper?.stop()
    for (const cancel of cancels) cancel()
    for (const link of [...links.values()]) link.end('this agent stops')
    await started?.node.stop()
  }

  // ---- who is admitted ----

  function standing(): Standing {
    return { cluster: options.cluster, certificate, admission }
  }

  function missing(): readonly NodeId[] {
    return certificate === undefined ? [] : known.wanted().filter((node) => !links.has(node))
  }

  /** Connections that do not complete a hello are closed: a stranger costs a socket for some seconds. */
  function guardStranger(connection: Connection): void {
    const cancel = clock.after(times.helloMs + times.dialMs, () => {
      cancels.delete(cancel)
      if (linkOf(connection) !== undefined || connection.status !== 'open') return
      count('connections without hello')
      abortNow(connection, 'no hello')
    })
    cancels.add(cancel)
    connection.addEventListener('close', () => {
      cancel()
      cancels.delete(cancel)
    })
  }

  // ---- links ----

  async function onControlStream(stream: Stream, connection: Connection): Promise<void> {
    const peer = peerOf(connection.remotePeer)
    if (peer === undefined || linkOf(connection) !== undefined) {
      abortNow(stream, 'one control stream a connection')
      return
    }
    greeting.add(peer.node)
    const outcome = await helloAsAccepter(stream, peer, hello).finally(() => greeting.delete(peer.node))
    if (outcome.kind === 'open') {
      adopt(peer, connection, outcome.link, peer.node)
      return
    }
    const reason = failureWord(outcome.failure)
    count(`hellos refused: ${reason}`)
    log.debug(`A node was not let in: ${reason}`, { node: peer.node, address: connection.remoteAddr.toString() })
    closeSoon(connection)
  }

  /** Time for the refusal to be read; the peer closes by itself as soon as it has read it. */
  function closeSoon(connection: Connection): void {
    const cancel = clock.after(500, () => {
      cancels.delete(cancel)
      if (connection.status === 'open') abortNow(connection, 'refused')
    })
    cancels.add(cancel)
  }

  function adopt(peer: Peer, connection: Connection, open: OpenLink, dialledBy: NodeId): void {
    const link = createLink({
      peer,
      connection,
      open,
      dialledBy,
      clock,
      name: () => admission.nameOf(peer.node) ?? peer.node,
      serve: (kind, bytes) => serve(peer.node, kind, bytes),
      regossip: () => {
        if (links.get(peer.node) === link) started?.gate.open(connection)
      },
      dropped: count,
      onEnd: (why) => onLinkEnd(link, why),
    })
    const old = links.get(peer.node)
    const low = self < peer.node ? self : peer.node
    if (stopping || admission.isRemoved(peer.node)) link.end('not wanted')
    else if (old === undefined || keepsNew({ low }, old, link)) take(link, old)
    else retire(link, retireMs)
    link.run()
  }

  function take(link: Link, old: Link | undefined): void {
    links.set(link.peer.node, link)
    started?.gate.open(link.connection)
    if (old === undefined) handlers?.onConnected(link.peer.node)
    else retire(old, old.dialledBy === link.dialledBy ? replacedMs : retireMs)
    keeper?.refresh()
  }

  function retire(link: Link, afterMs: number): void {
    const cancel = clock.after(afterMs, () => {
      cancels.delete(cancel)
      if (links.get(link.peer.node) !== link) link.end('a second connection')
    })
    cancels.add(cancel)
  }

  function onLinkEnd(link: Link, why: Disconnect): void {
    const { node } = link.peer
    if (links.get(node) !== link) return
    links.delete(node)
    started?.gate.shut(link.connection.remotePeer)
    handlers?.onDisconnected(node, why)
    if (!stopping) keeper?.refresh()
  }

  function linkOf(connection: Connection): Link | undefined {
    const peer = peerOf(connection.remotePeer)
    const link = peer === undefined ? undefined : links.get(peer.node)
    return link?.connection.id === connection.id ? link : undefined
  }

  async function serve(from: NodeId, kind: string, bytes: Uint8Array): Promise<Uint8Array> {
    if (certificate === undefined || handlers === undefined) throw fault('unavailable', 'not admitted yet')
    return handlers.onRequest(from, kind, bytes)
  }

  // ---- dialling ----

  async function dial(node: NodeId): Promise<'connected' | 'refused' | 'unreachable'> {
    for (let turn = 1; ; turn++) {
      if (links.has(node)) return 'connected'
      const beganMs = clock.now()
      const result = await connect(node)
      if (result.kind === 'open') return 'connected'
      const { kind } = result.failure
      if (kind === 'refused') return 'refused'
      const cutOff = (kind === 'reset' || kind === 'silent') && clock.now() - beganMs < dyingFailMs
      if (!cutOff || turn === dyingTurns) return 'unreachable'
      await new Promise<void>((resolve) => void clock.after(dyingMs, resolve))
    }
  }

  /** One dial of a member at a time: callers in between get its result. */
  function connect(node: NodeId): Promise<Reached> {
    const under = dialling.get(node)
    if (under !== undefined) return under
    const member = known.find(node)
    if (member === undefined || certificate === undefined || stopping) {
      return Promise.resolve(failed({ kind: 'no-route', detail: 'its address is not known' }))
    }
    const addresses = member.listen.map((address) => `${address}/p2p/${member.peerId}`)
    const made = dialAndAdopt(addresses, { fresh: false, secret: undefined }).finally(() => dialling.delete(node))
    dialling.set(node, made)
    return made
  }

  async function dialAndAdopt(addresses: readonly string[], wish: DialerWish): Promise<Reached> {
    const result = await reach(addresses, wish, { node: running().node, times, hello })
    if (result.kind === 'failed') {
      count('dials failed')
      if (provesRemoval(result.failure)) options.onRemoved?.()
      return result
    }
    const { welcome } = result
    if (certificate === undefined && welcome.certificate !== undefined) {
      certificate = Uint8Array.from(welcome.certificate)
      introduceUntilMs = clock.now() + introductionMs
    }
    known.tell(welcome.members ?? [])
    adopt(result.peer, result.connection, result.link, self)
    return result
  }

  function provesRemoval(failure: DialFailure): boolean {
    const removal = failure.kind === 'refusal' ? failure.refusal.removal : undefined
    if (removal === undefined) return false
    const { cluster } = options
    return checkRemoval({ cluster, node: self, by: removal.by, atMs: removal.atMs }, removal.signature).ok
  }

  // ---- the rest of Transport ----

  async function request(node: NodeId, kind: string, bytes: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    const link = links.get(node)
    if (link === undefined) throw fault('unavailable', `${admission.nameOf(node) ?? node} is not connected`)
    return link.requests.ask(kind, bytes, timeoutMs)
  }

  function refresh(): void {
    for (const [node, link] of [...links]) if (admission.isRemoved(node)) link.end('removed from the cluster')
    known.refresh()
    keeper?.refresh()
  }

  function listening(): readonly string[] {
    return started === undefined ? [] : advertised(listeningOn(started.node), options, hostAddresses())
  }

  function beginJoin(request: JoinRequest): Joining {
    assert(started !== undefined, 'join() comes after start()')
    joining?.stop()
    joining = join({
      request,
      clock,
      random: options.random,
      times,
      ownPort: portOf(listening()[0] ?? '') ?? 0,
      dial: (addresses, secret) => dialAndAdopt(addresses, { fresh: true, secret }),
      known: () => admission.members(),
      connected: () => links.size > 0,
      joined: (welcome, by): Joined => {
        assert(certificate !== undefined, 'who was welcomed has a certificate')
        keeper?.refresh()
        return { certificate, seed: welcome.seed, members: known.told(), by }
      },
    })
    return joining
  }

  function running(): Started {
    assert(started !== undefined, 'a transport connects after its start')
    return started
  }

  function count(what: string): void {
    counts.set(what, (counts.get(what) ?? 0) + 1)
  }

  return {
    self,
    start,
    stop,
    publish: (topic, bytes) => gossip?.publish(topic, bytes),
    subscribe: (topic) => gossip?.subscribe(topic),
    unsubscribe: (topic) => gossip?.unsubscribe(topic),
    request,
    connected: () => [...links.keys()].sort(),
    keeps: known.keeps,
    dial,
    listening,
    certificate: () => certificate,
    join: beginJoin,
    refresh,
    connections: () => started?.node.getConnections() ?? [],
    counters: () => counts,
  }
}
