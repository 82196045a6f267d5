/**
 * Clients that have just come, begun together.
 *
 * libuv accepts one connection in each turn of its loop. Dialled in the same turn, each finds its task asleep again and wakes it anew: half of
 * what a short connection costs the kernel. So while every turn brings one more client, they are kept for a moment and dialled in one go
 * (test/bench/mesh/README.md). A client that comes alone waits for one turn in which nobody else does.
 */
import type { Clock } from '../../world.ts'

/** 16: more gains nothing that can be measured. */
const together = 16
/** 2 ms: a turn that other traffic makes long must not hold clients for many of them. */
const waitMsMax = 2

export interface Arrival {
  begin(): void
}

export class Arrivals {
  private readonly clock: Pick<Clock, 'now'>
  private readonly afterTurn: (run: () => void) => void
  private waiting: Arrival[] = []
  private firstMs = 0
  /** How many there were when the turn before ended. */
  private before = 0

  /** `afterTurn` runs something when what this turn of the event loop brought has been handled. */
  constructor(clock: Pick<Clock, 'now'>, afterTurn: (run: () => void) => void = setImmediate) {
    this.clock = clock
    this.afterTurn = afterTurn
  }

  /** It begins within a few turns; by then its client may have gone. */
  add(arrival: Arrival): void {
    this.waiting.push(arrival)
    if (this.waiting.length > 1) return
    this.firstMs = this.clock.now()
    this.before = 0
    this.afterTurn(this.look)
  }

  private readonly look = () => {
    const { waiting, before } = this
    const isMore = waiting.length > before && waiting.length < together
    if (isMore && this.clock.now() - this.firstMs < waitMsMax) {
      this.before = waiting.length
      this.afterTurn(this.look)
      return
    }
    this.waiting = []
    for (const arrival of waiting) arrival.begin()
  }
}
