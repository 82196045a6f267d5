/**
 * Interfaces of the outside. Everything a node needs that is not a decision comes through one of these, so that `createNode(world, config)`
 * runs the same in production and, on virtual time, in the simulator. Types only.
 */
import type { Duplex } from 'node:stream'
import type { Flow, FlowHandler, ResetReason } from '../protocol/flow.ts'
import type { FlowTarget, TaskTarget } from '../protocol/flow-open.ts'
import type { Version } from '../protocol/hlc.ts'
import type { GuestId, NetworkId, NodeId, ServiceId, Slot, TaskId } from '../protocol/ids.ts'
import type { Kind, Protocol, Scope, Values } from '../protocol/model.ts'
import type { HealthConfig } from '../protocol/spec.ts'
import type { ContainerOptions } from './core/container.ts'
import type { Container } from './core/guests.ts'
import type { Routes } from './core/routes/types.ts'
import type { Health, StopHow } from './core/wanted.ts'

export type Cancel = () => void

export interface Clock {
  /** Monotonic ms; for waits and ages. */
  now(): number
  /** Wall ms since 1970; for versions and what people read. */
  wall(): number
  /** Runs `task` once after `ms`. */
  after(ms: number, task: () => void): Cancel
  /** How late timers fire here now, ms: event-loop lag (local health, Lifeguard). */
  lagMs(): number
}

export interface Random {
  /** In [0, 1). */
  next(): number
  bytes(length: number): Uint8Array
}

/** Fields are for machines; the message alone must be a sentence. Secrets never go in. */
export interface Log {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void
  info(message: string, fields?: Readonly<Record<string, unknown>>): void
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void
  error(message: string, fields?: Readonly<Record<string, unknown>>): void
}

/** Small files of the node's data directory. Every promise resolves only when the bytes are on the disk (fsync). */
export interface Disk {
  read(name: string): Promise<Uint8Array | undefined>
  /** Replaces the file whole: write beside it, fsync, rename. */
  write(name: string, bytes: Uint8Array): Promise<void>
  append(name: string, bytes: Uint8Array): Promise<void>
  /** Sets a broken file aside under a name that is kept. */
  setAside(name: string): Promise<string>
  remove(name: string): Promise<void>
}

/** Why a connection ended, as far as the transport can tell. */
export type Disconnect = 'closed' | 'refused' | 'reset' | 'local'

/**
 * The control plane between agents: topics, requests, who is connected. libp2p is one implementation (agent/transport), the simulator
 * another; one contract suite holds both (test/contract/transport). Delivery of `publish` is best effort, without order. The transport
 * admits members only: what comes from a node has been proven to come from it.
 */
export interface Transport {
  readonly self: NodeId
  start(handlers: TransportHandlers): Promise<void>
  stop(): Promise<void>
  publish(topic: string, bytes: Uint8Array): void
  subscribe(topic: string): void
  unsubscribe(topic: string): void
  /** Rejects with a Fault: 'timeout', or 'unavailable' when not connected or refused. At most limits.requestBytesMax each way. */
  request(node: NodeId, kind: string, bytes: Uint8Array, timeoutMs: number): Promise<Uint8Array>
  /** The replicated set of members changed: connects with new ones, ends connections with removed ones. Cheap. */
  refresh(): void
  /** Nodes with an open, admitted connection, sorted. */
  connected(): readonly NodeId[]
  /** Whether this node always keeps a connection with that one (transport/mesh.ts); false: where there is one, something was asked once. */
  keeps(node: NodeId): boolean
  /**
   * Tries to connect now. 'refused' means that the machine answered that nothing listens: the agent is gone. Never throws. The transport
   * keeps redialling known members by itself (the lower id dials; back-off without end); this is for the detector, which is in a hurry.
   */
  dial(node: NodeId): Promise<'connected' | 'refused' | 'unreachable'>
}

export interface TransportHandlers {
  onMessage(topic: string, from: NodeId, bytes: Uint8Array): void
  /** The answer; a rejection is told to the caller as 'unavailable' with its message. */
  onRequest(from: NodeId, kind: string, bytes: Uint8Array): Promise<Uint8Array>
  onConnected(node: NodeId): void
  onDisconnected(node: NodeId, why: Disconnect): void
}

