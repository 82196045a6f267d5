/**
 * Anti-entropy: compares digests with one member at a time, then fetches what is lacked here and gives what is lacked there, in chunks.
 *
 * One exchange makes both sides equal, whoever began it. Answers hold no state between requests, so any number of exchanges at once finish. A
 * node that lacks tombstones that are gone elsewhere takes that member's state first and contributes afterwards (design.md 3).
 */
import { type Digest, type Dots, spokenFor, subtractDots } from '../../protocol/digest.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import {
  chunkMessage,
  chunkSchema,
  digestsMessage,
  digestsSchema,
  pullMessage,
  pullSchema,
  pushedMessage,
  pushedSchema,
  pushMessage,
  pushSchema,
  type Read,
  read,
  requestKinds,
} from '../../protocol/messages.ts'
import { type Scope, type StateRecord, scopesEverywhere } from '../../protocol/model.ts'
import { fault, reasonOf } from '../fault.ts'
import type { Times } from '../presets.ts'
import type { Given, ReplicatedView } from '../view.ts'
import type { Cancel, Clock, Log, Random, Transport } from '../world.ts'
import { hasTaken, lacksCollected, refusesDelete, within } from './sync-compare.ts'

/** Where a scope stands: against one holder, nothing is missing; something is; nobody else holds it as far as known. */
export type Readiness = 'caught-up' | 'behind' | 'no-holder'

export interface Sync {
  start(): void
  stop(): void
  /** Call from Transport's onConnected. */
  onConnected(node: NodeId): void
  /**
   * Call when a member that was believed dead is up again: fetches what it wrote meanwhile, such as that a task stopped. Until then clients are led there
   * by what was known before only when nothing else is left.
   */
  onReturned(node: NodeId): void
  /** Call after holdScope: fetches the scope from a holder now. */
  onHeld(scope: Scope): void
  /** Call from Transport's onRequest; undefined when the kind is none of ours. */
  onRequest(from: NodeId, kind: string, bytes: Uint8Array): Promise<Uint8Array> | undefined
  /** Before this node lets go of a scope: resolves when another holder has all that is here, or three could not be told. Never rejects. */
  handOver(scope: Scope): Promise<void>
  /** One exchange; resolves to whether all of it was done. Never rejects. */
  exchange(node: NodeId): Promise<boolean>
  /**
   * The next few exchanges follow in short time: for a node that may not be the only one under its id. What the other says reaches it by
   * sync alone, since gossip gives nothing back to where it seems to come from.
   */
  hurry(): void
  readiness(scope: Scope): Readiness
  /** The view's `applied()` up to which a member is known to have everything of a scope; 0 at first. */
  coveredThrough(node: NodeId, scope: Scope): number
  /** The view's hook: whether the member has the records on its disk. */
  pushDurably(node: NodeId, records: readonly StateRecord[]): Promise<boolean>
}

export interface SyncOptions {
  readonly view: ReplicatedView
  readonly transport: Pick<Transport, 'request' | 'connected' | 'keeps'>
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly times: Pick<Times, 'syncEveryMs'>
}

/** 5 s for one chunk of 256 KB: a link slower than 50 KB/s cannot keep up with a cluster. */
const requestMs = 5_000
/** 200 ms for the other's answer to reach the members, doubled three times: a link that was just taken over is back within 2 s. */
const hurryMs = 200
const hurriedMax = 4
/** Holders that are tried, 5 s each at most, before a scope is let go of untold. */
const toldMax = 3
/** Who is behind asks so many at once, beside those it keeps connections with: each would send it the same. */
const visitsAtOnce = 3
/** What one member was told by sync, it does not gossip on: the other side may be asking another. */
const hurriedWidth = 3
/** Rows of digests in one message: 60 bytes each keep it well under limits.requestBytesMax. */
const rowsMax = 5_000
/** 10: a holder that has changed each time is read anew with the next exchange. */
const readRoundsMax = 10

