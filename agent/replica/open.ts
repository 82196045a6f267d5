/**
 * Puts the replicated state together: records in through one door, own writes out through another, watchers told, need counted.
 *
 * Sends nothing by itself: gossip and sync attach their hooks. Hostile input is dropped and counted under a word in `counts`.
 */

import { countDots, type Digest, type Dots, missing, subtractDots, uniteDots } from '../../protocol/digest.ts'
import { compareVersions } from '../../protocol/hlc.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { networkScope, type Scope, type StateRecord, scopesEverywhere } from '../../protocol/model.ts'
import { highest, noRanges, type Ranges, union } from '../../protocol/ranges.ts'
import { authorKey, parseRecord, recordKey } from '../../protocol/record.ts'
import type { Change, Entry, LostSpec, Notice, ReplicatedView, ViewHooks, ViewOptions } from '../view.ts'
import type { Random } from '../world.ts'
import { replay } from './replay.ts'
import { emptyDots, strayKeys } from './reseed.ts'
import { createSequences } from './sequences.ts'
import { createStamps } from './stamps.ts'
import { createStore, type Taken } from './store.ts'
import { createWriter } from './writer.ts'

/** 1 s: how long a commit waits for one more member (design.md 1). */
const spreadMs = 1_000
/** Asked at once; one slow member then costs nothing. */
const spreadWidth = 3
/** Proof of another live run: it answered our word on ourselves this often. One or two may be old records after a clock was set back. */
const duplicateAfter = 3
/** Copies of one data directory, and copies of those: more than anybody makes in one run of the agent. */
const otherRunsMax = 64
const supersededMax = 8

