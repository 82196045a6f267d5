/**
 * What one fault did, in milliseconds after it, node by node: a pure fold over what was seen from outside.
 *
 * `avoided`: this survivor no longer calls the node ready. `dropped`: its resolver no longer names the node's tasks. `replaced`: it counts
 * every slot running on nodes that are ready. `rejoined`: after the return, it calls the node ready again.
 */
import type { Seen } from './watch.ts'

export interface Fault {
  readonly node: string
  readonly kind: 'killed' | 'frozen' | 'cut off'
  readonly atMs: number
  readonly slots: number
  /** Addresses of the node's tasks, as each survivor's resolver called them. */
  readonly addresses: ReadonlyMap<string, ReadonlySet<string>>
}

export interface Marks {
  readonly avoidedMs?: number
  readonly droppedMs?: number
  readonly replacedMs?: number
  readonly rejoinedMs?: number
}

export interface Timeline {
  readonly fault: Fault
  readonly survivors: ReadonlyMap<string, Marks>
  /** Monotonic ms of the return; undefined while it is away. */
  readonly returnedMs: number | undefined
}

export function startTimeline(fault: Fault, survivors: readonly string[]): Timeline {
  return { fault, survivors: new Map(survivors.map((name) => [name, {}])), returnedMs: undefined }
}

export function returned(timeline: Timeline, atMs: number): Timeline {
  return { ...timeline, returnedMs: atMs }
}

/** Each mark is set once, at the first look that shows it. */
export function observe(timeline: Timeline, seen: Seen): Timeline {
  const marks = timeline.survivors.get(seen.by)
  if (marks === undefined || seen.atMs < timeline.fault.atMs) return timeline
  const next = marksAfter(timeline, marks, seen)
  return next === marks ? timeline : { ...timeline, survivors: new Map(timeline.survivors).set(seen.by, next) }
}

/** Whether every survivor shows this mark. */
export function allHave(timeline: Timeline, mark: keyof Marks): boolean {
  return [...timeline.survivors.values()].every((marks) => marks[mark] !== undefined)
}

/** The slowest survivor's; undefined until all have it. */
export function slowest(timeline: Timeline, mark: keyof Marks): number | undefined {
  const values = [...timeline.survivors.values()].map((marks) => marks[mark])
  return values.some((value) => value === undefined) ? undefined : Math.max(...(values as number[]))
}

function marksAfter(timeline: Timeline, marks: Marks, seen: Seen): Marks {
  const { fault, returnedMs } = timeline
  const sinceMs = Math.round(seen.atMs - fault.atMs)
  const state = seen.nodes.get(fault.node)
  const ours = fault.addresses.get(seen.by)
  const isDropped = seen.addresses !== undefined && ours !== undefined && ![...ours].some((a) => seen.addresses?.has(a))
  const isReplaced =
    seen.running.size >= fault.slots &&
    ![...seen.running.values()].includes(fault.node) &&
    marks.avoidedMs !== undefined
  const found: Marks = {
    ...(marks.avoidedMs === undefined && state !== 'ready' ? { avoidedMs: sinceMs } : {}),
    ...(marks.droppedMs === undefined && isDropped ? { droppedMs: sinceMs } : {}),
    ...(marks.replacedMs === undefined && isReplaced ? { replacedMs: sinceMs } : {}),
    ...(marks.rejoinedMs === undefined && returnedMs !== undefined && seen.atMs > returnedMs && state === 'ready'
      ? { rejoinedMs: Math.round(seen.atMs - returnedMs) }
      : {}),
  }
  return Object.keys(found).length === 0 ? marks : { ...marks, ...found }
}
