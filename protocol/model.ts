/**
 * The replicated state: what a record is, and the value of each kind (design.md 3).
 *
 * Read this first: everything that nodes agree on is one of these values. A record is replaced whole, the newer version wins, and a
 * value from an unknown future keeps its unknown fields. Ownership: `member`, `task`, `endpoint`, `guest` have one writer, the node they
 * speak of; `node`, `network`, `service`, `token`, `settings` may be written by any node; `removal` is written once and kept for ever.
 */
import { z } from 'zod'
import type { Version } from './hlc.ts'
import type { NetworkId, NodeId } from './ids.ts'
import { limits } from './limits.ts'
import { networkSpecSchema, nodeSpecSchema, serviceSpecSchema } from './spec.ts'

const id = z.string().min(1).max(128)
const text = z.string().max(limits.textBytesMax)
const shortText = z.string().max(1024)
const wallMs = z.number().nonnegative()
const portNumber = z.number().int().min(0).max(65535)
const few = limits.listItemsMax
/** RFC 7748. */
const wireguardKeyBytes = 32

export const versionSchema = z.object({
  ms: z.number().int().nonnegative(),
  counter: z.number().int().min(0).max(1023),
  node: z.string().max(64),
})

/** Cluster-wide settings, written when the cluster is founded. */
export const settingsSchema = z.looseObject({
  name: shortText,
  created: versionSchema,
  /** Pool that networks without `--subnet` take /24 blocks from, Docker's 10.0.0.0/8. */
  addressPool: z.string().max(64),
})

/** What a node says of itself. One writer: the node. */
export const memberSchema = z.looseObject({
  name: shortText,
  peerId: shortText,
  /** Drawn by the kernel at each boot of the machine: tasks of another boot id are void. */
  boot: z.string().max(64),
  /** Drawn at each start of the agent; two live runs of one node id are a copied data directory. */
  run: z.string().max(64),
  /** Wall ms at which this run of the agent began; of two runs the later gives way. */
  startedMs: wallMs,
  /** 'up', 'back-soon' (an announced restart: slots are held 30 s), 'left' (drained and gone). */
  presence: z.enum(['up', 'back-soon', 'left']),
  /** Multiaddrs of the control plane, best first. */
  listen: z.array(shortText).max(32),
  /** host:port of the mesh's TLS listener, best first. */
  mesh: z.array(z.object({ host: z.string().max(255), port: portNumber })).max(32),
  /** Published ports listen here and tasks are reached here; the first is the one told to tasks. */
  addresses: z.array(z.string().max(64)).max(32),
  /** Networks whose scope this node holds. */
  networks: z.array(id).max(few),
  engineLabels: z.record(shortText, shortText),
  platform: z.object({ os: z.string().max(64), arch: z.string().max(64) }),
  resources: z.object({ nanoCpus: z.number(), memoryBytes: z.number() }),
  version: z.string().max(64),
  runtimes: z.array(z.string().max(64)).max(8),
  /** Version of Docker, where tasks are containers. */
  docker: z.string().max(64).optional(),
  /** Why they are not, though its socket is there. */
  runtimeReason: shortText.optional(),
  dataplane: z.string().max(64),
  /** Why it is not the linux data plane, though that was asked for where it can be had. */
  dataplaneReason: shortText.optional(),
  /** UDP port of its tunnels, on the linux data plane; absent: VXLAN's own. */
  dataPathPort: portNumber.optional(),
  /** How other linux nodes encrypt to it (WireGuard): its X25519 key, its UDP port, and why it cannot, as found when its agent started. */
  wireguard: z
    .looseObject({
      key: z.instanceof(Uint8Array).refine((key) => key.length === wireguardKeyBytes),
      port: portNumber.min(1),
      lack: shortText.optional(),
    })
    .optional(),
  /** Why its linux data plane carries no IPv6. */
  noIpv6: shortText.optional(),
  /** Published ports that it cannot listen on, for `service ps` on every node. */
  problems: z
    .array(z.looseObject({ service: id, sentence: shortText }))
    .max(64)
    .optional(),
  /** The certificate that admitted it (transport/trust), checked by anyone offline. */
  certificate: z.instanceof(Uint8Array).optional(),
})

/** What operators say of a node: availability and labels. Any node may write it. */
export const nodeSchema = z.looseObject({ spec: nodeSpecSchema, created: versionSchema })

