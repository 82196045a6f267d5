// The simulator's Transport: connections that are made by three packets and end as TCP's do, requests that arrive in any order, gossip that
// goes from neighbour to neighbour and gets lost. Who is dialled when is decided by the production dialer; who is let in, by the admission that
// the node gives. Messages are copied, bounded and counted; nothing is ever delivered that a real network could not deliver.
import { fault, reasonOf } from '../../../agent/fault.ts'
import type { Admission, KnownMember, TransportTimes } from '../../../agent/transport/admission.ts'
import { type Dialer, dialer } from '../../../agent/transport/dialer.ts'
import { keepsWith, meshPeers } from '../../../agent/transport/mesh.ts'
import type { Cancel, Disconnect, Transport, TransportHandlers } from '../../../agent/world.ts'
import type { NodeId } from '../../../protocol/ids.ts'
import { limits } from '../../../protocol/limits.ts'
import type { Chance } from './chance.ts'
import { type Rumour, spread } from './gossip.ts'
import type { Machine } from './machine.ts'
import type { Net } from './net.ts'
import type { Process } from './process.ts'
import type { SimTime } from './time.ts'

export interface SimTransport extends Transport {
  readonly machine: Machine
  /** Membership changed, as for agent/transport. */
  refresh(): void
  /** Neighbours in gossip that subscribe to the topic. */
  neighbours(topic: string): readonly SimTransport[]
  subscribes(topic: string): boolean
  /** A gossip message reached this machine. */
  hear(rumour: Rumour): void
  /** A packet of the connection arrived; false when there is no such connection here (any more). */
  receive(connection: Connection, packet: Frame): boolean
  /** Whether it lets the node in; a sentence when not. */
  refuses(node: NodeId): string | undefined
  /** The other end finished its side of the hello. */
  opened(connection: Connection): void
  closed(connection: Connection, why: Disconnect): void
  members(): readonly KnownMember[]
  pendingRequests(): number
  process(): Process
}

/** One TCP connection; both ends hold the same object, and each knows for itself whether it is open. */
export interface Connection {
  readonly dialer: SimTransport
  readonly accepter: SimTransport
}

export type Frame =
  | { readonly is: 'request'; readonly number: number; readonly kind: string; readonly bytes: Uint8Array }
  | { readonly is: 'answer'; readonly number: number; readonly bytes: Uint8Array }
  | { readonly is: 'failure'; readonly number: number; readonly text: string }

export interface SimTransportOptions {
  readonly self: NodeId
  readonly time: SimTime
  readonly chance: Chance
  readonly net: Net
  readonly process: Process
  readonly admission: Admission
  /** Who listens on this address now. */
  readonly listenerAt: (
    address: string,
  ) => { readonly machine: Machine; readonly transport: SimTransport | undefined } | undefined
  /** Whether the node holds a certificate of this cluster, which anybody can check offline. */
  readonly isCertified: (node: NodeId) => boolean
  /** Addresses to dial until somebody is connected. */
  readonly bootstrap: readonly string[]
  readonly times: TransportTimes
}

interface Waiting {
  readonly node: NodeId
  readonly resolve: (bytes: Uint8Array) => void
  readonly reject: (error: unknown) => void
  readonly cancel: Cancel
}

/** 924 s: Linux gives a connection up after 15 retransmissions. */
const tcpGivesUpMs = 924_000
const handshakeBytes = 600

