/**
 * Records in, changes out: the scopes that this node holds, the live maps over them, and the journal entries that rebuild both.
 *
 * One synchronous step takes in one record: membership check, merge, index and entry are never apart (swarm-reference.md 3.A, 270a4d41dc).
 * What a removed node alone could write is void: nothing of it is shown, kept or passed on, on every node that knows the removal.
 */
import type { Dots } from '../../protocol/digest.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { differingFields, isAncestor } from '../../protocol/merge.ts'
import { networkScope, type Scope, type StateRecord } from '../../protocol/model.ts'
import { flatten, type Ranges } from '../../protocol/ranges.ts'
import { authorKey, hasOneWriter, recordKey, toWire } from '../../protocol/record.ts'
import { createScopeState, type Merged, type ScopeState } from '../../protocol/scope-state.ts'
import type { Stamped } from '../core/view.ts'
import type { Change, Entry, LostSpec, Tombstone } from '../view.ts'
import { createMaps, type ViewMaps } from './maps.ts'

/** 4,096 ids: 100 kB, and more services than a cluster deletes between a backup and its return. */
const deletedMax = 4_096

export interface Taken {
  readonly merged: Merged | { readonly kind: 'void' } | { readonly kind: 'not-held' }
  readonly changes: readonly Change[]
  readonly entries: readonly Entry[]
  readonly lostSpec: LostSpec | undefined
}

export interface Store {
  readonly maps: ViewMaps
  readonly scopes: ReadonlyMap<Scope, ScopeState>
  /** Grows with each record that is taken in. */
  applied(): number
  take(record: StateRecord): Taken
  cover(scope: Scope, dots: Dots): readonly Entry[]
  hold(scope: Scope): readonly Entry[]
  drop(scope: Scope): { readonly changes: readonly Change[]; readonly entries: readonly Entry[] }
  /** Takes records out whose writes stay covered. */
  discard(
    scope: Scope,
    keys: readonly string[],
  ): {
    readonly changes: readonly Change[]
    readonly entries: readonly Entry[]
  }
  uncover(scope: Scope, author: string, above: number): readonly Entry[]
  /** Counts numbers as tombstones that were let go. */
  letGo(scope: Scope, dots: Dots): readonly Entry[]
  tombstones(scope: Scope): readonly Tombstone[]
  collect(scope: Scope, keys: readonly string[]): readonly Entry[]
  /** Whether a tombstone of this service was here and was let go. Of the last `deletedMax`. */
  wasDeleted(service: string): boolean
  /** Services whose tombstones were let go, as a snapshot tells them. */
  rememberDeleted(services: Iterable<string>): void
  snapshot(): Iterable<Entry>
}

