/**
 * Takes over the tasks that an earlier run of this agent left running, before anything else is decided (design.md 5).
 *
 * A task that ended meanwhile gets the record of its end. One whose record is unknown here is in hand all the same, so that it is
 * stopped once the agent knows what the others know.
 */
import type { TaskId } from '../../protocol/ids.ts'
import type { TaskValue } from '../../protocol/model.ts'
import { hasEnded } from '../core/live.ts'
import { wanted } from '../core/wanted.ts'
import { reasonOf } from '../fault.ts'
import type { Exit, ObservedTask } from '../world.ts'
import { amend, announce, type Hand, type Hands, type ReconcileParts } from './reconcile-parts.ts'
import { exitRecord } from './reconcile-stop.ts'
import { attachRequest, taskPlan } from './task-plan.ts'

export interface AdoptEnv {
  readonly parts: ReconcileParts
  readonly hands: Hands
  readonly onUp: (hand: Hand) => void
}

export async function adoptTasks(env: AdoptEnv): Promise<void> {
  for (const observed of await env.parts.runtime.list()) {
    const record = env.parts.view.tasks.get(observed.task)
    if (observed.running) await adopt(env, observed)
    else if (observed.exit !== undefined) amend(env.parts, observed.task, endRecord(observed.exit))
    if (!observed.running && (record === undefined || hasEnded(record.value.state))) await discard(env, observed.task)
  }
}

/** Nobody was left to note how it ended: it was lost with its node, which is no failure of the program, and counts against no node. */
function endRecord(exit: Exit): Partial<TaskValue> {
  return exit.code === undefined && exit.signal === undefined
    ? { state: 'orphaned', message: 'lost with its node' }
    : exitRecord(exit)
}

async function adopt(env: AdoptEnv, { task, attachment, sandbox, stop }: ObservedTask): Promise<void> {
  const { parts, hands } = env
  const record = parts.view.tasks.get(task)
  const service = record === undefined ? undefined : parts.view.services.get(record.value.service)
  const hand: Hand = {
    task,
    phase: 'up',
    attached: attachment,
    hostname: '',
    stop,
    ready: record?.value.state === 'running',
    unhealthy: undefined,
    starting: Promise.resolve(),
    exit: undefined,
    adopted: true,
  }
  hands.set(task, hand)
  const early = record?.value.state === 'assigned' || record?.value.state === 'preparing'
  if (early) amend(parts, task, { state: 'starting', message: 'adopted' })
  if (record === undefined || service === undefined) return
  const asked = wanted(service)
  try {
    await parts.dataplane.adopt(attachRequest(record, asked, sandbox), attachment)
    hand.hostname = taskPlan(parts.view, record, asked, attachment).hostname
    announce(parts, task, 'running', 'adopted')
    env.onUp(hand)
  } catch (thrown) {
    hand.lost = `it could not be adopted: ${reasonOf(thrown)}`
    parts.log.warn('a task could not be adopted and is replaced', { task, reason: reasonOf(thrown) })
  }
}

/** What an ended task left on the disk although nobody remembers it. */
async function discard({ parts }: AdoptEnv, task: TaskId): Promise<void> {
  if (parts.view.tasks.has(task)) return
  await parts.runtime.remove(task).catch((thrown: unknown) => {
    parts.log.warn('leftovers of a task could not be removed', { task, reason: reasonOf(thrown) })
  })
}