export function createSimTransport(options: SimTransportOptions): SimTransport {
  const { self, time, chance, net, process, admission, times } = options
  const { machine, clock } = process
  const links = new Map<NodeId, Connection>()
  const told = new Map<NodeId, KnownMember>()
  const topics = new Set<string>()
  const waiting = new Map<number, Waiting>()
  const serving = new Map<NodeId, number>()
  const dialling = new Map<string, Promise<DialResult>>()
  let handlers: TransportHandlers | undefined
  let keeper: Dialer | undefined
  let last = 0
  let over = false

  type DialResult = 'connected' | 'refused' | 'unreachable'

  // ---- connections ----

  function otherEnd(connection: Connection): SimTransport {
    return connection.dialer === transport ? connection.accepter : connection.dialer
  }

  function take(connection: Connection): void {
    const { self: node } = otherEnd(connection)
    const old = links.get(node)
    links.set(node, connection)
    for (const member of otherEnd(connection).members()) if (member.node !== self) told.set(member.node, member)
    if (old === undefined) process.enter(() => handlers?.onConnected(node))
    keeper?.refresh()
  }

  function drop(connection: Connection, why: Disconnect): void {
    const { self: node } = otherEnd(connection)
    if (links.get(node) !== connection) return
    links.delete(node)
    for (const [number, call] of waiting) if (call.node === node) settle(number)?.reject(gone(node))
    handlers?.onDisconnected(node, why)
    if (!over) keeper?.refresh()
  }

  /** Sends on an open connection. What finds no connection at the other end comes back as a reset, if there is a machine at all. */
  function transmit(connection: Connection, frame: Frame, bytes: number): void {
    const other = otherEnd(connection)
    if (net.isCut(machine, other.machine) || !other.machine.isOn()) giveUpLater(connection)
    net.send(machine, other.machine, {
      bytes,
      quiet: false,
      arrive() {
        if (!other.machine.isOn() || other.receive(connection, frame)) return
        net.send(other.machine, machine, {
          bytes: 0,
          quiet: false,
          arrive: () => process.enter(() => drop(connection, 'reset')),
        })
      },
    })
  }

  const giving = new Set<Connection>()
  function giveUpLater(connection: Connection): void {
    if (giving.has(connection)) return
    giving.add(connection)
    time.after(tcpGivesUpMs, () => {
      giving.delete(connection)
      const other = otherEnd(connection).machine
      if (net.isCut(machine, other) || !other.isOn()) process.enter(() => drop(connection, 'reset'))
    })
  }

  // ---- dialling ----

  function connect(address: string, node: NodeId | undefined): Promise<DialResult> {
    const running = dialling.get(address)
    if (running !== undefined) return running
    const made = new Promise<DialResult>((resolve) => {
      const found = options.listenerAt(address)
      let open = true
      const finish = (result: DialResult) => {
        if (!open) return
        open = false
        cancel()
        dialling.delete(address)
        resolve(result)
      }
      const cancel = clock.after(times.dialMs, () => finish('unreachable'))
      if (found === undefined) return
      const answer = (bytes: number, act: () => void) =>
        net.send(found.machine, machine, {
          bytes,
          quiet: false,
          arrive: () =>
            process.enter(() => {
              if (open) act()
            }),
        })
      net.send(machine, found.machine, {
        bytes: handshakeBytes,
        quiet: false,
        arrive() {
          const listener = options.listenerAt(address)
          if (listener === undefined || !listener.machine.isOn()) return
          const { transport: other } = listener
          if (other === undefined) return answer(0, () => finish('refused'))
          // A stopped process has its hello answered by nobody until it goes on.
          other.process().enter(() => {
            const refused = node !== undefined && other.self !== node ? 'an impostor' : other.refuses(self)
            if (refused !== undefined) return answer(handshakeBytes, () => finish('unreachable'))
            answer(handshakeBytes, () => {
              if (over || refuses(other.self) !== undefined) return finish('unreachable')
              const connection: Connection = { dialer: transport, accepter: other }
              take(connection)
              finish('connected')
              net.send(machine, other.machine, {
                bytes: handshakeBytes,
                quiet: false,
                arrive: () => other.opened(connection),
              })
            })
          })
        },
      })
    })
    dialling.set(address, made)
    return made
  }

  function refuses(node: NodeId): string | undefined {
    if (over || handlers === undefined) return 'not listening'
    if (admission.isRemoved(node)) return 'removed'
    return admission.isMember(node) || options.isCertified(node) ? undefined : 'unknown'
  }

  function known(node: NodeId): KnownMember | undefined {
    return admission.members().find((member) => member.node === node) ?? told.get(node)
  }

  async function dial(node: NodeId): Promise<DialResult> {
    if (links.has(node)) return 'connected'
    const address = known(node)?.listen[0]
    if (address === undefined) return 'unreachable'
    return connect(address, node)
  }

  function everyone(): readonly NodeId[] {
    const nodes = new Set(admission.members().map(({ node }) => node))
    for (const node of told.keys()) if (!admission.isRemoved(node)) nodes.add(node)
    nodes.delete(self)
    return [...nodes]
  }

  function missing(): readonly NodeId[] {
    return meshPeers(self, everyone()).filter((node) => !links.has(node))
  }

  /** A joiner knows addresses only. */
  function tryBootstrap(): void {
    if (over || links.size > 0) return
    for (const address of options.bootstrap) void connect(address, undefined)
    clock.after(times.dialMs, tryBootstrap)
  }

  // ---- requests ----

  function request(node: NodeId, kind: string, bytes: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    const connection = links.get(node)
    if (connection === undefined) return Promise.reject(fault('unavailable', `${node} is not connected`))
    if (bytes.length > limits.requestBytesMax) return Promise.reject(fault('invalid', 'a request that is too large'))
    const number = ++last
    return new Promise((resolve, reject) => {
      const cancel = clock.after(timeoutMs, () => {
        waiting.delete(number)
        reject(fault('timeout', `${node} did not answer within ${timeoutMs} ms`))
      })
      waiting.set(number, { node, resolve, reject, cancel })
      transmit(connection, { is: 'request', number, kind, bytes: Uint8Array.from(bytes) }, bytes.length + kind.length)
    })
  }

  function settle(number: number): Waiting | undefined {
    const call = waiting.get(number)
    waiting.delete(number)
    call?.cancel()
    return call
  }

  function receive(connection: Connection, frame: Frame): boolean {
    const node = otherEnd(connection).self
    if (over || process.state() === 'ended') return false
    // The last packet of the hello may be overtaken by a request.
    const current = links.get(node)
    if (current === undefined) opened(connection)
    process.enter(() => {
      if (frame.is === 'request') void serve(connection, node, frame)
      else if (frame.is === 'answer') settle(frame.number)?.resolve(frame.bytes)
      else settle(frame.number)?.reject(fault('unavailable', frame.text))
    })
    return links.has(node)
  }

  async function serve(connection: Connection, node: NodeId, frame: Frame & { is: 'request' }): Promise<void> {
    const { number } = frame
    const now = serving.get(node) ?? 0
    if (now >= limits.requestsPerPeerMax) {
      transmit(connection, { is: 'failure', number, text: 'too many requests at once' }, 40)
      return
    }
    serving.set(node, now + 1)
    try {
      const bytes = await handlers?.onRequest(node, frame.kind, frame.bytes)
      if (over || process.state() === 'ended' || bytes === undefined) return
      if (bytes.length > limits.requestBytesMax) throw fault('too-large', `an answer of ${bytes.length} bytes`)
      transmit(connection, { is: 'answer', number, bytes: Uint8Array.from(bytes) }, bytes.length)
    } catch (error) {
      if (!over && process.state() !== 'ended')
        transmit(connection, { is: 'failure', number, text: reasonOf(error) }, 100)
    } finally {
      serving.set(node, (serving.get(node) ?? 1) - 1)
    }
  }

  function opened(connection: Connection): void {
    if (process.state() === 'ended' || over) return
    if (refuses(otherEnd(connection).self) === undefined && links.get(otherEnd(connection).self) !== connection)
      take(connection)
  }

  // ---- the end ----

  /** The kernel closes what the process had open, unless the machine is gone with it. */
  function hangUp(): void {
    if (over) return
    over = true
    keeper?.stop()
    if (!machine.isOn()) return
    for (const connection of links.values()) {
      const other = otherEnd(connection)
      net.send(machine, other.machine, { bytes: 0, quiet: false, arrive: () => other.closed(connection, 'closed') })
    }
  }

  process.onEnd(hangUp)

  const transport: SimTransport = {
    self,
    machine,
    async start(given) {
      handlers = given
      keeper = dialer({
        self,
        clock,
        random: chance,
        times,
        missing,
        connect: async (node) => void (await dial(node)),
      })
      keeper.refresh()
      tryBootstrap()
    },
    async stop() {
      for (const connection of [...links.values()]) drop(connection, 'local')
      hangUp()
    },
    publish(topic, bytes) {
      if (over || process.state() === 'ended') return
      if (bytes.length > limits.recordBytesMax) throw new Error('a gossip message is larger than a record may be')
      spread({ topic, from: self, bytes: Uint8Array.from(bytes), heard: new Set([transport]) }, transport, {
        time,
        net,
        chance,
      })
    },
    subscribe: (topic) => void topics.add(topic),
    unsubscribe: (topic) => void topics.delete(topic),
    request,
    connected: () => [...links.keys()].sort(),
    keeps: (node) => keepsWith(self, everyone(), node),
    dial,
    refresh() {
      for (const [node, connection] of [...links]) if (admission.isRemoved(node)) void closeRemoved(connection)
      keeper?.refresh()
    },
    neighbours: (topic) => [...links.values()].map(otherEnd).filter((other) => other.subscribes(topic)),
    subscribes: (topic) => topics.has(topic) && !over,
    hear(rumour) {
      process.enter(() => {
        if (over || !topics.has(rumour.topic) || admission.isRemoved(rumour.from)) return
        if (!admission.isMember(rumour.from) && !options.isCertified(rumour.from)) return
        handlers?.onMessage(rumour.topic, rumour.from, Uint8Array.from(rumour.bytes))
      })
    },
    receive,
    refuses,
    opened,
    closed: (connection, why) => process.enter(() => drop(connection, why)),
    members: () => [...admission.members(), ...(admission.members().length === 0 ? told.values() : [])],
    pendingRequests: () => waiting.size,
    process: () => process,
  }

  function closeRemoved(connection: Connection): void {
    const other = otherEnd(connection)
    drop(connection, 'local')
    net.send(machine, other.machine, { bytes: 0, quiet: false, arrive: () => other.closed(connection, 'closed') })
  }

  return transport
}

function gone(node: NodeId): Error {
  return fault('unavailable', `The connection to ${node} is closed`)
}