/** A change to write: value null deletes. */
export interface Write<K extends Kind = Kind> {
  readonly scope: Scope
  readonly kind: K
  readonly id: string
  readonly value: Values[K] | null
  /** Refuse with 'stale' unless this is the version held here. */
  readonly expect?: Version
}

/** What loops and the API do to the replicated state. */
export interface Writer {
  /** Applies here at once and publishes; durable soon (own journal, then gossip). For what one node says of itself. */
  put<K extends Kind>(write: Write<K>): Version
  /**
   * Applies, publishes, and resolves when it is fsynced here and on one more live member, at most 1 s later: `held` says which.
   * All writes of one call get their place in the log together.
   */
  commit(
    writes: readonly Write[],
  ): Promise<{ readonly versions: readonly Version[]; readonly held: 'members' | 'here-only' }>
}

// ---- mesh ----

/**
 * Encrypted connections between agents that carry flows: forwarded traffic, relayed API calls, logs (design.md 2). Both ends check at
 * each new flow that the other is a member. agent/mesh is the implementation.
 */
export interface Mesh {
  /** Where it listens, for the member record. */
  readonly listening: readonly { readonly host: string; readonly port: number }[]
  /**
   * Asks a node for a flow. `handler.onAccepted` brings the flow; until then nothing may be sent. A failure is `handler.onReset`, never
   * from within this call. After `cancel` the handler hears nothing more.
   */
  open(node: NodeId, target: FlowTarget, handler: FlowHandler): MeshOpening
  /** Who takes flows to tasks of this node: a handler, or why not. The last listener counts. */
  onFlow(listener: (flow: Flow, target: TaskTarget, from: NodeId) => FlowHandler | ResetReason): void
  /** A stream to the other agent's API. Rejects with 'unavailable'. */
  openStream(node: NodeId): Promise<Duplex>
  onStream(listener: (stream: Duplex, from: NodeId) => void): void
  /** The node is dead: its flows end now, and say so. A new flow dials it again. */
  nodeLost(node: NodeId): void
  /** The node was removed: all its connections are closed. */
  closeNode(node: NodeId): void
  /**
   * Of these nodes those that answer on no connection: none could be opened when last tried, or those that are there have been silent for 3 s.
   * Asks and tries again, and waits for that at most so long.
   */
  unreached(nodes: readonly NodeId[], withinMs: number): Promise<readonly NodeId[]>
  counters(): MeshCounters
  close(): Promise<void>
}

export interface MeshOpening {
  cancel(): void
}

export interface MeshCounters {
  /** Connections to other agents now; the rest are totals. */
  readonly links: number
  readonly linksLost: number
  readonly flowsOpened: number
  readonly flowsTaken: number
  /** Connections refused because their key is no member's, or they were not ours at all. */
  readonly strangers: number
  /** Connections closed because the other end broke the protocol. */
  readonly violations: number
}

// ---- runtime ----

/** Everything a runtime needs to start one task: decided, resolved, no templates left. */
export interface TaskPlan {
  readonly task: TaskId
  readonly service: ServiceId
  readonly serviceName: string
  readonly slot: Slot
  /** `<service>.<slot>.<task id>`. */
  readonly name: string
  readonly image: string
  readonly command: readonly string[]
  readonly args: readonly string[]
  /** Complete environment; the runtime adds nothing but PATH, HOME, LANG, TZ when absent. */
  readonly env: Readonly<Record<string, string>>
  readonly dir: string | undefined
  readonly user: string | undefined
  readonly hostname: string
  readonly labels: Readonly<Record<string, string>>
  readonly stop: StopHow
  /** Lines of the task's /etc/hosts; the runtime gives the task a private one where it can, and says through `hostsFile` where. */
  readonly attachment: Attachment
  readonly container: ContainerOptions
}

/** While a runtime prepares a task: what it tells people, and whether it should go on. */
export interface Preparing {
  tell(message: string): void
  isWanted(): boolean
}

/** A network namespace that a runtime made for a task, for the data plane to furnish. */
export interface Sandbox {
  /** Of a process in it. */
  readonly pid: number
  /** Its address on a network of the runtime's own, which this node reaches; undefined: it has none, and the data plane gives it some. */
  readonly address: string | undefined
}

