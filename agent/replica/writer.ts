/**
 * This node's own writes: check, stamp, journal, apply, publish, in an order that no crash can turn into a lie.
 *
 * A commit is on the disk before anybody sees it; if the disk refuses, nothing happened. A put is applied at once and shown to others as soon
 * as its number is reserved on the disk. Commits take turns up to that point, so of twenty that expect the same version one succeeds.
 */

import { throughWire } from '../../protocol/codec.ts'
import { compareVersions, type Version, zeroVersion } from '../../protocol/hlc.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { isDeleteFinal } from '../../protocol/merge.ts'
import type { Kind, Scope, ServiceValue, StateRecord } from '../../protocol/model.ts'
import { authorKey, hasOneWriter, misfit, recordKey, toWire } from '../../protocol/record.ts'
import { assert, fault } from '../fault.ts'
import type { Journal } from '../view.ts'
import type { Clock, Write, Writer } from '../world.ts'
import type { Sequences } from './sequences.ts'
import type { Stamps } from './stamps.ts'
import type { Store } from './store.ts'

/** A reservation that failed is asked for again after this: as often as the journal tries the disk. */
const retryMs = 5_000

export interface LocalWriter extends Writer {
  /** No more writes: another node runs under this id. */
  stop(): void
  /** Draws another log id and writes again what this run wrote; the numbers of the old log may have been used twice. */
  startNewLog(log: string): void
}

export interface WriterOptions {
  readonly self: NodeId
  readonly clock: Clock
  readonly store: Store
  readonly stamps: Stamps
  readonly sequences: Sequences
  readonly journal: Journal
  /** Numbers up to these were issued before this run. */
  readonly issuedBefore: ReadonlyMap<Scope, number>
  /** Takes a stamped record into the state and tells watchers; `journalled` when its entry is on the disk already. */
  readonly takeIn: (records: readonly StateRecord[], journalled: boolean) => void
  readonly publish: (scope: Scope, records: readonly StateRecord[]) => void
  /** Whether one more live member has the records on its disk. */
  readonly spread: (records: readonly StateRecord[]) => Promise<boolean>
}

