/**
 * Chooses the endpoint for a new flow (design.md 8, "Picking").
 *
 * Suspect endpoints only when nothing else exists; unhealthy or ejected ones only when more than half are (no black hole: a wrong check or
 * a fault of this node's own must not take a service away); then the less active of two random ones, or the client's own by Maglev.
 */
import type { TaskId } from '../../../protocol/ids.ts'
import { type MaglevTable, maglevPick, maglevTable } from './maglev.ts'
import type { Backend } from './types.ts'

export interface PickFacts {
  /** In [0, 1). */
  random(): number
  /** Flows that this node has open to the task. */
  active(task: TaskId): number
  /** This node saw it fail a moment ago (ejection.ts). */
  ejected(task: TaskId): boolean
  /** Endpoints that this very flow has tried in vain. */
  readonly tried: ReadonlySet<TaskId>
  /** Set for client-ip affinity: the client's address and the table of `affinityTable`. */
  readonly affinity?: { readonly client: string; readonly table: MaglevTable } | undefined
}

/** Undefined when every endpoint has been tried or there is none. */
export function pick(backends: readonly Backend[], facts: PickFacts): Backend | undefined {
  const usable = candidates(backends, facts)
  const { affinity } = facts
  if (affinity !== undefined) {
    const task = maglevPick(affinity.table, affinity.client, (name) => usable.some((b) => b.task === name))
    const own = usable.find((b) => b.task === task)
    if (own !== undefined) return own
  }
  return lessActive(usable, facts)
}

/** The table for client-ip affinity. It leaves out what only this node knows, so that every node sends a client to the same place. */
export function affinityTable(backends: readonly Backend[]): MaglevTable {
  return maglevTable(settled(backends).map((b) => b.task))
}

/** Those among which every node that knows the same chooses: not suspect unless all are, healthy unless more than half are not. */
export function settled(backends: readonly Backend[]): readonly Backend[] {
  const pool = unlessSuspect(backends)
  const healthy = pool.filter((b) => b.healthy)
  return inPanic(pool.length - healthy.length, pool.length) ? pool : healthy
}

function candidates(backends: readonly Backend[], facts: PickFacts): readonly Backend[] {
  const { tried } = facts
  // Nearly always, and then nothing needs to be sorted out.
  if (tried.size === 0 && allGood(backends, facts)) return backends
  const pool = unlessSuspect(backends)
  const good = pool.filter((b) => b.healthy && !facts.ejected(b.task))
  const preferred = inPanic(pool.length - good.length, pool.length) ? pool : good
  if (tried.size === 0 && preferred.length > 0) return preferred
  for (const tier of [preferred.filter((b) => good.includes(b)), preferred, pool, backends]) {
    const untried = tier.filter((b) => !tried.has(b.task))
    if (untried.length > 0) return untried
  }
  return []
}

function allGood(backends: readonly Backend[], facts: PickFacts): boolean {
  for (const b of backends) if (b.suspect || !b.healthy || facts.ejected(b.task)) return false
  return true
}

function unlessSuspect(backends: readonly Backend[]): readonly Backend[] {
  const sure = backends.filter((b) => !b.suspect)
  return sure.length === 0 ? backends : sure
}

function inPanic(bad: number, all: number): boolean {
  return bad * 2 > all
}

/** The power of two choices (Mitzenmacher 2001): nearly as even as least-active, without a herd on the newest endpoint. */
function lessActive(usable: readonly Backend[], facts: PickFacts): Backend | undefined {
  if (usable.length < 2) return usable[0]
  const first = Math.floor(facts.random() * usable.length)
  const other = Math.floor(facts.random() * (usable.length - 1))
  const a = usable[first]!
  const b = usable[other >= first ? other + 1 : other]!
  return facts.active(b.task) < facts.active(a.task) ? b : a
}
