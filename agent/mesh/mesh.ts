/**
 * Connections between this agent and the others, and the flows on them (design.md 2, 11).
 *
 * Owns the TLS listeners, 1 to 4 connections to each node that flows go to or come from, and the check of membership at each new flow.
 * A node that is lost or removed has all its flows ended at once. What flows carry is decided by who opens and who takes them.
 */

import { constants } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { createSecureContext, type TLSSocket, type TlsOptions } from 'node:tls'
import type { Flow, FlowHandler, ResetReason } from '../../protocol/flow.ts'
import { decodeTarget, encodeTarget, type FlowTarget } from '../../protocol/flow-open.ts'
import type { NodeId } from '../../protocol/ids.ts'
import type { Identity } from '../trust/identity.ts'
import type { Cancel, Clock, Log, Mesh, MeshCounters, MeshOpening } from '../world.ts'
import { selfSigned } from './certificate.ts'
import { alpn, peerOf } from './dial.ts'
import { Dials } from './dials.ts'
import { Link } from './link.ts'
import { type Listener, listenAt } from './listen.ts'
import { FlowStream } from './stream.ts'

/** design.md 2: up to 4 connections to a node; a further one is opened when all are full. */
const linksMax = 4

/** Both ends may dial at once, each its share. */
const linksAcceptedMax = 2 * linksMax

/** A link that is silent for 2 s while flows wait for it is asked whether it lives… */
const silenceMs = 2_000
/** …and given up 5 s later: longer than a stalled machine takes to come back (the figure is 1 s). */
const pongMs = 5_000
const watchMs = 1_000
/** 3 s without an answer to a ping: somebody who asks whether a node is reached is told no. Longer than a stalled machine takes, too. */
const deafMs = 3_000

export interface MeshOptions {
  readonly identity: Identity
  /** Addresses to listen on; port 0 takes a free one. */
  readonly listen: readonly { readonly host: string; readonly port: number }[]
  readonly members: MeshMembers
  readonly clock: Clock
  readonly log: Log
}

export interface MeshMembers {
  isMember(node: NodeId): boolean
  /** Where its mesh listens, best first; empty when unknown. */
  meshAddresses(node: NodeId): readonly { readonly host: string; readonly port: number }[]
}

/** Listens and returns the mesh. Rejects with `port-taken` when a port is not free. */
export async function createMesh(options: MeshOptions): Promise<Mesh> {
  const mesh = new TlsMesh(options)
  try {
    await mesh.listen()
  } catch (error) {
    await mesh.close()
    throw error
  }
  return mesh
}

interface Waiting {
  readonly header: Uint8Array
  readonly handler: FlowHandler
  flow: Flow | undefined
  cancelled: boolean
}

class TlsMesh implements Mesh {
  readonly listening: { host: string; port: number }[] = []
  private readonly options: MeshOptions
  private readonly secure: TlsOptions
  private readonly dials: Dials
  private readonly listeners: Listener[] = []
  private readonly links = new Map<NodeId, Link[]>()
  private takeFlow: Parameters<Mesh['onFlow']>[0] = () => 'unknown-target'
  private takeStream: Parameters<Mesh['onStream']>[0] | undefined
  private readonly count = { flowsOpened: 0, flowsTaken: 0, strangers: 0, violations: 0, linksLost: 0 }
  private watchedMs: number
  private cancelWatch: Cancel
  private closed = false

  constructor(options: MeshOptions) {
    this.options = options
    this.secure = {
      key: options.identity.privateKey.export({ type: 'pkcs8', format: 'pem' }),
      cert: selfSigned(options.identity.privateKey),
      minVersion: 'TLSv1.3',
      maxVersion: 'TLSv1.3',
      // AES-128-GCM: the fastest where the CPU has AES, and every CPU of a server does.
      ciphers: 'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256',
      secureOptions: constants.SSL_OP_NO_TICKET,
    }
    const { clock, log, members } = options
    this.dials = new Dials({
      context: createSecureContext(this.secure),
      clock,
      log,
      addressesOf: (node) => members.meshAddresses(node),
      connected: (socket, node) => this.adopt(socket, node, 'dialer'),
    })
    this.watchedMs = clock.now()
    this.cancelWatch = clock.after(watchMs, () => this.watch())
  }