export function createWriter(options: WriterOptions): LocalWriter {
  const { self, clock, store, stamps, sequences, journal } = options
  let issuedBefore = options.issuedBefore
  let stopped = false
  let unpublished: StateRecord[] = []
  let turn: Promise<unknown> = Promise.resolve()

  function heldAt(write: Pick<Write, 'scope' | 'kind' | 'id'>): StateRecord | undefined {
    const state = store.scopes.get(write.scope)
    assert(state !== undefined, `a write to ${write.scope} needs that scope to be held`)
    return state.records.get(recordKey({ ...write, author: { node: self, log: sequences.log } }))
  }

  function checkRunning(): void {
    if (stopped)
      throw fault(
        'unavailable',
        'Another machine runs under this node id',
        'Give one of the two a data directory of its own',
      )
  }

  /** Whether the write says nothing that can still be said: its id is deleted for good, or its removal is written. */
  function isSpent(write: Write, held: StateRecord | undefined): boolean {
    if (held === undefined) return false
    return (held.value === null && isDeleteFinal(write.kind)) || (write.kind === 'removal' && held.value !== null)
  }

  function stamp(write: Write): StateRecord {
    const { scope, kind, id } = write
    const held = heldAt(write)
    const own = hasOneWriter(kind) || held?.author.node === self
    const value = write.value === null ? null : throughWire(withCreatedDot(kind, write.value, held))
    const draft: StateRecord = {
      scope,
      kind,
      id,
      value,
      version: zeroVersion,
      author: { node: self, log: sequences.log },
      seq: 1,
    }
    const why = misfit(draft)
    if (why !== undefined) throw fault('invalid', `The ${kind} ${id} cannot be stored: ${misfits[why]}`)
    return { ...draft, version: stamps.issue(held?.version, own), seq: sequences.issue(scope) }
  }

  function checkExpected(write: Write, held: StateRecord | undefined): void {
    if (isSpent(write, held) && write.value !== null) {
      throw fault('conflict', `The ${write.kind} ${write.id} was deleted`, 'Create a new one')
    }
    if (write.expect === undefined) return
    const version = held === undefined || held.value === null ? zeroVersion : held.version
    if (compareVersions(version, write.expect) !== 0) {
      throw fault('stale', 'update out of sequence', 'Read it again, and repeat the change')
    }
  }

  function publishDurable(): void {
    const ready = new Map<Scope, StateRecord[]>()
    unpublished = unpublished.filter((record) => {
      if (!sequences.isDurable(record.scope, record.seq)) return true
      ready.set(record.scope, [...(ready.get(record.scope) ?? []), record])
      return false
    })
    for (const [scope, records] of ready) options.publish(scope, records)
  }

  function reserve(scope: Scope): void {
    const to = sequences.wanted(scope)
    if (to === undefined) return
    const log = sequences.log
    sequences.asked(scope, to)
    journal.append([['seq', scope, to]]).then(
      () => {
        if (log !== sequences.log) return
        sequences.reserved(scope, to)
        publishDurable()
      },
      () => {
        if (log !== sequences.log) return
        sequences.failed(scope)
        clock.after(retryMs, () => reserve(scope))
      },
    )
  }

  function putRecord(write: Write): Version {
    const record = stamp(write)
    options.takeIn([record], false)
    unpublished.push(record)
    reserve(record.scope)
    if (sequences.isDurable(record.scope, record.seq)) publishDurable()
    return record.version
  }

  async function journalled(writes: readonly Write[]): Promise<readonly StateRecord[]> {
    checkRunning()
    stamps.checkClock()
    for (const write of writes) checkExpected(write, heldAt(write))
    const log = sequences.log
    const records = writes.map(stamp)
    try {
      await journal.append(records.map((record) => ['rec', record.scope, toWire(record)]))
    } catch (error) {
      // These numbers will never be shown: nothing lives in them.
      for (const { scope, author, seq } of records)
        journal.note(store.cover(scope, new Map([[authorKey(author), [[seq, seq]]]])))
      throw error
    }
    if (log === sequences.log) for (const { scope, seq } of records) sequences.reserved(scope, seq)
    options.takeIn(records, true)
    unpublished.push(...records)
    publishDurable()
    return records
  }

  return {
    put<K extends Kind>(write: Write<K>): Version {
      checkRunning()
      const held = heldAt(write)
      if (held !== undefined && isSpent(write, held)) return held.version
      return putRecord(write)
    },
    async commit(writes) {
      const mine = turn.then(() => journalled(writes))
      turn = mine.catch(() => undefined)
      const records = await mine
      const held = (await options.spread(records)) ? 'members' : 'here-only'
      return { versions: records.map((record) => record.version), held }
    },
    stop() {
      stopped = true
      unpublished = []
    },
    startNewLog(log) {
      if (stopped) return
      const old = { node: self, log: sequences.log }
      const written: StateRecord[] = []
      for (const [scope, state] of store.scopes) {
        const before = issuedBefore.get(scope) ?? 0
        for (const record of state.records.values()) {
          if (authorKey(record.author) === authorKey(old) && record.seq > before) written.push(record)
        }
        journal.note(store.uncover(scope, authorKey(old), before))
      }
      issuedBefore = new Map()
      unpublished = []
      sequences.restart(log)
      journal.note([['log', log]])
      for (const { scope, kind, id, value } of written) putRecord({ scope, kind, id, value })
    },
  }
}

/** The first change of a service takes the place of the write that made it, and keeps its dot. */
function withCreatedDot<V>(kind: Kind, value: V, held: StateRecord | undefined): V {
  if (kind !== 'service' || held === undefined || held.value === null) return value
  const { node, log } = held.author
  const { createdDot = { node, log, seq: held.seq } } = held.value as ServiceValue
  return { ...value, createdDot }
}

const misfits = {
  kind: 'no such kind of record belongs there',
  value: 'a field is missing, of another type or out of bounds',
  owner: 'only the node that it speaks of may write it',
  size: 'it is larger than 256 KB',
  clock: 'it lies in the future',
} as const