export interface Exit {
  readonly code: number | undefined
  readonly signal: string | undefined
  /** Last line of stderr, at most 200 characters, for `service ps`. */
  readonly lastLine: string
  readonly atMs: number
}

/** A task as a runtime sees it, also after a restart of the agent. */
export interface ObservedTask {
  readonly task: TaskId
  readonly service: ServiceId
  readonly slot: Slot
  readonly pid: number | undefined
  readonly running: boolean
  readonly exit: Exit | undefined
  /** What it was started with, so that it can be adopted, and stopped when its service is gone. */
  readonly attachment: Attachment
  readonly stop: StopHow
  readonly sandbox?: Sandbox | undefined
}

export interface LogQuery {
  readonly follow: boolean
  /** Lines from the end; undefined: all. */
  readonly tail: number | undefined
  /** Wall ms. */
  readonly sinceMs: number | undefined
  readonly signal: AbortSignal
}

export interface LogLine {
  readonly task: TaskId
  readonly stream: 'stdout' | 'stderr'
  readonly atMs: number
  readonly text: string
}

export interface Runtime {
  readonly name: 'process' | 'docker'
  /** Whether this node has the program or image: undefined, or a sentence that says what is missing. */
  missing(image: string): Promise<string | undefined>
  /**
   * Where a task cannot enter a namespace that the data plane makes: fetches its image, which may take minutes and is told on the way, and makes the
   * namespace. The plan's attachment is not known yet. Rejects like `start`. What is made goes with the task, or by `remove`.
   */
  sandbox?(plan: TaskPlan, way: Preparing): Promise<Sandbox>
  /** The health check that came with the image of a task that runs. */
  imageHealth?(task: TaskId): Promise<HealthConfig | undefined>
  /** Rejects with a Fault ('program-missing', 'invalid', …). Starting a task that runs is an error of the caller. */
  start(plan: TaskPlan): Promise<{ readonly pid: number | undefined }>
  /** Stop signal to the whole process group, SIGKILL after the grace. Resolves when it has ended; of an unknown task at once. */
  stop(task: TaskId, how: StopHow): Promise<void>
  /** Found again from disk at the first call after start of the agent. */
  list(): Promise<readonly ObservedTask[]>
  onExit(listener: (task: TaskId, exit: Exit) => void): void
  /** Runs a health command in the task's surroundings. Output is capped at 4 KB. */
  exec(
    task: TaskId,
    argv: readonly string[],
    timeoutMs: number,
  ): Promise<{ readonly code: number; readonly output: string }>
  logs(task: TaskId, query: LogQuery): AsyncIterable<LogLine>
  /** Forgets an ended task and deletes what it left on disk. */
  remove(task: TaskId): Promise<void>
  close(): Promise<void>
}

// ---- data plane ----

export interface AttachmentPort {
  readonly protocol: Protocol
  readonly target: number
  readonly actual: number
}

/** What a data plane gave a task before its start; written to its records and environment. */
export interface Attachment {
  /** Address on its node where its ports answer. */
  readonly host: string
  readonly ports: readonly AttachmentPort[]
  /** The address to listen on where that is not `host`: any of its own. */
  readonly listen?: string | undefined
  /** The task's own resolver, address:port. */
  readonly resolver: string | undefined
  /** Path of a hosts file kept up to date for this task, to be bound over /etc/hosts; so written in place, never replaced by a rename. */
  readonly hostsFile: string | undefined
  /** Path of the task's own network namespace, which the runtime enters (nsenter --net); undefined: it runs in the node's. */
  readonly netns?: string | undefined
  /** Path of a resolv.conf, to be bound over /etc/resolv.conf. */
  readonly resolvFile?: string | undefined
}

export interface AttachRequest {
  readonly task: TaskId
  readonly service: ServiceId
  readonly serviceName: string
  readonly slot: Slot
  readonly networks: readonly { readonly network: NetworkId; readonly address: string }[]
  readonly targets: readonly { readonly protocol: Protocol; readonly target: number }[]
  /** Label grapevine.port=fixed, and host-mode ports: the actual port must be this one. */
  readonly fixed: ReadonlyMap<number, number>
  /** The namespace that it has already; undefined: the data plane makes what it needs. */
  readonly sandbox?: Sandbox | undefined
  /** Further lines of its hosts file, `address name…`, and of its resolv.conf. */
  readonly hosts?: readonly string[]
  readonly resolv?: { readonly search: readonly string[]; readonly options: readonly string[] }
}

