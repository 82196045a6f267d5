/**
 * Numbers for this node's writes, and which of them may be shown to others (design.md 3: durable before anything stamped with them is published).
 *
 * Blocks of numbers are reserved ahead in the journal, so that a write needs no fsync of its own; after a crash counting goes on somewhere
 * behind the reserved block (open.ts). A new log starts every scope at 1 again.
 */
import type { Scope } from '../../protocol/model.ts'

/** 1024 writes: at 100 a second ten seconds' worth, and a hole of that many numbers after a crash costs one range. */
const block = 1024

export interface Sequences {
  readonly log: string
  issue(scope: Scope): number
  issued(scope: Scope): number
  /** Whether everything up to `seq` may be shown. */
  isDurable(scope: Scope, seq: number): boolean
  /** End of the block to reserve now, or undefined while the present one lasts. */
  wanted(scope: Scope): number | undefined
  /** A reservation was sent to the journal, is on the disk, or failed. */
  asked(scope: Scope, to: number): void
  reserved(scope: Scope, to: number): void
  failed(scope: Scope): void
  /** From the journal: everything up to `to` may have been shown. `exactly` for the last word of a clean stop. */
  restore(scope: Scope, to: number): void
  restart(log: string): void
  /** Scopes with their reserved ends, for the snapshot. */
  ends(): readonly (readonly [Scope, number])[]
}

interface Counter {
  issued: number
  asked: number
  durable: number
}

export function createSequences(firstLog: string): Sequences {
  let log = firstLog
  const counters = new Map<Scope, Counter>()

  function counter(scope: Scope): Counter {
    let found = counters.get(scope)
    if (found === undefined) {
      found = { issued: 0, asked: 0, durable: 0 }
      counters.set(scope, found)
    }
    return found
  }

  return {
    get log() {
      return log
    },
    issue: (scope) => ++counter(scope).issued,
    issued: (scope) => counters.get(scope)?.issued ?? 0,
    isDurable: (scope, seq) => seq <= counter(scope).durable,
    wanted(scope) {
      const { issued, asked } = counter(scope)
      return issued + block / 2 > asked ? issued + block : undefined
    },
    asked(scope, to) {
      const own = counter(scope)
      own.asked = Math.max(own.asked, to)
    },
    reserved(scope, to) {
      const own = counter(scope)
      own.durable = Math.max(own.durable, to)
    },
    failed(scope) {
      const own = counter(scope)
      own.asked = own.durable
    },
    restore(scope, to) {
      counters.set(scope, { issued: to, asked: to, durable: to })
    },
    restart(next) {
      log = next
      counters.clear()
    },
    ends: () => [...counters].map(([scope, { issued, asked }]) => [scope, Math.max(issued, asked)] as const),
  }
}
