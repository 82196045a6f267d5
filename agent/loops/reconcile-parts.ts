/**
 * What the parts of the reconcile loop share: the outside, and the tasks in hand. Types, and the one way to write a task's record.
 *
 * Only the loop's own files change a `Hand`; decisions see it as a read-only `Local`.
 */
import type { Version } from '../../protocol/hlc.ts'
import type { NetworkId, TaskId } from '../../protocol/ids.ts'
import type { Scope, TaskState, TaskValue } from '../../protocol/model.ts'
import { hasEnded } from '../core/live.ts'
import type { Local } from '../core/reconcile/steps.ts'
import type { View } from '../core/view.ts'
import type { StopHow } from '../core/wanted.ts'
import type { Times } from '../presets.ts'
import type {
  Attachment,
  Clock,
  Dataplane,
  Events,
  Exit,
  HealthChecker,
  Log,
  Random,
  Runtime,
  Transport,
  Writer,
} from '../world.ts'

export interface ReconcileParts {
  readonly view: View
  readonly writer: Pick<Writer, 'put'>
  readonly transport: Pick<Transport, 'request'>
  readonly runtime: Runtime
  readonly dataplane: Pick<Dataplane, 'attach' | 'adopt' | 'detach' | 'accepts' | 'servesIpv6' | 'active' | 'onLost'>
  readonly health: HealthChecker
  readonly clock: Clock
  readonly random: Random
  readonly times: Times
  readonly log: Log
  readonly events: Events
  /** A version after everything seen: the `created` of claims. */
  readonly stamp: () => Version
  /** Records of a scope that exist and are not held here; above 0 too while no holder was asked and others are known. */
  readonly need: (scope: Scope) => number
  /** The networks of this node's tasks changed: hold their scopes, say so in the member record. */
  readonly hold: (networks: readonly NetworkId[]) => void
  /** Resolves when this node's data plane no longer routes to what `isGone` speaks of; false when the time is over. */
  readonly whenRouted: (isGone: () => boolean, timeoutMs: number) => Promise<boolean>
}

/** A task in hand. */
export interface Hand extends Local {
  phase: Local['phase']
  attached: Attachment | undefined
  hostname: string
  /** As it was started: its service may be another by now, or gone. */
  stop: StopHow
  ready: boolean
  ipv6?: boolean | undefined
  unhealthy: string | undefined
  lost?: string
  /** Its start, while that is under way; never rejects. */
  starting: Promise<void>
  exit: Exit | undefined
  /** Found here at the start of this agent, not started by it. */
  readonly adopted: boolean
}

export type Hands = Map<TaskId, Hand>

/**
 * Changes this node's record of a task; states only move forward, and nothing is written of a task that ended or is gone. `message`
 * and `stateMs` follow the state.
 */
export function amend(parts: ReconcileParts, task: TaskId, change: Partial<TaskValue>): void {
  const value = parts.view.tasks.get(task)?.value
  if (value === undefined || hasEnded(value.state)) return
  const stateMs = change.state === undefined && change.stopping === undefined ? value.stateMs : parts.clock.wall()
  parts.writer.put({ scope: 'cluster', kind: 'task', id: task, value: { ...value, stateMs, ...change } })
}

/** Tells `vine events` what became of a task. */
export function announce(
  parts: ReconcileParts,
  task: TaskId,
  action: TaskState | 'claim' | 'drain',
  sentence: string,
): void {
  const value = parts.view.tasks.get(task)?.value
  const service = value === undefined ? undefined : parts.view.services.get(value.service)
  const name = `${service?.value.spec.Name ?? value?.service ?? ''}.${value?.slot ?? ''}`
  const attributes = { service: value?.service ?? '', slot: value?.slot ?? '', node: parts.view.self }
  parts.events.emit({ type: 'task', action, id: task, name, sentence: `${name} ${sentence}`, attributes })
}
