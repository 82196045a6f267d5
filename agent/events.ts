/**
 * What happened on this node lately: a ring that `vine events`, the API and the demo read. Never part of the replicated state.
 */
import type { Clock, Events, NodeEvent } from './world.ts'

/** 1,000 events of about 300 bytes: an hour of a busy cluster for a third of a megabyte. */
const keptMax = 1_000

export interface EventRing extends Events {
  /** Oldest first, from `sinceMs` (wall ms) on. */
  since(sinceMs: number): readonly NodeEvent[]
  /** Calls `listener` for every later event, until the returned function is called. */
  subscribe(listener: (event: NodeEvent) => void): () => void
}

export function createEventRing(clock: Pick<Clock, 'wall'>): EventRing {
  const kept: NodeEvent[] = []
  const listeners = new Set<(event: NodeEvent) => void>()
  return {
    emit(event) {
      const stamped: NodeEvent = { ...event, atMs: clock.wall() }
      kept.push(stamped)
      if (kept.length > keptMax) kept.shift()
      for (const listener of listeners) listener(stamped)
    },
    since: (sinceMs) => kept.filter((event) => event.atMs >= sinceMs),
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}
