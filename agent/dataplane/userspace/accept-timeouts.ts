/**
 * Tells those that wait for an endpoint's first word when they have waited too long. All wait equally long, so the first in is the first
 * due, and one timer serves all: a timer for each connection is a tenth of what opening it allocates.
 */
import type { Cancel, Clock } from '../../world.ts'

/** 300 ms without a word, and another endpoint is tried beside the silent one (design.md 8). */
export const acceptMs = 300

export interface Waiter {
  /** When it has waited too long, in ms of the clock; set by `add`. */
  dueMs: number
  timedOut(): void
}

export class AcceptTimeouts {
  private readonly clock: Clock
  /** In the order in which they are due. */
  private readonly waiting = new Set<Waiter>()
  private cancel: Cancel | undefined

  constructor(clock: Clock) {
    this.clock = clock
  }

  /** It must not be waiting already. */
  add(waiter: Waiter, nowMs: number): void {
    waiter.dueMs = nowMs + acceptMs
    this.waiting.add(waiter)
    if (this.cancel === undefined) this.arm(acceptMs)
  }

  delete(waiter: Waiter): void {
    this.waiting.delete(waiter)
  }

  close(): void {
    this.waiting.clear()
    this.cancel?.()
  }

  private arm(ms: number): void {
    this.cancel = this.clock.after(ms, () => this.tell())
  }

  private tell(): void {
    const nowMs = this.clock.now()
    for (const waiter of this.waiting) {
      if (waiter.dueMs > nowMs) {
        this.arm(waiter.dueMs - nowMs)
        return
      }
      this.waiting.delete(waiter)
      waiter.timedOut()
    }
    this.cancel = undefined
  }
}
