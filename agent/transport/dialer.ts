/**
 * Keeps the connections that should be there: dials, and dials again for ever, with jitter and a bound on how many at once.
 *
 * libp2p gives up a lost peer after five tries (ecosystem.md 2, trap 7); a healed partition would stay split. The lower node id dials;
 * the higher one only when that took too long, so that a pair rarely meets with two connections (trap 1).
 */
import type { NodeId } from '../../protocol/ids.ts'
import type { Cancel, Clock, Random } from '../world.ts'
import type { TransportTimes } from './admission.ts'
import { dialsFirst } from './mesh.ts'

export interface DialerOptions {
  readonly self: NodeId
  readonly clock: Clock
  readonly random: Random
  readonly times: TransportTimes
  /** Nodes that should be connected and are not. */
  readonly missing: () => readonly NodeId[]
  /** One try; resolves when it is over, never rejects. */
  readonly connect: (node: NodeId) => Promise<void>
}

export interface Dialer {
  /** Looks again at what is missing: after a change of membership, a loss, an arrival. */
  refresh(): void
  stop(): void
}

/** 4: a handshake is 17 ms of CPU at each end; 25 nodes that start at once must not starve their own probes. */
const parallelMax = 4

/** 100 ms: all of a cluster learn of a newcomer at once. */
const spreadMs = 100

/** 50 ms for each peer: what a dial costs both ends together; when a whole cluster starts at once the lower ids get that time to come first. */
const dialCostMs = 50

interface Plan {
  failures: number
  cancel: Cancel | undefined
}

export function dialer(options: DialerOptions): Dialer {
  const { self, clock, random, times } = options
  const plans = new Map<NodeId, Plan>()
  const ready: NodeId[] = []
  const startedMs = clock.now()
  let dialling = 0
  let stopped = false

  function refresh(): void {
    if (stopped) return
    const missing = new Set(options.missing())
    for (const [node, plan] of [...plans]) {
      if (missing.has(node)) continue
      plan.cancel?.()
      plans.delete(node)
    }
    for (const node of missing) if (!plans.has(node)) plan(node)
  }

  function plan(node: NodeId): void {
    const delayMs = dialsFirst(self, node) ? random.next() * spreadMs : higherWaitMs()
    const made: Plan = { failures: 0, cancel: undefined }
    plans.set(node, made)
    wait(node, made, delayMs)
  }

  /** Who has just started dials everybody: the others may be in a long pause between tries to reach its former self. */
  function higherWaitMs(): number {
    const young = clock.now() - startedMs < times.higherWaitsMs
    const enough = young ? spreadMs + dialCostMs * plans.size : times.higherWaitsMs
    return enough * (1 + 2 * random.next())
  }

  function wait(node: NodeId, plan: Plan, delayMs: number): void {
    plan.cancel = clock.after(delayMs, () => {
      plan.cancel = undefined
      ready.push(node)
      pump()
    })
  }

  function pump(): void {
    while (!stopped && dialling < parallelMax) {
      const node = ready.shift()
      if (node === undefined) return
      const plan = plans.get(node)
      if (plan === undefined || plan.cancel !== undefined) continue
      dialling++
      options.connect(node).then(() => {
        dialling--
        if (plans.get(node) === plan) again(node, plan)
        pump()
      })
    }
  }

  function again(node: NodeId, plan: Plan): void {
    if (stopped || !options.missing().includes(node)) {
      plans.delete(node)
      return
    }
    wait(node, plan, redialDelayMs(plan.failures++, random.next(), times))
  }

  function stop(): void {
    stopped = true
    for (const plan of plans.values()) plan.cancel?.()
    plans.clear()
    ready.length = 0
  }

  return { refresh, stop }
}

/** Doubles from the least to the most, then stays; half to three halves of it, so that two ends do not keep step. `chance` in [0, 1). */
export function redialDelayMs(failures: number, chance: number, times: TransportTimes): number {
  const exact = Math.min(times.redialMaxMs, times.redialMinMs * 2 ** Math.min(failures, 30))
  return exact * (0.5 + chance)
}
