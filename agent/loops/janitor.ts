/**
 * Takes away what nobody needs any more: tombstones that every member has, this node's own orphaned endpoints, and services that came back deleted.
 * Ended tasks are the reconcile loop's matter (core/reconcile/housekeeping.ts), which forgets with the record what the task left on the machine.
 *
 * A tombstone goes when every member that could bring its record back covers it, never by age; a member that stays away beyond the limit is
 * no longer waited for and re-seeds when it returns (loops/sync.ts finds that out by itself). Nobody deletes another node's records: those of
 * a dead node stay hidden until it returns, and a removal makes them void everywhere at once (replica/store.ts), so nothing leaks for ever.
 *
 * A service can come back although its tombstone is gone: somebody changes it at a node that runs on an older disk, in the moment before that one
 * has re-seeded, and gossip brings it to all under a new number (seed 83 of the soak). Whoever remembers the delete writes it again.
 */

import type { Scope } from '../../protocol/model.ts'
import { hasEnded } from '../core/live.ts'
import type { Member, View } from '../core/view.ts'
import type { Change, ReplicatedView } from '../view.ts'
import type { Cancel, Clock, Log, Write } from '../world.ts'
import type { Sync } from './sync.ts'

export interface Janitor {
  start(): void
  stop(): void
  /** One round, now. */
  sweep(): void
}

export interface JanitorOptions {
  readonly view: ReplicatedView
  readonly sync: Pick<Sync, 'coveredThrough' | 'readiness'>
  readonly clock: Clock
  readonly log: Log
  /** A member not up for this long, ms, is not waited for. Default: a day, after which Docker forgets a failed node. */
  readonly absentMaxMs?: number
}

/** Nothing here is urgent. */
const sweepEveryMs = 10_000
/** Refused records are asked for again this often: the clock that made them wrong may be right now. */
const retryRefusedMs = 60_000
const dayMs = 24 * 60 * 60 * 1000

export function createJanitor({ view, sync, clock, log, absentMaxMs = dayMs }: JanitorOptions): Janitor {
  let timer: Cancel | undefined
  let unwatch: Cancel | undefined
  let retriedMs = clock.now()

  function sweep(): void {
    const now = clock.now()
    for (const scope of view.scopes()) collectTombstones(scope, now)
    deleteAgain()
    if (sync.readiness('cluster') !== 'behind') for (const write of staleWrites(view)) view.put(write)
    if (now - retriedMs >= retryRefusedMs) {
      retriedMs = now
      view.retryRefused()
    }
  }

  function deleteAgain(): void {
    for (const { id, value, author } of view.services.values()) {
      if (!view.wasDeleted(id)) continue
      log.warn('a service that was deleted came back with a node that did not know; it is deleted again', {
        service: value.spec.Name,
        node: author.node,
      })
      view.put({ scope: 'cluster', kind: 'service', id, value: null })
    }
  }

  function isRevival({ kind, id, after }: Change): boolean {
    return kind === 'service' && after !== undefined && view.wasDeleted(id)
  }

  function watchServices(): void {
    let pending: Cancel | undefined
    const cancel = view.watch((notice) => {
      if (notice.kind !== 'changes' || pending !== undefined || !notice.changes.some(isRevival)) return
      // Not in the middle of telling: who is told later would hear of the delete first.
      pending = clock.after(0, () => {
        pending = undefined
        deleteAgain()
      })
    })
    unwatch = () => {
      cancel()
      pending?.()
    }
  }

  function collectTombstones(scope: Scope, now: number): void {
    const awaited = [...view.members.values()]
      .filter((member) => mustCover(member, scope, now))
      .map((member) => member.id)
    const covered = awaited.map((node) => sync.coveredThrough(node, scope))
    const through = Math.min(Number.POSITIVE_INFINITY, ...covered)
    const done = view.tombstones(scope).filter(({ atApplied }) => atApplied <= through)
    view.collect(
      scope,
      done.map(({ key }) => key),
    )
  }

  function mustCover(member: Member, scope: Scope, now: number): boolean {
    if (member.id === view.self || !view.isHolder(member.id, scope)) return false
    const absent = member.liveness === 'dead' || member.liveness === 'left'
    return !absent || now - member.sinceMs <= absentMaxMs
  }

  function schedule(): void {
    timer = clock.after(sweepEveryMs, () => {
      sweep()
      schedule()
    })
  }

  return {
    start() {
      watchServices()
      schedule()
    },
    stop() {
      unwatch?.()
      timer?.()
    },
    sweep,
  }
}

/** Deletes of this node's own endpoints without a task. */
export function staleWrites(view: View): readonly Write[] {
  const writes: Write[] = []
  for (const [network, endpoints] of view.endpoints) {
    for (const [id, { value }] of endpoints) {
      const task = view.tasks.get(id)?.value
      if (value.node !== view.self || (task !== undefined && !hasEnded(task.state))) continue
      writes.push({ scope: `network/${network}`, kind: 'endpoint', id, value: null })
    }
  }
  return writes
}
