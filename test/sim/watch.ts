// Watches a cluster with all checkers: always, at each happening and every 250 ms; and, once told to settle, until all promises hold at once.
import { type Breach, Broken, type Checker, type Watched } from './checkers/checker.ts'
import { oneHolderEach } from './checkers/claims.ts'
import { stoppedAreNotUsed } from './checkers/drains.ts'
import { noErrors } from './checkers/errors.ts'
import { deadAreNotUsed, membershipIsTrue } from './checkers/membership.ts'
import { countsAreReached, isolatedStartsLittle, losingClaimsAreNotStarted, oneTaskASlot } from './checkers/slots.ts'
import { slotsAreNotStartedTwice } from './checkers/starts.ts'
import {
  acknowledgedStays,
  boundedMemory,
  deletedStaysDeleted,
  equalDigests,
  equalViews,
  ownNetworksOnly,
} from './checkers/state.ts'
import type { Cluster } from './cluster.ts'
import { createOperator, type Operator } from './operator.ts'
import { createTruth, type Truth } from './truth.ts'

export interface Watch {
  readonly operator: Operator
  readonly truth: Truth
  /** The first promise that was seen broken. */
  breach(): Breach | undefined
  /** Lets time pass; throws `Broken` at the first breach. */
  run(ms: number): Promise<void>
  /** Lets time pass until all promises hold at once; throws `Broken` when that takes longer than the limit. Resolves with the ms it took. */
  settle(limitMs: number): Promise<number>
}

const everyMs = 250
/** 5 s: while every agent is gone there is nothing to see, for a week in one scenario. */
const asleepMs = 5_000

export function watch(cluster: Cluster, extra: (watched: Watched) => readonly Checker[] = () => []): Watch {
  const { world } = cluster
  const truth = createTruth(cluster)
  const operator = createOperator(world, world.chance.stream('operator'))
  const watched: Watched = { cluster, truth, operator }
  const checkers: readonly Checker[] = [
    membershipIsTrue(watched),
    equalDigests(watched),
    equalViews(watched),
    oneTaskASlot(watched),
    countsAreReached(watched),
    oneHolderEach(watched),
    ownNetworksOnly(watched),
    deletedStaysDeleted(watched),
    acknowledgedStays(watched),
    boundedMemory(watched),
    deadAreNotUsed(watched),
    losingClaimsAreNotStarted(watched),
    isolatedStartsLittle(watched),
    slotsAreNotStartedTwice(watched),
    stoppedAreNotUsed(watched),
    noErrors(),
    ...extra(watched),
  ]
  let breach: Breach | undefined

  world.onTold((told) => {
    truth.look()
    for (const checker of checkers) guard(() => checker.onTold?.(told))
  })
  const tick = () => {
    truth.look()
    for (const checker of checkers) {
      const found = checker.always?.()
      if (found !== undefined) breach ??= { promise: checker.promise, ...found }
    }
    world.time.quietly(cluster.living().length === 0 ? asleepMs : everyMs, tick)
  }
  tick()

  /** A breach is kept, and thrown where time is let pass: the code under test must not catch it. */
  function guard(act: () => void): void {
    try {
      act()
    } catch (error) {
      if (!(error instanceof Broken)) throw error
      breach ??= error.breach
    }
  }

  function unsettled(): Breach | undefined {
    for (const checker of checkers) {
      const found = checker.finally?.()
      if (found !== undefined) return { promise: checker.promise, ...found }
    }
    return undefined
  }

  async function run(ms: number): Promise<void> {
    await world.time.runTo(world.time.now() + ms, () => breach !== undefined)
    if (breach !== undefined) throw new Broken(breach)
  }

  return {
    operator,
    truth,
    breach: () => breach,
    run,
    async settle(limitMs) {
      const beganMs = world.time.now()
      for (;;) {
        const open = unsettled()
        if (open === undefined) return world.time.now() - beganMs
        if (world.time.now() - beganMs >= limitMs) {
          const seen = `${open.seen}, ${Math.round(limitMs / 1000)} s after all was healed`
          throw new Broken({ ...open, seen })
        }
        await run(everyMs)
      }
    },
  }
}
