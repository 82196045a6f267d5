/**
 * What the reconcile loop may be told to do, and the facts that it is told from. Types only.
 *
 * Observed facts (`Local`) have one writer, the loop; desired ones come from place(). Neither writes the other.
 */
import type { NetworkId, NodeId, ServiceId, Slot, TaskId } from '../../../protocol/ids.ts'
import type { EndpointValue, Protocol, Scope, TaskState } from '../../../protocol/model.ts'
import type { Times } from '../../presets.ts'
import type { Placement } from '../placement/place.ts'
import type { Stays } from '../placement/stays.ts'
import type { View } from '../view.ts'

/** A task that this agent has in hand: from the start of its start to the end of its stop. */
export interface Local {
  readonly task: TaskId
  readonly phase: 'starting' | 'up' | 'stopping'
  /** Where it serves, once the data plane attached it. */
  readonly attached:
    | {
        readonly host: string
        /** It has a network namespace of its own. */
        readonly netns?: string | undefined
        readonly ports: readonly { readonly protocol: Protocol; readonly target: number; readonly actual: number }[]
      }
    | undefined
  readonly hostname: string
  /** May get traffic: healthy by its check, or its ports accept. */
  readonly ready: boolean
  /** It serves at its IPv6 addresses too; undefined while this run of the agent has not looked. */
  readonly ipv6?: boolean | undefined
  /** What its health check said when it failed for good. */
  readonly unhealthy: string | undefined
  /** Why it has no network any more. */
  readonly lost?: string
}

export interface Situation {
  readonly view: View
  readonly placement: Placement
  readonly locals: ReadonlyMap<TaskId, Local>
  /** Monotonic ms since which a slot could have been claimed, by `slotKey`. */
  readonly vacantSince: ReadonlyMap<string, number>
  /** Monotonic ms at which this agent first saw its own claim. */
  readonly claimedAt: ReadonlyMap<TaskId, number>
  /** This agent knows what others know, or waited long enough: before, it starts and stops nothing. */
  readonly caughtUp: boolean
  /** The agent leaves: it stops all its tasks and claims nothing. */
  readonly leaving: boolean
  /** Records of a scope that exist and are not held here. */
  readonly need: (scope: Scope) => number
  readonly stays: Stays
  readonly times: Times
}

export interface Now {
  /** Monotonic ms. */
  readonly nowMs: number
  /** Wall ms. */
  readonly wallMs: number
}

/** Claims of one slot: service and slot in one text. */
export function slotKey(service: ServiceId, slot: Slot): string {
  return `${service}/${slot}`
}

export interface Steps {
  /** Write a task in state assigned, with addresses. */
  claim: { readonly service: ServiceId; readonly slot: Slot; readonly replaces: TaskId | undefined }
  /** A claim that lost before it started leaves no trace. */
  withdraw: { readonly task: TaskId }
  start: { readonly task: TaskId; readonly degraded: boolean }
  /** Drain, wait for the others, stop signal, record. */
  stop: { readonly task: TaskId; readonly why: string; readonly outcome: 'shutdown' | 'failed' }
  /** It serves: state running. */
  ready: { readonly task: TaskId }
  /** The record says that it lives, and it does not. */
  end: { readonly task: TaskId; readonly state: TaskState; readonly why: string }
  endpoint: { readonly network: NetworkId; readonly task: TaskId; readonly value: EndpointValue | null }
  /** Offer the task to a node, or take the offer back. */
  offer: { readonly task: TaskId; readonly to: NodeId | undefined }
  /** Delete the record of a task that ended. */
  forget: { readonly task: TaskId }
  /** The service lost a VIP to an earlier one: choose another. */
  rewriteVip: { readonly service: ServiceId }
}
export type Step = { [K in keyof Steps]: { readonly do: K } & Steps[K] }[keyof Steps]