  async listen(): Promise<void> {
    const { listen, clock, log } = this.options
    for (const place of listen) {
      const taken = (socket: TLSSocket) => this.take(socket)
      const refused = () => void this.count.strangers++
      const listener = await listenAt(place, { secure: this.secure, clock, log, taken, refused })
      this.listeners.push(listener)
      this.listening.push({ host: place.host, port: listener.port })
    }
  }

  open(node: NodeId, target: FlowTarget, handler: FlowHandler): MeshOpening {
    const waiting: Waiting = { header: encodeTarget(target), handler, flow: undefined, cancelled: false }
    const link = this.pick(node)
    if (link !== undefined) this.openOn(link, waiting)
    else this.waitForDial(node, waiting)
    return {
      cancel: () => {
        waiting.cancelled = true
        waiting.flow?.reset('cancelled')
      },
    }
  }

  onFlow(listener: Parameters<Mesh['onFlow']>[0]): void {
    this.takeFlow = listener
  }

  openStream(node: NodeId): Promise<Duplex> {
    return new Promise((resolve, reject) => {
      const stream: FlowStream = new FlowStream({
        accepted: () => {
          stream.removeListener('error', reject)
          resolve(stream)
        },
      })
      stream.once('error', reject)
      this.open(node, { kind: 'api' }, stream)
    })
  }

  onStream(listener: Parameters<Mesh['onStream']>[0]): void {
    this.takeStream = listener
  }

  nodeLost(node: NodeId): void {
    this.drop(node, 'node-lost')
  }

  closeNode(node: NodeId): void {
    this.drop(node, 'not-member')
  }

  async unreached(nodes: readonly NodeId[], withinMs: number): Promise<readonly NodeId[]> {
    let cancel: Cancel = () => {}
    const late = new Promise<void>((resolve) => {
      cancel = this.options.clock.after(withinMs, resolve)
    })
    await Promise.race([Promise.all(nodes.map((node) => this.ask(node))), late])
    cancel()
    return nodes.filter((node) => this.isOutOfReach(node))
  }

  counters(): MeshCounters {
    let links = 0
    for (const list of this.links.values()) links += list.length
    return { ...this.count, links }
  }

  async close(): Promise<void> {
    this.closed = true
    this.cancelWatch()
    this.dials.dropAll('link-lost')
    for (const node of [...this.links.keys()]) this.drop(node, 'link-lost')
    await Promise.all(this.listeners.map((listener) => listener.close()))
  }

  /** Resolves when one of its connections has answered, or none is there and a dial has ended. */
  private async ask(node: NodeId): Promise<void> {
    const links = this.links.get(node) ?? []
    if (links.length > 0) await Promise.race(links.map((link) => link.ask()))
    if (this.links.has(node) || this.closed) return
    await new Promise((resolve) => this.dials.dial(node, resolve))
  }

  private isOutOfReach(node: NodeId): boolean {
    const links = this.links.get(node)
    if (links === undefined) return this.dials.isFailing(node)
    return links.every(({ pingedMs }) => pingedMs !== undefined && this.options.clock.now() - pingedMs >= deafMs)
  }

  /** The least loaded connection to a node; asks for another when all are full. */
  private pick(node: NodeId): Link | undefined {
    const links = this.links.get(node)
    if (links === undefined || links.length === 0) return undefined
    let best = links[0]!
    for (const link of links) {
      if (best.congested !== link.congested ? best.congested : link.mux.flows.size < best.mux.flows.size) best = link
    }
    if (best.congested && links.length < linksMax && !this.closed) this.dials.dial(node)
    return best
  }

