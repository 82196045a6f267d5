/**
 * This node's copy of the replicated state, as loops, edges and tests know it: what it shows, takes in, gives out, and needs (design.md 3).
 *
 * Types only. agent/replica builds it over a journal; the loops in agent/loops carry its bytes. Everything that changes the state goes through
 * here in synchronous steps, is journalled, and is told to watchers as the change that it made.
 */
import type { Digest, Dots } from '../protocol/digest.ts'
import type { Version } from '../protocol/hlc.ts'
import type { NodeId, ServiceId } from '../protocol/ids.ts'
import type { Kind, MemberValue, Scope, StateRecord } from '../protocol/model.ts'
import type { Chunk } from '../protocol/scope-state.ts'
import type { Liveness, Stamped, View } from './core/view.ts'
import type { Cancel, Clock, Events, Log, Random, Writer } from './world.ts'

/** A list whose first item is its kind; the owner of the state knows what they mean. */
export type Entry = readonly [string, ...unknown[]]

/** How the journal was found. `new`: there was none. `cut`: its end was torn off. `broken`: set aside, the state must come from members. */
export type Found = 'whole' | 'new' | 'cut' | 'broken'

/** What must survive a restart (agent/journal.ts). */
export interface Journal {
  readonly found: Found
  /** What was found, in order; to be replayed once. */
  readonly entries: readonly Entry[]
  /** Says how to write the state whole; before the first append. Resolves when a journal that was not whole has been made so. */
  begin(snapshot: () => Iterable<Entry>): Promise<void>
  /** Resolves when the entries are on the disk; rejects with a Fault, and then none of them will be found again. */
  append(entries: readonly Entry[]): Promise<void>
  note(entries: readonly Entry[]): void
  /** Why nothing can be written now. */
  failing(): string | undefined
  /** Resolves when everything noted so far is on the disk, or cannot be. */
  flush(): Promise<void>
  close(): Promise<void>
}

export interface ViewOptions {
  readonly self: NodeId
  /** `member.run` and `member.startedMs` of this start of the agent. */
  readonly run: string
  readonly startedMs: number
  readonly clock: Clock
  readonly random: Random
  /** Fresh from openJournal: not begun. */
  readonly journal: Journal
  readonly log: Log
  readonly events: Events
  /** Another live agent has this node id: a copied data directory. `yields`: this one began later, writes no more, and must exit. */
  readonly onDuplicate: (found: { readonly other: MemberValue; readonly yields: boolean }) => void
}

/** What the view asks of the loops; attached once both exist. */
export interface ViewHooks {
  publish(scope: Scope, records: readonly StateRecord[]): void
  /** Nodes that can be asked now. */
  connected(): readonly NodeId[]
  /** Whether the member took the records in and fsynced them. Never rejects. */
  pushDurably(node: NodeId, records: readonly StateRecord[]): Promise<boolean>
  /** Another run of this node has spoken, or may have, and gossip may not bring what it says next. */
  hurry(): void
}

export type Notice =
  | { readonly kind: 'snapshot'; readonly changes: readonly Change[] }
  | { readonly kind: 'changes'; readonly changes: readonly Change[] }
  | { readonly kind: 'liveness'; readonly node: NodeId; readonly before: Liveness; readonly after: Liveness }
  | { readonly kind: 'reach'; readonly node: NodeId }

export interface ReplicatedView extends View, Writer {
  /** How the journal was found: 'new', 'cut' and 'broken' mean that the members know more than this node. */
  readonly found: Found
  readonly counts: ReadonlyMap<string, number>
  count(what: string, by?: number): void
  attach(hooks: ViewHooks): void
  /** The listener gets the state as it is, at once, and then every change of it. */
  watch(listener: (notice: Notice) => void): Cancel
  setLiveness(node: NodeId, liveness: Liveness, nowMs: number): void
  setReach(node: NodeId, outOfReach: boolean): void
  setStale(node: NodeId, isStale: boolean): void
  noteClock(node: NodeId, offsetMs: number): void
  /** Wall ms: the median of the members' clocks. */
  clusterTime(): number
  /** Cluster time minus this node's wall clock. */
  clockOffsetMs(): number
  /** A version after everything seen: the `created` of claims and new things, of which the earlier wins. */
  stamp(): Version

  /** Scopes held here, sorted. */
  scopes(): readonly Scope[]
  holds(scope: Scope): boolean
  holdScope(scope: Scope): void
  /** Forgets the scope's records; delete this node's own endpoints first. */
  dropScope(scope: Scope): void
  /** Whether a member holds a scope, by its own record. */
  isHolder(node: NodeId, scope: Scope): boolean

  digest(scope: Scope): Digest
  delta(scope: Scope, wants: Dots, bytesMax: number): Chunk
  /** Takes in what a member sent; `covered`: the numbers in which nothing but `records` is live. Returns the records that were read. */
  apply(scope: Scope, records: readonly unknown[], from: NodeId, covered?: Dots): readonly StateRecord[]
  /** Resolves when everything applied so far is on the disk; rejects with the disk's Fault. */
  synced(): Promise<void>
  /** Learns what a member has, and returns what it lacks and what we lack. */
  compare(scope: Scope, from: NodeId, theirs: Digest): { readonly weLack: Dots; readonly theyLack: Dots }
  /** Numbers known to be at members that are up, and missing here. 0: caught up with all that is known. */
  need(scope: Scope): number

  applied(): number
  tombstones(scope: Scope): readonly Tombstone[]
  collect(scope: Scope, keys: readonly string[]): void
  collected(scope: Scope): Dots
  /** Whether the service was deleted and its tombstone let go here; of the last few thousand. A delete is final: it must not come back. */
  wasDeleted(service: ServiceId): boolean
  retryRefused(): void
  /**
   * Takes in all that a member gave, the holder of `theirs`, at once; after a crash in between the rest is lacked, and asked for again. `before` is
   * what was covered here when it began to read. What the holder lacks goes, and what it let go counts as let go here, so that the next one who
   * lacks it re-seeds too. Returns how many records went.
   */
  reseed(
    scope: Scope,
    from: NodeId,
    holder: { readonly theirs: Digest; readonly chunks: readonly Given[]; readonly before: Digest },
  ): number

  superseded(service: string): readonly LostSpec[]
  journalFailing(): string | undefined
  close(): Promise<void>
}

/** A part of what a member has: records as they came, unread, and the numbers that it speaks for with them. */
export interface Given {
  readonly records: readonly unknown[]
  readonly covered: Dots
}

/** What became of one key here, from the local state and not from what came in: undefined is "not there". */
export interface Change {
  readonly scope: Scope
  readonly kind: Kind
  readonly id: string
  readonly before: Stamped<unknown> | undefined
  readonly after: Stamped<unknown> | undefined
}

/** A service spec that a concurrent one pushed out. */
export interface LostSpec {
  readonly lost: StateRecord<'service'>
  readonly winner: StateRecord<'service'>
  /** Where the two specs differ. */
  readonly fields: readonly string[]
}

/** A tombstone here, and the value of `applied()` when it came. */
export interface Tombstone {
  readonly key: string
  readonly record: StateRecord
  readonly atApplied: number
}
