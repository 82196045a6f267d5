/**
 * Networks that could not be made on this machine: when the routes may try one again, and how long it is told.
 *
 * A network is wanted here while a task is on it, and a task whose network cannot be made is gone within milliseconds. So that people can read why, it
 * is told until the network could be made, or nobody has tried for long.
 */
import type { NetworkId } from '../../../protocol/ids.ts'
import type { Clock } from '../../world.ts'

export interface NetworkProblem {
  readonly network: NetworkId
  readonly sentence: string
}

/** 2 s: tried again, but not with every change of the routes. */
const retryMs = 2_000
/** 6 min: a rejected task is tried again within 5 (retryMaxMs of loops/reconcile-claim.ts), and tells it anew. */
const toldMs = 6 * 60_000

export class NetworkFailures {
  private readonly clock: Pick<Clock, 'now'>
  private readonly last = new Map<NetworkId, { readonly atMs: number; readonly sentence: string }>()

  constructor(clock: Pick<Clock, 'now'>) {
    this.clock = clock
  }

  /** Takes down what came of a try. Without a sentence the network is there. */
  note(network: NetworkId, sentence: string | undefined): void {
    if (sentence === undefined) this.last.delete(network)
    else this.last.set(network, { atMs: this.clock.now(), sentence })
  }

  /** Whether it failed so short a time ago that another try would be too many. */
  isFresh(network: NetworkId): boolean {
    const failure = this.last.get(network)
    return failure !== undefined && this.clock.now() - failure.atMs < retryMs
  }

  /** In the order of the first failures. */
  told(): readonly NetworkProblem[] {
    for (const [network, { atMs }] of [...this.last]) if (this.clock.now() - atMs >= toldMs) this.last.delete(network)
    return [...this.last].map(([network, { sentence }]) => ({ network, sentence }))
  }
}