  private openOn(link: Link, waiting: Waiting): void {
    if (waiting.cancelled) return
    waiting.flow = this.options.members.isMember(link.node) ? link.mux.open(waiting.header, waiting.handler) : undefined
    if (waiting.flow === undefined) setImmediate(() => fail(waiting, 'busy'))
    else this.count.flowsOpened++
  }

  private waitForDial(node: NodeId, waiting: Waiting): void {
    if (this.closed || !this.options.members.isMember(node)) {
      setImmediate(() => fail(waiting, 'not-member'))
      return
    }
    this.dials.dial(node, (result) => {
      if (typeof result === 'string') fail(waiting, result)
      else this.openOn(result, waiting)
    })
  }

  private take(socket: TLSSocket): void {
    const node = peerOf(socket)
    const admitted = node !== undefined && socket.alpnProtocol === alpn && this.options.members.isMember(node)
    if (!admitted || this.closed || (this.links.get(node)?.length ?? 0) >= linksAcceptedMax) {
      this.count.strangers++
      socket.on('error', () => {})
      socket.destroy()
      return
    }
    this.adopt(socket, node, 'acceptor')
  }

  private adopt(socket: TLSSocket, node: NodeId, role: 'dialer' | 'acceptor'): Link {
    const link = new Link({
      socket,
      node,
      role,
      now: () => this.options.clock.now(),
      onOpen: (flow, header, on) => this.opened(flow, header, on),
      onLost: (lost, violation) => this.lost(lost, violation),
    })
    const links = this.links.get(node)
    if (links === undefined) this.links.set(node, [link])
    else links.push(link)
    return link
  }

  private opened(flow: Flow, header: Uint8Array, link: Link): FlowHandler | ResetReason {
    if (!this.options.members.isMember(link.node)) return 'not-member'
    const target = decodeTarget(header)
    if (target === undefined) return 'unknown-target'
    this.count.flowsTaken++
    if (target.kind !== 'api') return this.takeFlow(flow, target, link.node)
    if (this.takeStream === undefined) return 'unknown-target'
    const stream = new FlowStream({ flow })
    flow.accept()
    this.takeStream(stream, link.node)
    return stream
  }

  private lost(link: Link, violation: string | undefined): void {
    this.count.linksLost++
    if (violation !== undefined) {
      this.count.violations++
      this.options.log.warn('A mesh connection was closed: the other end broke the protocol', {
        node: link.node,
        violation,
      })
    }
    const left = (this.links.get(link.node) ?? []).filter((other) => other !== link)
    if (left.length === 0) this.links.delete(link.node)
    else this.links.set(link.node, left)
  }

  private drop(node: NodeId, reason: ResetReason): void {
    this.dials.drop(node, reason)
    for (const link of [...(this.links.get(node) ?? [])]) link.close(undefined, reason)
  }

  /** Links on which flows wait in vain are asked, then given up. Idle links cost nothing. */
  private watch(): void {
    const now = this.options.clock.now()
    // When this process itself stood still, what the others said meanwhile is yet to be read.
    const stalled = now - this.watchedMs > 2 * watchMs
    this.watchedMs = now
    if (!stalled) for (const link of [...this.links.values()].flat()) this.look(link, now)
    this.cancelWatch = this.options.clock.after(watchMs, () => this.watch())
  }

  private look(link: Link, now: number): void {
    if (link.pingedMs !== undefined && link.heardMs >= link.pingedMs) link.pingedMs = undefined
    if (link.pingedMs === undefined) {
      if (now - link.heardMs <= silenceMs || !hasWaiting(link)) return
      link.ping()
    } else if (now - link.pingedMs > pongMs) {
      this.options.log.warn('A mesh connection went silent and was given up', { node: link.node })
      link.close(undefined)
    }
  }
}

function hasWaiting(link: Link): boolean {
  for (const flow of link.mux.flows.values()) if (flow.waits) return true
  return false
}

function fail(waiting: Waiting, reason: ResetReason): void {
  if (waiting.cancelled) return
  waiting.cancelled = true
  waiting.handler.onReset(reason)
}
