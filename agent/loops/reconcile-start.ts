/**
 * Starts one claimed task: attach, plan, run. What this node cannot do becomes a rejection, what fails becomes a failure.
 */
import type { TaskId } from '../../protocol/ids.ts'
import { wanted } from '../core/wanted.ts'
import { Fault, reasonOf } from '../fault.ts'
import { rejection } from './reconcile-claim.ts'
import { amend, announce, type Hand, type Hands, type ReconcileParts } from './reconcile-parts.ts'
import { attachRequest, taskPlan, unattached } from './task-plan.ts'

/** This node cannot, another perhaps can. `unavailable`: nothing ran, for want of disk, memory or processes. */
const cannotHere = new Set(['program-missing', 'port-taken', 'invalid', 'unsupported', 'forbidden', 'unavailable'])

export interface StartEnv {
  readonly parts: ReconcileParts
  readonly hands: Hands
  /** It runs: watch over it. */
  readonly onUp: (hand: Hand) => void
  readonly wake: () => void
}

/** Until its start has read what is asked for. */
const stopByDefault = { signal: undefined, graceMs: 10_000 }

export function startTask(env: StartEnv, task: TaskId, degraded: boolean): void {
  const hand: Hand = {
    task,
    phase: 'starting',
    attached: undefined,
    hostname: '',
    stop: stopByDefault,
    ready: false,
    unhealthy: undefined,
    starting: Promise.resolve(),
    exit: undefined,
    adopted: false,
  }
  env.hands.set(task, hand)
  amend(env.parts, task, { state: 'preparing', message: 'preparing', ...(degraded ? { degraded } : {}) })
  hand.starting = start(env, hand).catch((thrown: unknown) => giveUp(env, hand, thrown))
}

async function start(env: StartEnv, hand: Hand): Promise<void> {
  const { view, dataplane, runtime } = env.parts
  const record = view.tasks.get(hand.task)
  const service = record === undefined ? undefined : view.services.get(record.value.service)
  if (record === undefined || service === undefined) throw new Fault('not-found', 'its service was removed')
  const asked = wanted(service)
  const sandbox = await runtime.sandbox?.(taskPlan(view, record, asked, unattached), {
    tell: (message) => amend(env.parts, hand.task, { message }),
    isWanted: () => hand.phase === 'starting',
  })
  const attachment = await dataplane.attach(attachRequest(record, asked, sandbox))
  hand.attached = attachment
  const plan = taskPlan(view, record, asked, attachment)
  hand.hostname = plan.hostname
  hand.stop = plan.stop
  const ports = attachment.ports.map((port) => ({ ...port }))
  amend(env.parts, hand.task, { state: 'starting', message: 'starting', ports })
  const { pid } = await runtime.start(plan)
  if (hand.exit !== undefined) return
  amend(env.parts, hand.task, { ...(pid === undefined ? {} : { pid }), message: 'started' })
  announce(env.parts, hand.task, 'starting', 'started')
  if (hand.phase === 'starting') hand.phase = 'up'
  env.onUp(hand)
  env.wake()
}

async function giveUp({ parts, hands, wake }: StartEnv, hand: Hand, thrown: unknown): Promise<void> {
  const reason = reasonOf(thrown)
  const value = parts.view.tasks.get(hand.task)?.value
  // Whoever stops it says why it ended.
  if (value !== undefined && hand.phase !== 'stopping') {
    const here = thrown instanceof Fault && cannotHere.has(thrown.code)
    const change = here
      ? rejection(parts, value, reason)
      : { state: 'failed' as const, message: 'not started', error: reason }
    amend(parts, hand.task, change)
    announce(parts, hand.task, here ? 'rejected' : 'failed', `${here ? 'rejected' : 'failed'}: ${reason}`)
  }
  hands.delete(hand.task)
  wake()
  await parts.dataplane.detach(hand.task).catch((error: unknown) => {
    parts.log.warn('a task that did not start could not be detached', { task: hand.task, reason: reasonOf(error) })
  })
  if (parts.runtime.sandbox === undefined) return
  await parts.runtime.remove(hand.task).catch((error: unknown) => {
    parts.log.warn('what was made for a task that did not start is left', {
      task: hand.task,
      reason: reasonOf(error),
    })
  })
}