export interface JoinRequest {
  readonly guest: GuestId
  readonly network: NetworkId
  readonly address: string
  /** Of a process in the container. */
  readonly pid: number
  /** Its resolv.conf names a resolver of the engine's, which asks these servers in turn; undefined: it names those that are asked. */
  readonly asks: readonly string[] | undefined
  /** It has no way out of its own. */
  readonly takesWayOut: boolean
}

/** The guest's resolver, address:port, and in whose place it answers; for nobody: programs in the container find no names of the network. */
export interface Joined {
  readonly resolver: string
  readonly servers: readonly string[]
}

export interface Dataplane {
  readonly name: 'userspace' | 'linux'
  /** Reserves addresses and ports. Rejects with 'port-taken' when a fixed port is not free. */
  attach(request: AttachRequest): Promise<Attachment>
  /** Takes over what an earlier run of the agent attached. */
  adopt(request: AttachRequest, attachment: Attachment): Promise<void>
  detach(task: TaskId | GuestId): Promise<void>
  /** A container that is no task joins a network; `detach` takes it off. Rejects like `attach`. Left out where there is no way into containers. */
  join?(request: JoinRequest): Promise<Joined>
  /**
   * Open flows to a task of this node in which something is under way: a request without its answer, bytes that moved since the last such
   * look. Those that are merely kept open do not count, as far as the implementation can tell.
   */
  active(task: TaskId): number
  /** Makes the table so; idempotent. Resolves, without throwing, to what could not be done; `onObeyed`: new flows obey it already, a newer one may follow. */
  apply(routes: Routes, onObeyed?: () => void): Promise<readonly ApplyProblem[]>
  /** An endpoint that refused or did not accept a flow was seen here. */
  onTrouble(listener: (task: TaskId, why: 'refused' | 'timeout') => void): void
  /** Another program did harm to what this made, or undid it: the routes are to be applied anew, which mends what can be and tells the rest. */
  onHarm(listener: () => void): void
  /** A task of this node lost its network for good: it is to be replaced, and the sentence says why. */
  onLost(listener: (task: TaskId, why: string) => void): void
  /** Whether a TCP port of a local task accepts: the readiness of tasks without a health check. */
  accepts(host: string, port: number, timeoutMs: number): Promise<boolean>
  /** Whether a task listens at its IPv6 addresses too, on all ports that it declared; never rejects. Left out where tasks have none. */
  servesIpv6?(task: TaskId): Promise<boolean>
  close(): Promise<void>
}

/** The containers of this machine's engine. */
export interface Containers {
  /** By id, name or start of an id; undefined: there is none. Rejects with a Fault ('unavailable') when the engine does not say. */
  find(name: string): Promise<Container | undefined>
  /** A container began, ended, was renamed or removed; undefined: any may have, since nobody listened for a while. */
  watch(listener: (container: string | undefined) => void): Cancel
}

/** For instance: port 8080 is bound by another program on 192.0.2.1. Of a network that cannot be here the port is 0. */
export interface ApplyProblem {
  readonly protocol: Protocol
  readonly port: number
  /** Or the network, where no service is concerned yet. */
  readonly service: ServiceId | NetworkId
  readonly sentence: string
}

// ---- health as the reconcile loop sees it ----

export type HealthStatus = 'none' | 'starting' | 'healthy' | 'unhealthy'

export interface HealthChecker {
  watch(task: TaskId, check: Health, listener: (status: HealthStatus, output: string) => void): void
  unwatch(task: TaskId): void
}

/** Something that happened, for `vine events` and the timeline of the demo. Kept in a ring; never part of the replicated state. */
export interface NodeEvent {
  readonly atMs: number
  readonly type: 'node' | 'service' | 'network' | 'task' | 'cluster'
  readonly action: string
  /** Id of what it happened to, and its name. */
  readonly id: string
  readonly name: string
  /** A sentence with cause and observer: `n3 dead: refused, confirmed by n2, 214 ms after its last answer`. */
  readonly sentence: string
  readonly attributes: Readonly<Record<string, string>>
}

export interface Events {
  emit(event: Omit<NodeEvent, 'atMs'>): void
}
