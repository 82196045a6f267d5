/**
 * All times of the cluster, set together by one word (design.md 4). Knobs exist to be changed together: the relations between them are
 * what makes detection right, and `checkTimes` states them.
 *
 * `local`: one machine or one switch. `lan`: machines of one site. `wan`: sites.
 */
export type Preset = 'local' | 'lan' | 'wan'

export interface Times {
  /** SWIM protocol period. */
  readonly probeEveryMs: number
  /** A direct probe without answer goes indirect after this. */
  readonly probeTimeoutMs: number
  /** From suspect to dead without any confirmation (ceiling), and with enough of them (floor). */
  readonly suspicionMaxMs: number
  readonly suspicionMinMs: number
  /** Refused connections seen twice this far apart are death, where no third node can confirm. */
  readonly refusedTwiceMs: number
  /** Changes after the first are batched this long. */
  readonly gossipBatchMs: number
  /** One digest exchange with one member in this time. */
  readonly syncEveryMs: number
  /** A claim is settled this long before the task starts. */
  readonly settleMs: number
  /** A slot unclaimed for k of these may be claimed by the k-th eligible node. */
  readonly claimStepMs: number
  /** An announced restart holds its slots this long. */
  readonly backSoonMs: number
  /** A node that sees fewer than half waits this long before it replaces. */
  readonly minorityWaitMs: number
  /** A joiner has stayed this long before `rebalance` moves tasks to it. */
  readonly rebalanceAfterMs: number
}

export const presets: Readonly<Record<Preset, Times>> = {
  local: {
    probeEveryMs: 200,
    probeTimeoutMs: 250,
    suspicionMaxMs: 3_000,
    suspicionMinMs: 1_600,
    refusedTwiceMs: 100,
    gossipBatchMs: 20,
    syncEveryMs: 3_000,
    settleMs: 100,
    claimStepMs: 500,
    backSoonMs: 30_000,
    minorityWaitMs: 10_000,
    rebalanceAfterMs: 30_000,
  },
  lan: {
    probeEveryMs: 1_000,
    probeTimeoutMs: 500,
    suspicionMaxMs: 8_000,
    suspicionMinMs: 3_000,
    refusedTwiceMs: 200,
    gossipBatchMs: 20,
    syncEveryMs: 5_000,
    settleMs: 200,
    claimStepMs: 1_000,
    backSoonMs: 30_000,
    minorityWaitMs: 10_000,
    rebalanceAfterMs: 30_000,
  },
  wan: {
    probeEveryMs: 3_000,
    probeTimeoutMs: 1_500,
    suspicionMaxMs: 30_000,
    suspicionMinMs: 10_000,
    refusedTwiceMs: 500,
    gossipBatchMs: 50,
    syncEveryMs: 15_000,
    settleMs: 500,
    claimStepMs: 2_000,
    backSoonMs: 60_000,
    minorityWaitMs: 20_000,
    rebalanceAfterMs: 60_000,
  },
}
