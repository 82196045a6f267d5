/**
 * All that the API needs of its node. Node composition fills it, tests fill it over an in-memory view.
 *
 * The API owns no state: it reads the view, asks decisions of core, and writes through `writer`. Whatever only another part of the
 * node knows (logs, counters, tokens, what a name means to a task) comes through a function here, so no handler knows that part.
 */
import type { Readable } from 'node:stream'
import type { Version } from '../../protocol/hlc.ts'
import type { NetworkId, NodeId, ServiceId, TaskId } from '../../protocol/ids.ts'
import type { NetworkValue } from '../../protocol/model.ts'
import type { Wish } from '../core/guests.ts'
import type { Stamped, View } from '../core/view.ts'
import type { Clock, Log, LogLine, LogQuery, NodeEvent, Random, Writer } from '../world.ts'
import type { Engine } from './engine/engine.ts'

export interface ApiContext {
  readonly view: View
  readonly writer: Pick<Writer, 'commit'>
  readonly clock: Pick<Clock, 'now' | 'wall'>
  readonly random: Random
  readonly log: Log
  /** Version of Grapevine, for instance `0.1.0`. */
  readonly agentVersion: string
  /** A version after everything this node has seen: the `created` of new things, of which the earlier wins. */
  stamp(): Version
  /** How well this node is: see `NodeHealth`. */
  health(): NodeHealth
  /** Members that are up and take no connection for tasks and logs from here. Answers within half a second with what is known by then. */
  unreached(): Promise<readonly NodeId[]>
  /** What happened as this node saw it; the ring is bounded by its owner. */
  readonly events: EventLog
  /** Log of a task that runs, or ran, on this node. */
  logs(task: TaskId, query: LogQuery): AsyncIterable<LogLine>
  /** Nodes that lack this program or image, for the warning of `service create`. Answers within 1 s with what is known by then. */
  missingOn(image: string): Promise<readonly NodeId[]>
  /** The same API of another node. Rejects with a Fault ('unavailable', 'timeout') when it cannot be reached. */
  relay(node: NodeId, request: RelayRequest): Promise<RelayResponse>
  /** Answers as the resolver of a task of this node would. Rejects with a Fault when the task is not here. */
  resolve(query: ResolveQuery): Promise<Resolved>
  readonly tokens: TokenDesk
  /** Writes the signed removal of a node; the caller has checked that it may go. */
  removeNode(node: NodeId): Promise<Held>
  /** Ends the agent once the answer is sent: with its tasks kept ("back soon"), or as a drain, leave and exit. */
  stop(options: { readonly keepTasks: boolean }): void
  /** It has been told to end: it takes no orders any more, and answers pings until it has ended. */
  isEnding(): boolean
  /** Counters of forwarding since the agent began, a row a service and entry. */
  flows(): readonly FlowCounters[]
  /** Single flows and attempts, those that ended before `sinceMs` (wall ms) left out. */
  flowLog(sinceMs: number): FlowLog
  /** Findings of `vine doctor` that only the agent can know: ports, file limit, DNS port, disk, clock, leftovers. */
  doctor(): Promise<readonly Finding[]>
  /** Removes what this agent, or an earlier one of its data directory, left in the kernel without a reason. */
  clean(): Promise<void>
  /** Prometheus text. */
  metrics(): string
  /** Where the Docker engine of this machine would answer; undefined: nowhere. */
  readonly engine: Engine | undefined
  /** Its containers that are no tasks, on networks of the cluster; undefined like the engine. */
  readonly guests: Guests | undefined
}

/** agent/loops/guests.ts is the implementation. Rejections are Faults. */
export interface Guests {
  /** Resolves to warnings when the container is on the network. */
  connect(network: Stamped<NetworkValue>, container: string, wish: Wish): Promise<readonly string[]>
  /** Of one that was made and not started: it is connected whenever it runs. */
  expect(network: NetworkId, container: { readonly id: string; readonly name: string }, wish: Wish): void
  disconnect(network: Stamped<NetworkValue>, container: string): Promise<void>
}

export interface NodeHealth {
  /** Records known to exist that this node lacks; 0 is "caught up". */
  readonly need: number
  /** Wall clock of this node minus cluster time, ms. */
  readonly clockOffsetMs: number
  /** Sentences: a published port bound by another program, a full disk, a refused peer. */
  readonly warnings: readonly string[]
}

export interface EventLog {
  /** Events at or after this wall ms that are still in the ring, oldest first. */
  since(wallMs: number): readonly NodeEvent[]
  /** Later events, in order. Returns the function that ends it. */
  subscribe(listener: (event: NodeEvent) => void): () => void
}

export interface RelayRequest {
  readonly method: string
  /** With query, as it stands in a request line. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** Destroys the exchange when the client has gone. */
  readonly signal: AbortSignal
}

export interface RelayResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
  readonly body: Readable
}

export interface ResolveQuery {
  readonly name: string
  /** DNS type in capitals: A, AAAA, SRV, PTR, TXT. */
  readonly type: string
  readonly task: TaskId
}

export interface Resolved {
  /** DNS response code: NOERROR, NXDOMAIN, SERVFAIL. */
  readonly code: string
  readonly answers: readonly {
    readonly name: string
    readonly type: string
    readonly ttlSeconds: number
    readonly data: string
  }[]
}

export type Held = 'members' | 'here-only'

export interface TokenDesk {
  /** A new token that members admit by until it expires; ttlMs undefined: never. */
  issue(ttlMs: number | undefined): Promise<IssuedToken>
  /** Ends every token that exists. Members stay. */
  revokeAll(): Promise<Held>
}

export interface IssuedToken {
  readonly token: string
  /** The command to paste on the joining machine. */
  readonly join: string
  readonly expiresMs: number | undefined
  readonly held: Held
}

export interface FlowCounters {
  readonly service: ServiceId
  readonly name: string
  readonly opened: number
  readonly active: number
  readonly failed: number
  readonly bytesIn: number
  readonly bytesOut: number
}

/** What became of single flows: open, ended, and attempts that never opened. Bounded by its owner; times in wall ms. */
export interface FlowLog {
  readonly open: readonly LoggedFlow[]
  readonly ended: readonly LoggedFlow[]
  readonly failed: readonly {
    readonly client: string
    readonly service: ServiceId
    readonly task: TaskId
    readonly node: NodeId
    readonly pickedMs: number
    readonly cause: string
  }[]
}

export interface LoggedFlow {
  readonly protocol: 'tcp' | 'udp'
  /** `address:port` of the client. */
  readonly client: string
  readonly entry: NodeId
  readonly service: ServiceId
  readonly task: TaskId
  readonly node: NodeId
  readonly pickedMs: number
  readonly openedMs: number
  readonly endedMs: number | undefined
  /** Why it ended; 'finished' is in good order. */
  readonly cause: string | undefined
  readonly bytesIn: number
  readonly bytesOut: number
}

export interface Finding {
  readonly check: string
  readonly ok: boolean
  readonly sentence: string
  readonly fix?: string
}
