/**
 * The drain confirmation between agents: "my data plane no longer gives new flows to this task" (design.md 8 "Stopping").
 *
 * The request is answered when the word that the task stops is here and the data plane has applied it, or with "no" after the bound. Not to route to
 * it is not enough: who takes its node for dead, or has not heard of the task, would lead clients there as soon as it learns of them by older records.
 * What another node sends is decoded against a schema; nothing of it is believed beyond the task's id.
 */
import { z } from 'zod'
import type { NodeId, TaskId } from '../../protocol/ids.ts'
import { hasEnded, isLiveTask } from '../core/live.ts'
import type { View } from '../core/view.ts'
import { fault } from '../fault.ts'
import type { Clock } from '../world.ts'

/** The kind of the request, for whoever hands requests to their handlers. */
export const drainKind = 'drain'

/** Less than the asker's bound of 2 s, so that a "no" still arrives. */
const answerWithinMs = 1_800
/** 200 ms: gossip brings the word in a fraction of it. What it lost, as it does after a cut, is fetched from the asker. */
const gossipMs = 200

const requestSchema = z.object({ task: z.string().min(1).max(128) })
const answerSchema = z.object({ drained: z.boolean() })

export interface DrainHandlerParts {
  readonly view: View
  readonly clock: Pick<Clock, 'after'>
  /** Of the sync loop. Never rejects. */
  readonly exchange: (node: NodeId) => Promise<boolean>
  /** Of the routes loop. */
  readonly whenRouted: (isGone: () => boolean, timeoutMs: number) => Promise<boolean>
}

/** Answers requests of kind `drainKind`. */
export function createDrainHandler({ view, clock, exchange, whenRouted }: DrainHandlerParts) {
  return async (from: NodeId, bytes: Uint8Array): Promise<Uint8Array> => {
    const request = requestSchema.safeParse(read(bytes))
    if (!request.success) throw fault('invalid', 'not a drain request')
    const { task } = request.data
    const cancel = clock.after(gossipMs, () => {
      if (!isKnownToStop(view, task)) void exchange(from)
    })
    const drained = await whenRouted(() => isKnownToStop(view, task), answerWithinMs)
    cancel()
    return write({ drained })
  }
}

export function drainRequest(task: TaskId): Uint8Array {
  return write({ task })
}

export function isDrained(answer: Uint8Array): boolean {
  const parsed = answerSchema.safeParse(read(answer))
  return parsed.success && parsed.data.drained
}

/** Whether the view still says that new flows may go to the task. */
export function isRouted(view: View, task: TaskId): boolean {
  const record = view.tasks.get(task)
  if (record === undefined || !isLiveTask(record.value, view)) return false
  return [...view.endpoints.values()].some((endpoints) => endpoints.get(task)?.value.draining === false)
}

function isKnownToStop(view: View, task: TaskId): boolean {
  const record = view.tasks.get(task)?.value
  return record !== undefined && (record.stopping === true || hasEnded(record.state))
}

function read(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    return undefined
  }
}

function write(data: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(data))
}
