// The one way a test waits: poll a condition until it holds or the deadline passes. Tests never sleep for a fixed time, since
// a sleep is too long on a fast machine and too short on a busy one. A failure tells the last value seen.
import { setTimeout as pause } from 'node:timers/promises'
import { inspect } from 'node:util'

export interface UntilOptions {
  /** Milliseconds after which waiting ends in an error; in CI three times as many (`patience`). */
  readonly deadlineMs: number
  /** Milliseconds between two looks. Default 20: below what a person or a budget of ours notices, and cheap. */
  readonly everyMs?: number
  /** What is awaited, as the rest of the sentence "waited … ms for …". */
  readonly what: string
}

/**
 * Returns the first truthy value of `condition`. A condition that throws counts as not yet true, and its error is reported as
 * the last value seen, so `until(() => client.get(...))` may be used while a listener is still coming up. The condition is
 * looked at once more after the deadline, so that a stalled machine does not fail a test whose condition holds. A look that
 * never settles ends at the deadline too.
 */
export async function until<T>(condition: () => T | Promise<T>, options: UntilOptions): Promise<Exclude<T, Falsy>> {
  const { everyMs = 20, what } = options
  const deadlineMs = options.deadlineMs * patience
  const start = performance.now()
  let last: unknown
  for (;;) {
    const late = performance.now() - start >= deadlineMs
    const leftMs = Math.max(deadlineMs - (performance.now() - start), 0)
    const seen = await look(condition, leftMs + GRACE_MS)
    if (seen.ok && seen.value) return seen.value as Exclude<T, Falsy>
    last = seen.value
    if (late || performance.now() - start >= deadlineMs + GRACE_MS) break
    await pause(everyMs)
  }
  const shown = inspect(last, { depth: 4, breakLength: 120 })
  throw new Error(`waited ${Math.round(performance.now() - start)} ms for ${what}; last seen: ${shown}`)
}

/**
 * How much longer than on a machine of one's own a test waits before it gives up. A deadline ends a wait in vain; what must be quick is measured
 * with a clock, there and everywhere.
 */
export const patience = process.env.CI === 'true' ? 3 : 1

/** 1 s: a look that began in time, or the last one, may still take this long on a stalled machine. */
const GRACE_MS = 1_000

type Falsy = false | 0 | '' | null | undefined

type Seen<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly value: unknown }

async function look<T>(condition: () => T | Promise<T>, boundMs: number): Promise<Seen<T>> {
  const bound = new AbortController()
  const stuck = pause(boundMs, 'a look that did not return', { signal: bound.signal }).then(
    (value): Seen<T> => ({ ok: false, value }),
    (error: unknown): Seen<T> => ({ ok: false, value: error }),
  )
  try {
    return await Promise.race([Promise.resolve(condition()).then((value): Seen<T> => ({ ok: true, value })), stuck])
  } catch (error) {
    return { ok: false, value: error }
  } finally {
    bound.abort()
  }
}
