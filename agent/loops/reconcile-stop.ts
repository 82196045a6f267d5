/**
 * Stops one task so that no client notices: its endpoint drains, every node that routes to it says that it no longer does, what is under
 * way on open flows ends, then the stop signal (design.md 8 "Stopping"). And what is done when a task ends by itself.
 */
import type { NodeId, TaskId } from '../../protocol/ids.ts'
import type { TaskValue } from '../../protocol/model.ts'
import { upMembers } from '../core/live.ts'
import { networksRouting } from '../core/reconcile/drain.ts'
import { reasonOf } from '../fault.ts'
import type { Exit } from '../world.ts'
import { drainKind, drainRequest, isDrained, isRouted } from './drain.ts'
import { amend, announce, type Hand, type Hands, type ReconcileParts } from './reconcile-parts.ts'

/** 2 s: design.md 8. Long enough for a lost gossip message to be repaired by the request itself being answered late. */
const drainMs = 2_000
/** 2 s: what web services answer in. A program that cares for longer requests goes on with them through its own stop grace. */
const flowsMaxMs = 2_000
/** A flow on which nothing moves from one look to the next, and no answer is due, is only kept open. */
const flowsLookMs = 100
/** Before a stop that failed is tried again. */
const retryMs = 5_000

export interface StopEnv {
  readonly parts: ReconcileParts
  readonly hands: Hands
  readonly unwatch: (task: TaskId) => void
  readonly wake: () => void
}

export interface Stop {
  readonly task: TaskId
  readonly why: string
  readonly outcome: 'shutdown' | 'failed'
}

/** Marks it at once; the rest goes on by itself. */
export function stopTask(env: StopEnv, stop: Stop): void {
  const hand = env.hands.get(stop.task)
  if (hand === undefined || hand.phase === 'stopping') return
  hand.phase = 'stopping'
  amend(env.parts, stop.task, { stopping: true, message: `stops: ${stop.why}` })
  announce(env.parts, stop.task, 'drain', `stops: ${stop.why}`)
  void finish(env, hand, stop).catch((thrown: unknown) => {
    env.parts.log.error('a task could not be stopped', { task: stop.task, reason: reasonOf(thrown) })
    env.parts.clock.after(retryMs, () => {
      hand.phase = 'up'
      env.wake()
    })
  })
}

/** A task ended by itself: out of all tables at once, its record says how (issue 2: within 150 ms). */
export function taskExited(env: StopEnv, task: TaskId, exit: Exit): void {
  const hand = env.hands.get(task)
  if (hand === undefined) return
  hand.exit = exit
  if (hand.phase === 'stopping') return
  env.unwatch(task)
  env.hands.delete(task)
  amend(env.parts, task, exitRecord(exit))
  const how = exitSentence(exit)
  announce(env.parts, task, exit.code === 0 ? 'complete' : 'failed', exit.code === 0 ? 'completed' : `failed: ${how}`)
  env.wake()
  detach(env, task)
}

/** Ends a program without a word: another agent writes the records of this node. */
export async function abandonTask({ parts, unwatch }: StopEnv, hand: Hand): Promise<void> {
  hand.phase = 'stopping'
  unwatch(hand.task)
  // What its start wants to write is refused now.
  await hand.starting.catch(() => undefined)
  if (hand.exit === undefined) await parts.runtime.stop(hand.task, hand.stop)
}

/** What a task's own end says in its record. */
export function exitRecord(exit: Exit): Partial<TaskValue> {
  const code = exit.code === undefined ? {} : { exitCode: exit.code }
  if (exit.code === 0) return { state: 'complete', message: 'finished', ...code }
  return { state: 'failed', message: 'started', error: exitSentence(exit), ...code }
}

async function finish(env: StopEnv, hand: Hand, { why, outcome, task }: Stop): Promise<void> {
  const { parts } = env
  const answers: Answers = new Map()
  await drain(parts, task, answers)
  await hand.starting
  // One that fails its check answers nobody.
  if (outcome !== 'failed') await flowsEnd(parts, hand, Math.min(flowsMaxMs, hand.stop.graceMs / 2))
  // Who was taken for dead and is back by now leads clients here, as far as it knows.
  await drain(parts, task, answers)
  const missing = [...answers].filter(([, isDone]) => !isDone).map(([node]) => node)
  env.unwatch(task)
  if (hand.exit === undefined) await parts.runtime.stop(task, hand.stop)
  const code = hand.exit?.code === undefined ? {} : { exitCode: hand.exit.code }
  amend(parts, task, {
    state: outcome,
    message: why,
    ...(outcome === 'failed' ? { error: why } : {}),
    ...(missing.length === 0 ? {} : { drainMissing: missing.sort() }),
    ...code,
  })
  announce(parts, task, outcome, `${outcome === 'failed' ? 'failed' : 'stopped'}: ${why}`)
  env.hands.delete(task)
  env.wake()
  detach(env, task)
}

/** Of each node that was asked: whether it confirmed in time that it leads no client to the task. */
type Answers = Map<NodeId, boolean>

/** Asks all who may lead clients to the task, and have not been asked. */
async function drain(parts: ReconcileParts, task: TaskId, answers: Answers): Promise<void> {
  const { view } = parts
  const networks = networksRouting(view, task)
  const asked = upMembers(view).filter(({ id, record }) => {
    if (answers.has(id)) return false
    return networks.some(
      (network) => network === 'ingress' || id === view.self || record.value.networks.includes(network),
    )
  })
  await Promise.all(
    asked.map(async ({ id }) => {
      answers.set(id, id === view.self ? await isDrainedHere(parts, task) : await isDrainedThere(parts, task, id))
    }),
  )
}

function isDrainedHere({ view, whenRouted }: ReconcileParts, task: TaskId): Promise<boolean> {
  return whenRouted(() => !isRouted(view, task), drainMs)
}

async function isDrainedThere({ transport }: ReconcileParts, task: TaskId, node: NodeId): Promise<boolean> {
  const answer = await transport.request(node, drainKind, drainRequest(task), drainMs).catch(() => undefined)
  return answer !== undefined && isDrained(answer)
}

/** For a program that dies at the signal: nobody routes to it any more, so what it is asked now is the last. */
async function flowsEnd({ clock, dataplane }: ReconcileParts, hand: Hand, withinMs: number): Promise<void> {
  const untilMs = clock.now() + withinMs
  while (hand.exit === undefined && clock.now() < untilMs && dataplane.active(hand.task) > 0) {
    await new Promise<void>((resolve) => void clock.after(flowsLookMs, resolve))
  }
}

function detach({ parts }: StopEnv, task: TaskId): void {
  parts.dataplane.detach(task).catch((thrown: unknown) => {
    parts.log.warn('a task could not be detached', { task, reason: reasonOf(thrown) })
  })
}

/** Swarm's words, and the last line that the task said. */
function exitSentence({ code, signal, lastLine }: Exit): string {
  const how = code === undefined ? `task: killed by ${signal ?? 'an unknown signal'}` : `task: non-zero exit (${code})`
  return lastLine === '' ? how : `${how}: ${lastLine}`
}
