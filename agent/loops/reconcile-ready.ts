/**
 * Finds out when a task serves (design.md 9): by its health check; without one when its TCP target ports accept; with neither after 1 s.
 *
 * Reports into the task's `Hand`; what follows from it is decided in core/reconcile.
 */
import type { TaskId } from '../../protocol/ids.ts'
import type { Health } from '../core/wanted.ts'
import type { Cancel } from '../world.ts'
import type { Hand, ReconcileParts } from './reconcile-parts.ts'

/** A task without ports and without a check is taken to serve after this: long enough for a wrong command line to end it. */
const assumedMs = 1_000
/** Looks at a port begin close together and grow apart: most programs listen within a few hundred ms. */
const lookFirstMs = 25
const lookMaxMs = 1_000
const acceptMs = 1_000

export interface Readiness {
  watch(hand: Hand, check: Health | undefined): void
  unwatch(task: TaskId): void
}

export function createReadiness(
  parts: Pick<ReconcileParts, 'dataplane' | 'health' | 'clock'>,
  wake: () => void,
): Readiness {
  const ends = new Map<TaskId, Cancel>()
  const asked = new WeakSet<Hand>()

  function unwatch(task: TaskId): void {
    ends.get(task)?.()
    ends.delete(task)
  }

  function becomeReady(hand: Hand): void {
    hand.ready = true
    lookAtIpv6(hand)
    wake()
  }

  /** Once, when it has just begun to listen or was found running. Until then it is sent nothing at IPv6 addresses, and IPv4 does not wait for it. */
  function lookAtIpv6(hand: Hand): void {
    if (asked.has(hand)) return
    asked.add(hand)
    if (parts.dataplane.servesIpv6 === undefined) hand.ipv6 = false
    void parts.dataplane.servesIpv6?.(hand.task).then((serves) => {
      hand.ipv6 = serves
      wake()
    })
  }

  function byCheck(hand: Hand, check: Health): Cancel {
    parts.health.watch(hand.task, check, (status, output) => {
      if (status === 'unhealthy') hand.unhealthy = output
      hand.ready = status === 'healthy' || (hand.ready && status === 'starting')
      if (hand.ready) lookAtIpv6(hand)
      wake()
    })
    return () => parts.health.unwatch(hand.task)
  }

  /** Looks at all TCP ports until each has accepted once. */
  function byPorts(hand: Hand, ports: readonly number[]): Cancel {
    let ended = false
    let cancel: Cancel = () => {}
    const host = hand.attached?.host ?? ''
    const look = async (waitMs: number, left: readonly number[]): Promise<void> => {
      const accepted = await Promise.all(
        left.map((port) => parts.dataplane.accepts(host, port, acceptMs).catch(() => false)),
      )
      if (ended) return
      const still = left.filter((_, i) => accepted[i] !== true)
      if (still.length === 0) return becomeReady(hand)
      cancel = parts.clock.after(waitMs, () => void look(Math.min(lookMaxMs, waitMs * 2), still))
    }
    void look(lookFirstMs, ports)
    return () => {
      ended = true
      cancel()
    }
  }

  return {
    watch(hand, check) {
      unwatch(hand.task)
      if (check !== undefined) {
        ends.set(hand.task, byCheck(hand, check))
        return
      }
      if (hand.ready) return lookAtIpv6(hand)
      const ports = (hand.attached?.ports ?? [])
        .filter(({ protocol }) => protocol === 'tcp')
        .map(({ actual }) => actual)
      const end = ports.length > 0 ? byPorts(hand, ports) : parts.clock.after(assumedMs, () => becomeReady(hand))
      ends.set(hand.task, end)
    },
    unwatch,
  }
}
