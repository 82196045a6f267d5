// Real libp2p transports on loopback, members of one cluster that was founded and joined without tokens: certificates are made here.
import { createConnection } from 'node:net'
import { createClock, createRandom } from '../../../agent/real.ts'
import {
  type Admission,
  type KnownMember,
  type TransportTimes,
  transportTimes,
} from '../../../agent/transport/admission.ts'
import { createTransport, type Libp2pTransport } from '../../../agent/transport/transport.ts'
import { admit, clusterTag, foundCluster } from '../../../agent/trust/certificate.ts'
import { createIdentity, type Identity } from '../../../agent/trust/identity.ts'
import type { Log } from '../../../agent/world.ts'
import type { NodeId } from '../../../protocol/ids.ts'
import { until } from '../../until.ts'
import type { Cluster, Station } from './contract.ts'

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} }

/** A replicated state reduced to what admission asks; shared by all nodes of a test, or one each. */
export interface Registry {
  readonly members: Map<NodeId, KnownMember>
  readonly removed: Set<NodeId>
  readonly tokens: Map<string, { readonly expiresMs: number | null }>
}

export function registry(): Registry {
  return { members: new Map(), removed: new Set(), tokens: new Map() }
}

export function admissionOf(state: Registry, self: NodeId): Admission {
  return {
    isMember: (node) => state.members.has(node) && !state.removed.has(node),
    isRemoved: (node) => state.removed.has(node),
    token: (id) => state.tokens.get(id),
    members: () => [...state.members.values()].filter(({ node }) => node !== self && !state.removed.has(node)),
    nameOf: (node) => `n${node.slice(0, 4)}`,
    seed: () => Buffer.from('seed'),
  }
}

export interface LibStation extends Station {
  readonly transport: Libp2pTransport
  readonly identity: Identity
  readonly cluster: string
}

export interface StationOptions {
  readonly identity: Identity
  readonly cluster: string
  readonly certificate: Uint8Array | undefined
  readonly state: Registry
  readonly listen?: string
  readonly advertise?: readonly string[]
  readonly wallOffsetMs?: number
  readonly times?: TransportTimes
}

export async function station(options: StationOptions): Promise<LibStation> {
  const { identity, cluster, state } = options
  const clock = createClock()
  const transport = createTransport({
    identity,
    cluster,
    clusterTag: clusterTag(cluster),
    certificate: options.certificate,
    listen: [options.listen ?? '/ip4/127.0.0.1/tcp/0'],
    advertise: options.advertise ?? [],
    addresses: [],
    admission: admissionOf(state, identity.nodeId),
    clock: { ...clock, wall: () => clock.wall() + (options.wallOffsetMs ?? 0) },
    random: createRandom(),
    log: silentLog,
    times: options.times ?? transportTimes.local,
    build: 'test',
  })
  const made: LibStation = {
    transport,
    identity,
    cluster,
    messages: [],
    arrived: [],
    lost: [],
    crash: () => transport.stop(),
  }
  await transport.start({
    onMessage: (topic, from, bytes) => made.messages.push({ topic, from, text: Buffer.from(bytes).toString() }),
    onRequest: (_from, kind, bytes) => serve(identity.nodeId, kind, bytes),
    onConnected: (node) => made.arrived.push(node),
    onDisconnected: (node, why) => made.lost.push({ node, why }),
  })
  return made
}

export function memberOf({ identity, transport }: LibStation): KnownMember {
  return { node: identity.nodeId, peerId: identity.peerId, listen: transport.listening() }
}

/** `size` members that know of each other. */
export async function libp2pCluster(size: number): Promise<Cluster & { readonly stations: readonly LibStation[] }> {
  const founder = createIdentity()
  const { cluster, certificate } = foundCluster(founder)
  const state = registry()
  const stations: LibStation[] = []
  for (let number = 0; number < size; number++) {
    const identity = number === 0 ? founder : createIdentity()
    const own = number === 0 ? certificate : admitted(founder, certificate, identity)
    const made = await station({ identity, cluster, certificate: own, state })
    state.members.set(identity.nodeId, memberOf(made))
    stations.push(made)
  }
  for (const { transport } of stations) transport.refresh()
  return {
    stations,
    until: (what, condition) => until(condition, { deadlineMs: 10_000, everyMs: 5, what }).then(() => undefined),
    close: () => Promise.all(stations.map(({ transport }) => transport.stop())).then(() => undefined),
  }
}

export function admitted(issuer: Identity, certificate: Uint8Array, subject: Identity): Uint8Array {
  const made = admit({ issuer, certificate, subject: subject.publicKey })
  if (!made.ok) throw new Error(made.refusal)
  return made.value
}

/** Resolves when nothing listens on the port any more. */
export function refuses(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1')
    socket.on('connect', () => {
      socket.destroy()
      resolve(false)
    })
    socket.on('error', () => resolve(true))
  })
}

async function serve(self: NodeId, kind: string, bytes: Uint8Array): Promise<Uint8Array> {
  if (kind === 'echo') return bytes
  if (kind === 'who') return Buffer.from(self)
  if (kind === 'never') return new Promise(() => {})
  throw new Error(`no answer to ${kind}`)
}
