/**
 * The real clock and chance, the only ones in the project (world.ts Clock, Random).
 */
import { randomBytes } from 'node:crypto'
import type { Clock, Random } from './world.ts'

/** A late timer tells of the last second's lag only: older trouble is over. */
const lagMemoryMs = 1_000

/** Measures event-loop lag by how late its own timers fire, so that measuring costs no wake-up of its own. */
export function createClock(): Clock {
  let worstMs = 0
  let worstAtMs = 0
  const now = () => performance.now()
  return {
    now,
    wall: () => Date.now(),
    after(ms, task) {
      const dueMs = now() + ms
      const timer = setTimeout(() => {
        const lateMs = Math.max(0, now() - dueMs)
        if (lateMs >= worstMs || now() - worstAtMs > lagMemoryMs) {
          worstMs = lateMs
          worstAtMs = now()
        }
        task()
      }, ms)
      return () => clearTimeout(timer)
    },
    lagMs: () => (now() - worstAtMs > lagMemoryMs ? 0 : worstMs),
  }
}

export function createRandom(): Random {
  return { next: () => Math.random(), bytes: (length) => new Uint8Array(randomBytes(length)) }
}
