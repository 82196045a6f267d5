/**
 * The drain confirmation between agents: "my data plane no longer gives new flows to this task" (design.md 8 "Stopping").
 *
 * The request is answered when this node's view shows the endpoint draining or gone and the data plane has applied that, or with "no"
 * after the bound. What another node sends is decoded against a schema; nothing of it is believed beyond the task's id.
 */
import { z } from 'zod'
import type { NodeId, TaskId } from '../../protocol/ids.ts'
import { isLiveTask } from '../core/live.ts'
import type { View } from '../core/view.ts'
import { fault } from '../fault.ts'

/** The kind of the request, for whoever hands requests to their handlers. */
export const drainKind = 'drain'

/** Less than the asker's bound of 2 s, so that a "no" still arrives. */
const answerWithinMs = 1_800

const requestSchema = z.object({ task: z.string().min(1).max(128) })
const answerSchema = z.object({ drained: z.boolean() })

export interface DrainHandlerParts {
  readonly view: View
  /** Of the routes loop. */
  readonly whenRouted: (isGone: () => boolean, timeoutMs: number) => Promise<boolean>
}

/** Answers requests of kind `drainKind`. */
export function createDrainHandler({ view, whenRouted }: DrainHandlerParts) {
  return async (_from: NodeId, bytes: Uint8Array): Promise<Uint8Array> => {
    const request = requestSchema.safeParse(read(bytes))
    if (!request.success) throw fault('invalid', 'not a drain request')
    const { task } = request.data
    const drained = await whenRouted(() => !isRouted(view, task), answerWithinMs)
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