export async function openView(options: ViewOptions): Promise<ReplicatedView> {
  const { self, clock, random, log, journal } = options
  const store = createStore(self, () => clock.now())
  const { maps, scopes } = store
  const stamps = createStamps(self, clock)
  const sequences = createSequences(drawLog(random))
  const counts = new Map<string, number>()
  const watchers = new Set<(notice: Notice) => void>()
  const lackedFrom = new Map<NodeId, Map<Scope, Dots>>()
  const lostSpecs = new Map<string, LostSpec[]>()
  let hooks: ViewHooks | undefined
  /** How often each other run of this node answered. */
  const otherRuns = new Map<string, number>()
  /** Of a re-seed that is being taken in: it is written in one piece. */
  let noteLater: Entry[] | undefined

  for (const entry of journal.entries) replay(entry, { self, store, sequences })
  if (journal.found !== 'whole') sequences.restart(drawLog(random))
  leap()
  for (const scope of scopesEverywhere) journal.note(store.hold(scope))
  await journal.begin(function* () {
    yield ['log', sequences.log]
    for (const [scope, end] of sequences.ends()) yield ['seq', scope, end]
    yield* store.snapshot()
  })

  const writer = createWriter({
    self,
    clock,
    store,
    stamps,
    sequences,
    journal,
    issuedBefore: new Map(sequences.ends()),
    takeIn: (records, journalled) =>
      finish(
        records.map((record) => store.take(record)),
        journalled,
      ),
    publish: (scope, records) => hooks?.publish(scope, records),
    spread,
  })

  /**
   * After a crash counting goes on far behind what may have been shown, at a place that nobody can foresee. A run on an older copy of the journal
   * would else give the numbers of the run before it to other writes, and the first members that it meets need not know that run (seed 180 of
   * the soak).
   */
  function leap(): void {
    for (const [scope, end] of sequences.ends()) {
      const own = scopes
        .get(scope)
        ?.digest()
        .get(authorKey({ node: self, log: sequences.log }))
      if (end > highest(own?.covered ?? noRanges)) sequences.restore(scope, end + Math.ceil(random.next() * leapMax))
    }
  }

  function count(what: string, by = 1): void {
    counts.set(what, (counts.get(what) ?? 0) + by)
  }

  function tell(notice: Notice): void {
    for (const watcher of [...watchers]) watcher(notice)
  }

  function note(entries: readonly Entry[]): void {
    if (noteLater === undefined) journal.note(entries)
    else noteLater.push(...entries)
  }

  function finish(taken: readonly Taken[], journalled: boolean): void {
    if (!journalled) note(taken.flatMap((one) => one.entries))
    for (const { lostSpec } of taken) if (lostSpec !== undefined) reportLost(lostSpec)
    tellChanges(taken.flatMap((one) => one.changes))
  }

  function tellChanges(changes: readonly Change[]): void {
    if (changes.length > 0) tell({ kind: 'changes', changes })
  }

  function reportLost(lost: LostSpec): void {
    const { id, author, value } = lost.lost
    lostSpecs.set(id, [lost, ...(lostSpecs.get(id) ?? [])].slice(0, supersededMax))
    const name = value?.spec.Name ?? id
    options.events.emit({
      type: 'service',
      action: 'superseded',
      id,
      name,
      sentence: `${name}: an update made on ${nameOf(author.node)} was pushed out by a concurrent one from ${nameOf(lost.winner.author.node)} (${lost.fields.join(', ')})`,
      attributes: { by: author.node, fields: lost.fields.join(',') },
    })
  }

  function nameOf(node: NodeId): string {
    return maps.view.members.get(node)?.record.value.name ?? node
  }

  function apply(scope: Scope, wires: readonly unknown[], from: NodeId, covered?: Dots): readonly StateRecord[] {
    const state = scopes.get(scope)
    if (state === undefined) {
      count('dropped.not-held', wires.length)
      return []
    }
    const taken: Taken[] = []
    const read: StateRecord[] = []
    const refused = new Map<string, Ranges>()
    for (const wire of wires) {
      const parsed = parseRecord(scope, wire)
      if (parsed.kind === 'malformed') {
        count('dropped.malformed')
        continue
      }
      const stamp = parsed.kind === 'record' ? parsed.record : parsed
      const why =
        parsed.kind === 'refused' ? parsed.why : stamps.isTooFarAhead(parsed.record.version) ? 'clock' : undefined
      if (why !== undefined) {
        if (state.refuse(stamp.author, stamp.seq)) {
          count(`refused.${why}`)
          log.debug('refused a record', { from, why, author: stamp.author.node })
        }
        const author = authorKey(stamp.author)
        refused.set(author, union(refused.get(author) ?? noRanges, [[stamp.seq, stamp.seq]]))
        continue
      }
      if (parsed.kind !== 'record') continue
      read.push(parsed.record)
      stamps.observe(parsed.record.version)
      if (parsed.record.author.node === self) inspectOwn(parsed.record)
      const one = store.take(parsed.record)
      if (one.merged.kind === 'scattered') count('dropped.scattered')
      taken.push(one)
    }
    finish(taken, false)
    if (covered !== undefined) {
      note(store.cover(scope, subtractDots(covered, refused)))
    }
    return read
  }

  /** A record that bears this node's own name came from outside: an echo, or the sign of a copied or restored data directory. */
  function inspectOwn(record: StateRecord): void {
    if (record.kind === 'member' && record.value !== null) inspectOtherRun(record as StateRecord<'member'>)
    if (record.author.log !== sequences.log) return
    const held = scopes.get(record.scope)?.records.get(recordKey(record))
    const sameDot = held?.seq === record.seq && held.author.log === record.author.log
    if (record.seq > sequences.issued(record.scope) || (sameDot && compareVersions(held.version, record.version) !== 0))
      startNewLog()
  }

  function startNewLog(): void {
    count('own-log.restarted')
    log.warn(
      'members know more of this node than it does itself: its data directory is an older copy; it writes under a new log from here',
    )
    writer.startNewLog(drawLog(random))
    hooks?.hurry()
  }

  function inspectOtherRun({ value, version }: StateRecord<'member'>): void {
    const own = scopes.get('cluster')?.records.get(`member/${self}`) as StateRecord<'member'> | undefined
    if (value === null || value.run === options.run || own?.value?.run !== options.run) return
    if (compareVersions(version, own.version) < 0) return
    const answers = (otherRuns.get(value.run) ?? 0) + 1
    if (answers > 1 || otherRuns.size < otherRunsMax) otherRuns.set(value.run, answers)
    const yields =
      options.startedMs > value.startedMs || (options.startedMs === value.startedMs && options.run > value.run)
    if (yields && answers >= duplicateAfter) writer.stop()
    else {
      stamps.observe(version)
      writer.put({ scope: 'cluster', kind: 'member', id: self, value: own.value })
    }
    if (answers < duplicateAfter) hooks?.hurry()
    if (answers !== duplicateAfter) return
    log.error('another agent runs under the id of this node: its data directory was copied', { yields })
    options.onDuplicate({ other: value, yields })
  }

  async function spread(records: readonly StateRecord[]): Promise<boolean> {
    const attached = hooks
    if (attached === undefined) return false
    const scopesOf = [...new Set(records.map((record) => record.scope))]
    const able = attached.connected().filter((node) => {
      return maps.view.members.get(node)?.liveness === 'alive' && scopesOf.every((scope) => isHolder(node, scope))
    })
    const order = able.map((node) => ({ node, at: random.next() })).sort((a, b) => a.at - b.at)
    return new Promise((resolve) => {
      let next = 0
      let open = 0
      const cancel = clock.after(spreadMs, () => resolve(false))
      const settle = (held: boolean): void => {
        cancel()
        resolve(held)
      }
      const ask = (): void => {
        const candidate = order[next++]
        if (candidate === undefined) {
          if (open === 0) settle(false)
          return
        }
        open++
        attached.pushDurably(candidate.node, records).then((held) => {
          open--
          if (held) settle(true)
          else ask()
        })
      }
      for (let i = 0; i < spreadWidth; i++) ask()
    })
  }

  function isHolder(node: NodeId, scope: Scope): boolean {
    const member = maps.view.members.get(node)
    if (member === undefined) return false
    return (
      scopesEverywhere.includes(scope) ||
      member.record.value.networks.some((network) => networkScope(network) === scope)
    )
  }

  function digest(scope: Scope): Digest {
    return scopes.get(scope)?.digest() ?? new Map()
  }

  return {
    self,
    found: journal.found,
    get revision() {
      return maps.view.revision
    },
    get settings() {
      return maps.view.settings
    },
    members: maps.view.members,
    removals: maps.view.removals,
    tokens: maps.view.tokens,
    networks: maps.view.networks,
    services: maps.view.services,
    tasks: maps.view.tasks,
    slotsOf: maps.view.slotsOf,
    ownTasks: maps.view.ownTasks,
    endpoints: maps.view.endpoints,
    guests: maps.view.guests,
    counts,
    count,
    put: (write) => writer.put(write),
    commit: (writes) => writer.commit(writes),
    attach(given) {
      hooks = given
    },
    watch(listener) {
      const changes: Change[] = []
      for (const state of scopes.values()) {
        for (const { scope, kind, id, value, version, author } of state.records.values()) {
          if (value !== null)
            changes.push({ scope, kind, id, before: undefined, after: { id, value, version, author } })
        }
      }
      watchers.add(listener)
      listener({ kind: 'snapshot', changes })
      return () => watchers.delete(listener)
    },
    setLiveness(node, liveness, nowMs) {
      const before = maps.setLiveness(node, liveness, nowMs)
      if (liveness === 'dead' || liveness === 'left') {
        stamps.forgetClock(node)
        lackedFrom.delete(node)
      }
      if (before !== undefined) tell({ kind: 'liveness', node, before, after: liveness })
    },
    setReach(node, outOfReach) {
      if (maps.setReach(node, outOfReach)) tell({ kind: 'reach', node })
    },
    setStale(node, isStale) {
      if (maps.setStale(node, isStale)) tell({ kind: 'reach', node })
    },
    noteClock: (node, offsetMs) => stamps.noteClock(node, offsetMs),
    clusterTime: () => stamps.clusterTime(),
    clockOffsetMs: () => stamps.offsetMs(),
    stamp: () => stamps.issue(undefined, true),
    scopes: () => [...scopes.keys()].sort(),
    holds: (scope) => scopes.has(scope),
    holdScope: (scope) => journal.note(store.hold(scope)),
    dropScope(scope) {
      if (!scopes.has(scope) || scopesEverywhere.includes(scope)) return
      const { changes, entries } = store.drop(scope)
      journal.note(entries)
      for (const lacked of lackedFrom.values()) lacked.delete(scope)
      tellChanges(changes)
    },
    isHolder,
    digest,
    delta: (scope, wants, bytesMax) => scopes.get(scope)?.delta(wants, bytesMax) ?? { records: [], covered: new Map() },
    apply,
    synced: () => journal.append([]),
    compare(scope, from, theirs) {
      const own = theirs.get(authorKey({ node: self, log: sequences.log }))
      if (own !== undefined && highest(own.covered) > sequences.issued(scope)) startNewLog()
      const ours = digest(scope)
      const weLack = missing(ours, theirs)
      const lacked = lackedFrom.get(from) ?? new Map<Scope, Dots>()
      // What a double of this node wrote, and gave to nobody else, goes with it: to wait for it would have no end (seed 171 of the soak).
      if (weLack.size > 0 && from !== self) lacked.set(scope, weLack)
      else lacked.delete(scope)
      if (lacked.size > 0) lackedFrom.set(from, lacked)
      else lackedFrom.delete(from)
      return { weLack, theyLack: missing(theirs, ours) }
    },
    need(scope) {
      let known: Dots = new Map()
      // Who let go of it gives nothing any more.
      for (const [node, lacked] of lackedFrom)
        if (isHolder(node, scope)) known = uniteDots(known, lacked.get(scope) ?? new Map())
      if (known.size === 0) return 0
      return countDots(subtractDots(known, takenIn(digest(scope))))
    },
    applied: () => store.applied(),
    tombstones: (scope) => store.tombstones(scope),
    collect(scope, keys) {
      if (keys.length > 0) journal.note(store.collect(scope, keys))
    },
    collected: (scope) => scopes.get(scope)?.collected() ?? new Map(),
    wasDeleted: store.wasDeleted,
    retryRefused() {
      for (const state of scopes.values()) state.retryRefused()
    },
    reseed(scope, from, { theirs, chunks, before }) {
      const taken: Entry[] = []
      noteLater = taken
      try {
        const seen = chunks.flatMap(({ records, covered }) => apply(scope, records, from, covered))
        const keys = strayKeys(scopes.get(scope)?.records ?? new Map<string, StateRecord>(), { theirs, seen })
        const { changes, entries } = store.discard(scope, keys)
        // What goes comes first: of a write that a crash cut short, no number is known before what it deletes is gone.
        taken.unshift(...entries, ...store.letGo(scope, emptyDots(theirs, seen, before)))
        tellChanges(changes)
        return keys.length
      } finally {
        noteLater = undefined
        journal.note(taken)
      }
    },
    superseded: (service) => lostSpecs.get(service) ?? [],
    journalFailing: () => journal.failing(),
    async close() {
      const ends = [...scopes.keys()].map((scope) => ['seq', scope, sequences.issued(scope)] as const)
      await journal
        .append(ends)
        .catch((error: unknown) => log.warn('the journal could not be closed cleanly', { reason: String(error) }))
      await journal.close()
    },
  }
}

/** A million: two runs that begin at one place meet in one of a thousand, and a log has room for billions of crashes. */
const leapMax = 2 ** 20

function drawLog(random: Random): string {
  return [...random.bytes(8)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** Covered or refused: what need not be asked for. */
function takenIn(digest: Digest): Dots {
  return new Map([...digest].map(([author, { covered, refused }]) => [author, union(covered, refused)]))
}