/** A node that may never come back with this identity. Signed, kept for ever. */
export const removalSchema = z.looseObject({ by: id, atMs: wallMs, signature: z.instanceof(Uint8Array) })

/** A join token: members hold its hash only. */
export const tokenSchema = z.looseObject({
  hash: z.instanceof(Uint8Array),
  created: versionSchema,
  expiresMs: wallMs.nullable(),
})

export const networkSchema = z.looseObject({
  spec: networkSpecSchema,
  created: versionSchema,
  /** IPv4 subnet in CIDR form, chosen at creation. */
  subnet: z.string().max(64),
  gateway: z.string().max(64),
  /** With `--ipv6`: the same of IPv6. Addresses follow the IPv4 ones (core/addresses/dual.ts). */
  subnet6: z.string().max(64).optional(),
  gateway6: z.string().max(64).optional(),
})

export const serviceSchema = z.looseObject({
  spec: serviceSpecSchema,
  created: versionSchema,
  /** The spec this one replaced, for inspect and rollback. */
  previous: serviceSpecSchema.optional(),
  /** Version of the spec that this one was made from: a spec names its predecessor. */
  parent: versionSchema.optional(),
  /** Dot of the write that made it; from the first change on, whose own dot says nothing of it. Tells who ever heard of it (reseed.ts). */
  createdDot: z.object({ node: id, log: z.string().min(1).max(64), seq: z.number().int().min(1) }).optional(),
  /** Versions of the ancestors, newest first, at most 16: tells an ancestor from a spec lost in a merge. */
  ancestors: z.array(versionSchema).max(16),
  /** Grows by one with each update of the task template; newer tasks have higher generations. */
  generation: z.number().int().nonnegative(),
  /** Service VIP on each of its networks, for its life. */
  vips: z.array(z.object({ network: id, address: z.string().max(64) })).max(few),
  /** Published ports after choice of dynamic ones: the ports of spec.EndpointSpec with numbers. */
  ports: z
    .array(
      z.object({
        protocol: z.enum(['tcp', 'udp', 'sctp']),
        target: portNumber,
        published: portNumber,
        mode: z.enum(['ingress', 'host']),
      }),
    )
    .max(few),
  updatedMs: wallMs,
  /** Specs that a merge dropped though they were no ancestors of the winner: who, when, which fields. */
  superseded: z
    .array(z.looseObject({ version: versionSchema, fields: z.array(shortText).max(64) }))
    .max(8)
    .optional(),
})

/** Swarm's task states in their order; a task only moves forward (swarm-reference.md 1.4). */
export const taskStates = [
  'new',
  'pending',
  'assigned',
  'accepted',
  'preparing',
  'ready',
  'starting',
  'running',
  'complete',
  'shutdown',
  'failed',
  'rejected',
  'remove',
  'orphaned',
] as const
export type TaskState = (typeof taskStates)[number]

/** One run in a slot on one node. One writer: that node. A rejection is a task record in state `rejected`. */
export const taskSchema = z.looseObject({
  service: id,
  slot: z.string().max(64),
  node: id,
  boot: z.string().max(64),
  created: versionSchema,
  /** Generation of the service whose template it runs. */
  generation: z.number().int().nonnegative(),
  /** Hash of that template: tells whether a task is outdated (core/wanted.ts). */
  template: z.string().max(64),
  image: text,
  state: z.enum(taskStates),
  stateMs: wallMs,
  /** A sentence for people: why it is in this state. */
  message: text,
  error: text.optional(),
  exitCode: z.number().int().optional(),
  pid: z.number().int().optional(),
  /** The task that this one was started to take over from. */
  replaces: id.optional(),
  /** Address claims, settled with the slot claim. */
  addresses: z.array(z.object({ network: id, address: z.string().max(64) })).max(few),
  /** Where its target ports really answer on `member.addresses[0]` (user space) or on its address (linux). */
  ports: z
    .array(z.object({ protocol: z.enum(['tcp', 'udp', 'sctp']), target: portNumber, actual: portNumber }))
    .max(few),
  /** Rejected: not to be tried on this node before this wall ms (doubling). */
  retryAtMs: wallMs.optional(),
  /** Consecutive failures in this slot on this node that led here; drives the doubling. */
  attempt: z.number().int().nonnegative().optional(),
  /** Started while scopes were not caught up (design.md 3). */
  degraded: z.boolean().optional(),
  /** Nodes that did not confirm the drain before the stop signal was sent. */
  drainMissing: z.array(id).max(few).optional(),
  /** Its node drains and stops it: it holds its slot no more, and is desired to be shut down. */
  stopping: z.boolean().optional(),
  /** Claimed in a slot that an update had emptied: while it does not come up, no further slot is emptied (core/update/lost.ts). */
  updates: z.boolean().optional(),
  /** Its node offers it to this node, which may start a task that `replaces` it (rebalance). */
  moveTo: id.optional(),
})

