/**
 * What decisions see: this node's copy of the replicated state, plus what membership believes of each member.
 *
 * Types only. agent/view.ts keeps the maps up to date and hands the same, live, read-only maps to every decision; decisions are
 * synchronous, so a view does not change under one. Records of dead members are present here (lists show them as Down or orphaned);
 * whoever routes, resolves or counts asks `isLiveTask` and `isUp` in core/live.ts.
 */
import type { Version } from '../../protocol/hlc.ts'
import type { GuestId, NetworkId, NodeId, ServiceId, Slot, TaskId } from '../../protocol/ids.ts'
import type {
  Author,
  EndpointValue,
  GuestValue,
  MemberValue,
  NetworkValue,
  NodeValue,
  RemovalValue,
  ServiceValue,
  SettingsValue,
  TaskValue,
  TokenValue,
} from '../../protocol/model.ts'

/** What SWIM believes. `alive` includes this node itself. `left` said so itself, and is not retried. */
export type Liveness = 'alive' | 'suspect' | 'dead' | 'left'

/** A live record of the state with its stamp. */
export interface Stamped<V> {
  readonly id: string
  readonly value: V
  readonly version: Version
  readonly author: Author
}

export interface Member {
  readonly id: NodeId
  readonly record: Stamped<MemberValue>
  /** Availability and labels; a default (active, none) until somebody writes them. */
  readonly node: NodeValue
  /** Version of the `node` record; undefined until somebody writes one. `node update` says which version it read. */
  readonly nodeVersion?: Version
  readonly liveness: Liveness
  /** Monotonic ms at which `liveness` last changed here. */
  readonly sinceMs: number
  /** It lives, as others say, but its answers do not come back to this node: clients are not led there from here. */
  readonly outOfReach?: boolean
  /** It is back, and what it wrote while it was believed dead may not have come: its tasks may have stopped. */
  readonly isStale?: boolean
}

export interface View {
  readonly self: NodeId
  /** Grows with every change of anything below. */
  readonly revision: number
  readonly settings: Stamped<SettingsValue> | undefined
  /** Admitted and not removed, by node id. */
  readonly members: ReadonlyMap<NodeId, Member>
  readonly removals: ReadonlyMap<NodeId, Stamped<RemovalValue>>
  readonly tokens: ReadonlyMap<string, Stamped<TokenValue>>
  readonly networks: ReadonlyMap<NetworkId, Stamped<NetworkValue>>
  readonly services: ReadonlyMap<ServiceId, Stamped<ServiceValue>>
  readonly tasks: ReadonlyMap<TaskId, Stamped<TaskValue>>
  /**
   * The tasks of a service by slot, live and ended, those of a slot by id; slots in no order. The list of a slot is the same array until one of
   * them changes, so that what is read from it can be kept with it.
   */
  slotsOf(service: ServiceId): ReadonlyMap<Slot, readonly Stamped<TaskValue>[]>
  /** All records of tasks of this node, live and ended. The same array until one of them changes. */
  ownTasks(): readonly Stamped<TaskValue>[]
  /** Endpoint records of the scopes that this node holds: by network, then by task. */
  readonly endpoints: ReadonlyMap<NetworkId, ReadonlyMap<TaskId, Stamped<EndpointValue>>>
  /** Containers that are no tasks, on networks of the cluster. */
  readonly guests: ReadonlyMap<GuestId, Stamped<GuestValue>>
}