export function createSync(options: SyncOptions): Sync {
  const { view, transport, clock, random, log, times } = options
  const lastMs = new Map<NodeId, number>()
  const through = new Map<NodeId, Map<Scope, number>>()
  const caughtUp = new Set<Scope>()
  const reseeding = new Set<Scope>()
  const running = new Map<NodeId, Promise<boolean>>()
  let timer: Cancel | undefined
  let hurried = 0
  let troubled: string | undefined
  let stopped = false

  function speakable(): readonly Scope[] {
    return view.scopes().filter((scope) => !reseeding.has(scope))
  }

  async function ask<T>(
    node: NodeId,
    kind: string,
    message: Uint8Array,
    reader: (bytes: Uint8Array) => Read<T>,
  ): Promise<T> {
    const answer = reader(await transport.request(node, kind, message, requestMs))
    if (answer.kind === 'ok') return answer.value
    view.count(`sync.${answer.why}`)
    throw fault('unavailable', `${node} ${answer.sentence}`)
  }

  /** Joined, not queued, when one with this member runs: what the running one misses, the next finds. */
  function exchange(node: NodeId): Promise<boolean> {
    const present = running.get(node)
    if (present !== undefined) return present
    lastMs.set(node, clock.now())
    const one = exchangeAll(node).then(
      () => {
        troubled = undefined
        return true
      },
      (error: unknown) => {
        view.count('sync.failed')
        if (troubled !== reasonOf(error)) log.debug('sync failed; it is tried again', { node, reason: reasonOf(error) })
        troubled = reasonOf(error)
        return false
      },
    )
    running.set(node, one)
    return one.finally(() => running.delete(node))
  }

  async function exchangeAll(node: NodeId): Promise<void> {
    for (const group of groups(speakable().filter((scope) => view.isHolder(node, scope) || !view.members.has(node)))) {
      const before = group.map((scope) => [scope, view.digest(scope)] as const)
      const mark = view.applied()
      const answer = await ask(node, requestKinds.digest, digestsMessage(before, []), (bytes) =>
        read(digestsSchema, bytes),
      )
      for (const [scope, theirs] of answer.scopes) {
        if (view.holds(scope)) await exchangeScope(node, { scope, theirs, mark, reseed: answer.reseed.includes(scope) })
      }
    }
  }

  async function exchangeScope(
    node: NodeId,
    { scope, theirs, mark, reseed }: { scope: Scope; theirs: Digest; mark: number; reseed: boolean },
  ): Promise<void> {
    if (reseed) await reseedFrom(node, scope, theirs)
    // They would give back what was deleted: they re-seed when they ask us.
    if (lacksCollected(view, scope, theirs)) return
    const { weLack, theyLack } = view.compare(scope, node, theirs)
    await pull(node, scope, weLack, ({ records, covered }) => view.apply(scope, records, node, covered))
    if (view.need(scope) === 0) caughtUp.add(scope)
    if ((await push(node, scope, theyLack)) && !refusesDelete(view, scope, theirs)) noteThrough(node, scope, mark)
  }

  /** Ends early when the member has no more to give. */
  async function pull(node: NodeId, scope: Scope, wants: Dots, take: (chunk: Given) => void): Promise<void> {
    let rest = wants
    while (rest.size > 0) {
      const chunk = await ask(node, requestKinds.pull, pullMessage(scope, rest), (bytes) => read(chunkSchema, bytes))
      if (chunk.scope !== scope || !chunk.held) throw fault('unavailable', `${node} does not speak for ${scope} now`)
      const covered = within(chunk.covered, rest)
      take({ records: chunk.records, covered })
      const left = subtractDots(rest, covered)
      if (covered.size === 0) break
      rest = left
    }
  }

  /** Resolves to whether the member took all of it in. */
  async function push(node: NodeId, scope: Scope, lacks: Dots): Promise<boolean> {
    let rest = lacks
    let all = true
    while (rest.size > 0) {
      const chunk = view.delta(scope, rest, limits.syncChunkBytesMax)
      if (chunk.covered.size === 0) break
      const { ok } = await ask(node, requestKinds.push, pushMessage(scope, chunk, false), (bytes) =>
        read(pushedSchema, bytes),
      )
      all &&= ok
      rest = subtractDots(rest, chunk.covered)
    }
    return all
  }

  async function reseedFrom(node: NodeId, scope: Scope, theirs: Digest): Promise<void> {
    reseeding.add(scope)
    const before = view.digest(scope)
    try {
      const gone = view.reseed(scope, node, { ...(await readAll(node, scope, theirs)), before })
      view.count('sync.reseeded')
      if (gone > 0)
        log.warn('was away for long: records that the cluster deleted meanwhile are gone here too', { scope, gone })
    } finally {
      reseeding.delete(scope)
    }
  }

  /**
   * What a holder has, all at one moment. What changes while it is read moves to another number, and would pass for deleted (seed 148 of the soak), so
   * what is new is read too until nothing is. Nothing is taken in before the end: who had taken in half of it, and then lost the holder or its power,
   * would count numbers of deletes as known whose records it still holds (seed 198 of the soak).
   */
  async function readAll(node: NodeId, scope: Scope, first: Digest) {
    const chunks: Given[] = []
    let theirs = first
    let wants = spokenFor(first)
    for (let round = 0; wants.size > 0; round++) {
      if (round === readRoundsMax) throw fault('unavailable', `${node} changes faster than ${scope} can be read`)
      await pull(node, scope, wants, (chunk) => chunks.push(chunk))
      const now = await digestOf(node, scope)
      wants = subtractDots(spokenFor(now), spokenFor(theirs))
      theirs = now
    }
    return { theirs, chunks }
  }

  async function digestOf(node: NodeId, scope: Scope): Promise<Digest> {
    const question = digestsMessage([[scope, view.digest(scope)]], [])
    const { scopes } = await ask(node, requestKinds.digest, question, (bytes) => read(digestsSchema, bytes))
    const found = scopes.find(([answered]) => answered === scope)
    if (found === undefined) throw fault('unavailable', `${node} does not speak for ${scope} now`)
    return found[1]
  }

  /**
   * Whether a new connection is worth comparing everything. In a large cluster most are opened for a question of the detector, 5 a second at each node,
   * and would cost as much as all members' numbers each; those find their turn among the partners.
   */
  function hasMuchToTell(node: NodeId): boolean {
    if (transport.keeps(node)) return true
    const shared = view.scopes().filter((scope) => view.isHolder(node, scope) || !view.members.has(node))
    const isBehind = (scope: Scope) => running.size < visitsAtOnce && readiness(scope) === 'behind'
    return shared.some((scope) => !scopesEverywhere.includes(scope) || isBehind(scope))
  }

  function readiness(scope: Scope): Readiness {
    if (caughtUp.has(scope) && view.need(scope) === 0) return 'caught-up'
    const others = [...view.members.values()].filter(
      ({ id, liveness }) => id !== view.self && (liveness === 'alive' || liveness === 'suspect'),
    )
    return others.some(({ id }) => view.isHolder(id, scope)) ? 'behind' : 'no-holder'
  }

  function noteThrough(node: NodeId, scope: Scope, mark: number): void {
    const scopes = through.get(node) ?? new Map<Scope, number>()
    scopes.set(scope, Math.max(mark, scopes.get(scope) ?? 0))
    through.set(node, scopes)
  }

  function answerDigests(from: NodeId, bytes: Uint8Array): Uint8Array {
    const asked = open(read(digestsSchema, bytes))
    const answers: (readonly [Scope, Digest])[] = []
    const reseed: Scope[] = []
    for (const [scope, theirs] of asked.scopes) {
      if (!view.holds(scope) || reseeding.has(scope)) continue
      answers.push([scope, view.digest(scope)])
      if (lacksCollected(view, scope, theirs)) {
        reseed.push(scope)
        continue
      }
      const { theyLack } = view.compare(scope, from, theirs)
      if (theyLack.size === 0 && !refusesDelete(view, scope, theirs)) noteThrough(from, scope, view.applied())
    }
    return digestsMessage(answers, reseed)
  }

  function answerPull(bytes: Uint8Array): Uint8Array {
    const { scope, wants } = open(read(pullSchema, bytes))
    if (!view.holds(scope) || reseeding.has(scope)) return chunkMessage(scope, undefined)
    return chunkMessage(scope, view.delta(scope, wants, limits.syncChunkBytesMax))
  }

  async function answerPush(from: NodeId, bytes: Uint8Array): Promise<Uint8Array> {
    const { scope, records, covered, durable } = open(read(pushSchema, bytes))
    if (!view.holds(scope)) return pushedMessage(false)
    const readable = view.apply(scope, records, from, covered)
    const ok = readable.length === records.length && hasTaken(view, scope, readable)
    if (!durable || !ok) return pushedMessage(ok)
    return view.synced().then(
      () => pushedMessage(true),
      () => pushedMessage(false),
    )
  }

  function open<T>(message: Read<T>): T {
    if (message.kind === 'ok') return message.value
    view.count(`sync.${message.why}`)
    throw fault('invalid', message.sentence)
  }

  async function answer(from: NodeId, kind: string, bytes: Uint8Array): Promise<Uint8Array> {
    if (kind === requestKinds.digest) return answerDigests(from, bytes)
    return kind === requestKinds.pull ? answerPull(bytes) : answerPush(from, bytes)
  }

  function groups(scopes: readonly Scope[]): readonly (readonly Scope[])[] {
    const out: Scope[][] = []
    let rows = Number.POSITIVE_INFINITY
    for (const scope of scopes) {
      const size = view.digest(scope).size + 1
      if (rows + size > rowsMax) {
        out.push([])
        rows = 0
      }
      out.at(-1)?.push(scope)
      rows += size
    }
    return out
  }

  /** The members not synced with for longest; of equals, by chance, so that not everybody asks the same one. */
  function partners(count: number): readonly NodeId[] {
    const waiting = transport.connected().map((node) => ({ node, at: lastMs.get(node) ?? -1, chance: random.next() }))
    return waiting
      .sort((a, b) => a.at - b.at || a.chance - b.chance)
      .slice(0, count)
      .map(({ node }) => node)
  }

  /** A third of jitter, so that exchanges of a cluster that started at once spread out. */
  function schedule(): void {
    if (stopped) return
    const isHurried = hurried > 0
    const usualMs = times.syncEveryMs * (0.83 + random.next() / 3)
    timer = clock.after(isHurried ? hurryMs * 2 ** (hurriedMax - hurried--) : usualMs, () => {
      for (const node of partners(isHurried ? hurriedWidth : 1)) void exchange(node)
      for (const known of [...lastMs.keys()]) if (view.removals.has(known)) lastMs.delete(known)
      schedule()
    })
  }

  return {
    start() {
      schedule()
      for (const node of transport.connected()) void exchange(node)
    },
    stop() {
      stopped = true
      timer?.()
    },
    onConnected(node) {
      if (!stopped && hasMuchToTell(node)) void exchange(node)
    },
    onReturned(node) {
      if (stopped || !transport.connected().includes(node) || !hasMuchToTell(node)) return
      view.setStale(node, true)
      void exchange(node).then(() => view.setStale(node, false))
    },
    onHeld(scope) {
      caughtUp.delete(scope)
      const holder = transport.connected().find((node) => view.isHolder(node, scope))
      if (holder === undefined) return
      // One that runs may have begun without this scope.
      void (running.get(holder) ?? Promise.resolve()).then(() => exchange(holder))
    },
    async handOver(scope) {
      const holders = transport.connected().filter((node) => view.isHolder(node, scope))
      for (const holder of holders.slice(0, toldMax)) {
        // One that runs may have begun before the last of it was written.
        await running.get(holder)
        if (await exchange(holder)) return
      }
    },
    onRequest(from, kind, bytes) {
      const ours: readonly string[] = Object.values(requestKinds)
      return ours.includes(kind) ? answer(from, kind, bytes) : undefined
    },
    exchange,
    hurry() {
      hurried = hurriedMax
      timer?.()
      schedule()
    },
    readiness,
    coveredThrough: (node, scope) => through.get(node)?.get(scope) ?? 0,
    async pushDurably(node, records) {
      try {
        for (const scope of new Set(records.map((record) => record.scope))) {
          const ofScope = records.filter((record) => record.scope === scope)
          const message = pushMessage(scope, { records: ofScope, covered: new Map() }, true)
          const { ok } = await ask(node, requestKinds.push, message, (bytes) => read(pushedSchema, bytes))
          if (!ok) return false
        }
        return true
      } catch {
        return false
      }
    },
  }
}