/** Where one task serves, and under which names, on one network. One writer: the task's node. */
export const endpointSchema = z.looseObject({
  service: id,
  slot: z.string().max(64),
  node: id,
  boot: z.string().max(64),
  /** Network-wide address. */
  address: z.string().max(64),
  /** User space: where to dial it on its node; target ports that are declared, and their real numbers. */
  host: z.string().max(64),
  ports: z
    .array(z.object({ protocol: z.enum(['tcp', 'udp', 'sctp']), target: portNumber, actual: portNumber }))
    .max(few),
  /** Names beyond the service's: aliases, hostname (design.md 7). */
  aliases: z.array(shortText).max(few),
  hostname: shortText,
  ready: z.boolean(),
  draining: z.boolean(),
  /** It serves at its IPv6 address too: on a node that carries IPv6, by a program that listens there. */
  ipv6: z.boolean().optional(),
})

/**
 * A container of one node that is no task, connected to one network by hand. One writer: that node. It stays while the container does, running or not,
 * and counts while it has an address.
 */
export const guestSchema = z.looseObject({
  network: id,
  node: id,
  boot: z.string().max(64),
  /** Of the claim of its address. */
  created: versionSchema,
  /** The container's id and name in the node's engine. */
  container: id,
  name: shortText,
  aliases: z.array(shortText).max(few),
  /** Network-wide, as long as it runs. */
  address: z.string().max(64).optional(),
  /** It has no other network than ours: what an internal one denies is denied to it. */
  alone: z.boolean(),
})

export const schemas = {
  settings: settingsSchema,
  member: memberSchema,
  node: nodeSchema,
  removal: removalSchema,
  token: tokenSchema,
  network: networkSchema,
  service: serviceSchema,
  task: taskSchema,
  endpoint: endpointSchema,
  guest: guestSchema,
} as const

export type Kind = keyof typeof schemas
export type Values = { readonly [K in Kind]: z.infer<(typeof schemas)[K]> }
export type SettingsValue = Values['settings']
export type MemberValue = Values['member']
export type NodeValue = Values['node']
export type RemovalValue = Values['removal']
export type TokenValue = Values['token']
export type NetworkValue = Values['network']
export type ServiceValue = Values['service']
export type TaskValue = Values['task']
export type EndpointValue = Values['endpoint']
export type GuestValue = Values['guest']
export type Protocol = 'tcp' | 'udp' | 'sctp'

/** Which nodes hold a record: all (`cluster`), or those that run a task or have a guest on the network. */
export type Scope = 'cluster' | `network/${NetworkId}`

/** The well-known network of published ports, held by all nodes. */
export const ingressNetwork: NetworkId = 'ingress'

export function networkScope(network: NetworkId): Scope {
  return `network/${network}`
}

/** What every node holds. */
export const scopesEverywhere: readonly Scope[] = ['cluster', networkScope(ingressNetwork)]

/** The network of a scope; undefined for that of the cluster. */
export function networkOf(scope: Scope): NetworkId | undefined {
  return scope === 'cluster' ? undefined : scope.slice('network/'.length)
}

/** A writer with its log: sequence numbers are counted for each (scope, author). */
export interface Author {
  readonly node: NodeId
  /** Drawn anew whenever the journal is created, cut in recovery, or a peer shows more of our log than we have. */
  readonly log: string
}

/** One replicated record. `value` is null exactly when it is a tombstone. */
export interface StateRecord<K extends Kind = Kind> {
  readonly scope: Scope
  readonly kind: K
  readonly id: string
  readonly value: Values[K] | null
  readonly version: Version
  readonly author: Author
  /** Place in the author's log of this scope, from 1, without gaps at the author. */
  readonly seq: number
}