export function createStore(self: NodeId, now: () => number): Store {
  const maps = createMaps(self, now)
  const scopes = new Map<Scope, ScopeState>()
  const graves = new Map<Scope, Map<string, number>>()
  /** Services without a tombstone any more, the latest last: only they change after they were made, and so come back under a new number. */
  const deleted = new Set<string>()
  let applied = 0

  function take(record: StateRecord): Taken {
    const state = scopes.get(record.scope)
    if (state === undefined) return { merged: { kind: 'not-held' }, changes: [], entries: [], lostSpec: undefined }
    const covering = [coverEntry(record.scope, authorKey(record.author), [[record.seq, record.seq]])]
    if (isVoid(record)) {
      if (state.covers(authorKey(record.author), record.seq)) return nothing({ kind: 'known' })
      state.cover(authorKey(record.author), [[record.seq, record.seq]])
      return { merged: { kind: 'void' }, changes: [], entries: covering, lostSpec: undefined }
    }
    const merged = state.merge(record)
    if (merged.kind === 'known' || merged.kind === 'scattered') return nothing(merged)
    if (merged.kind === 'lost') {
      return { merged, changes: [], entries: covering, lostSpec: lostSpec(record, merged.to) }
    }
    applied++
    const { scope, kind, id, author } = record
    const grave = graveOf(scope)
    if (record.value === null) grave.set(recordKey(record), applied)
    else grave.delete(recordKey(record))
    maps.show(scope, kind, id, author.node, record)
    const changes = changeOf(merged.before, record)
    const voided = kind === 'removal' ? voidRecordsOf(id) : []
    return {
      merged,
      changes: [...changes, ...voided],
      entries: [['rec', scope, toWire(record)]],
      lostSpec: merged.before === undefined ? undefined : lostSpec(merged.before, record),
    }
  }

  function isVoid(record: StateRecord): boolean {
    return hasOneWriter(record.kind) && record.author.node !== self && maps.view.removals.has(record.author.node)
  }

  function voidRecordsOf(node: NodeId): readonly Change[] {
    return [...scopes.values()].flatMap((state) => {
      const keys = [...state.records]
        .filter(([, record]) => isVoid(record) && record.author.node === node)
        .map(([key]) => key)
      return takeOut(state, keys)
    })
  }

  function takeOut(state: ScopeState, keys: readonly string[]): readonly Change[] {
    return keys.flatMap((key) => {
      const gone = state.discard(key)
      if (gone === undefined) return []
      graveOf(state.scope).delete(key)
      maps.show(state.scope, gone.kind, gone.id, gone.author.node, undefined)
      return changeOf(gone, undefined)
    })
  }

  function graveOf(scope: Scope): Map<string, number> {
    let found = graves.get(scope)
    if (found === undefined) {
      found = new Map()
      graves.set(scope, found)
    }
    return found
  }

  function drop(scope: Scope): readonly Change[] {
    const state = scopes.get(scope)
    if (state === undefined) return []
    scopes.delete(scope)
    graves.delete(scope)
    for (const network of maps.view.endpoints.keys()) if (networkScope(network) === scope) maps.forgetNetwork(network)
    return [...state.records.values()].flatMap((record) => changeOf(record, undefined))
  }

  function rememberDeleted(services: Iterable<string>): void {
    for (const id of services) {
      deleted.delete(id)
      deleted.add(id)
    }
    for (const oldest of deleted) {
      if (deleted.size <= deletedMax) return
      deleted.delete(oldest)
    }
  }

  return {
    maps,
    scopes,
    applied: () => applied,
    take,
    rememberDeleted,
    wasDeleted: (service) => deleted.has(service),
    cover(scope, dots) {
      const state = scopes.get(scope)
      if (state === undefined) return []
      const entries: Entry[] = []
      for (const [author, ranges] of dots) {
        state.cover(author, ranges)
        entries.push(coverEntry(scope, author, ranges))
      }
      return entries
    },
    hold(scope) {
      if (scopes.has(scope)) return []
      scopes.set(scope, createScopeState(scope, self))
      return [['hold', scope]]
    },
    drop(scope) {
      return { changes: drop(scope), entries: [['drop', scope]] }
    },
    discard(scope, keys) {
      const state = scopes.get(scope)
      if (state === undefined || keys.length === 0) return { changes: [], entries: [] }
      return { changes: takeOut(state, keys), entries: [['gone', scope, keys]] }
    },
    uncover(scope, author, above) {
      scopes.get(scope)?.uncover(author, above)
      return [['uncover', scope, author, above]]
    },
    letGo(scope, dots) {
      for (const [author, ranges] of dots) scopes.get(scope)?.addCollected(author, ranges)
      return [...dots].map(([author, ranges]): Entry => ['collected', scope, author, flatten(ranges)])
    },
    tombstones(scope) {
      const state = scopes.get(scope)
      return [...graveOf(scope)].flatMap(([key, atApplied]) => {
        const record = state?.records.get(key)
        return record === undefined ? [] : [{ key, record, atApplied }]
      })
    },
    collect(scope, keys) {
      const state = scopes.get(scope)
      for (const key of keys) {
        const tombstone = state?.records.get(key)
        if (tombstone?.kind === 'service') rememberDeleted([tombstone.id])
        state?.collect(key)
        graveOf(scope).delete(key)
      }
      return [['collect', scope, keys]]
    },
    *snapshot() {
      if (deleted.size > 0) yield ['deleted', 'cluster', [...deleted]]
      for (const [scope, state] of scopes) {
        yield ['hold', scope]
        for (const record of state.records.values()) yield ['rec', scope, toWire(record)]
        for (const [author, { covered }] of state.digest()) {
          if (covered.length > 0) yield coverEntry(scope, author, covered)
        }
        for (const [author, ranges] of state.collected()) yield ['collected', scope, author, flatten(ranges)]
      }
    },
  }
}

function nothing(merged: Merged): Taken {
  return { merged, changes: [], entries: [], lostSpec: undefined }
}

function coverEntry(scope: Scope, author: string, ranges: Ranges): Entry {
  return ['cov', scope, author, flatten(ranges)]
}

function changeOf(before: StateRecord | undefined, after: StateRecord | undefined): readonly Change[] {
  const { scope, kind, id } = (after ?? before) as StateRecord
  const change = { scope, kind, id, before: liveOf(before), after: liveOf(after) }
  return change.before === undefined && change.after === undefined ? [] : [change]
}

function liveOf(record: StateRecord | undefined): Stamped<unknown> | undefined {
  if (record === undefined || record.value === null) return undefined
  return { id: record.id, value: record.value, version: record.version, author: record.author }
}

/** The loser, where it is a spec that the winner was not made from and that says something else. */
function lostSpec(loser: StateRecord, winner: StateRecord): LostSpec | undefined {
  if (!isService(loser) || !isService(winner) || loser.value === null || winner.value === null) return undefined
  if (isAncestor(loser.version, winner.value)) return undefined
  const fields = differingFields(loser.value.spec, winner.value.spec)
  return fields.length === 0 ? undefined : { lost: loser, winner, fields }
}

function isService(record: StateRecord): record is StateRecord<'service'> {
  return record.kind === 'service'
}
