/**
 * The kernel's way of the linux data plane: one nftables table of our own, made so from `routes()` (design.md 8).
 *
 * Owns the table `inet grapevine`, the policy routes of replies through entry nodes, and the UDP conntrack entries of our addresses. Never touches
 * another program's table, and never a device: those are devices.ts.
 */
import type { NodeId, TaskId } from '../../../protocol/ids.ts'
import type { Routes } from '../../core/routes/types.ts'
import type { Clock, Log } from '../../world.ts'

/** What `apply` makes so. */
export interface FirewallInput {
  readonly self: NodeId
  /** With `overlay`. */
  readonly routes: Routes
  /** Own address that other nodes reach: source of what is forwarded to userspace nodes. */
  readonly underlay: string
  /** Own addresses on which published ports are served (`--address`). */
  readonly addresses: readonly string[]
  readonly local: readonly LocalTask[]
}

/** A task in a namespace of this node: its addresses, and where the agent's resolver for it listens. */
export interface LocalTask {
  readonly task: TaskId
  readonly links: readonly { readonly network: string; readonly address: string }[]
  readonly resolver: { readonly host: string; readonly port: number }
}

export interface FirewallOptions {
  readonly clock: Clock
  readonly log: Log
  /** The table had been flushed or deleted by another program, and is whole again. */
  onRestored(): void
}

export interface Firewall {
  /** Makes it so; resolves when new connections obey it. Rejects with a Fault ('unavailable') when the kernel refuses the whole table too. */
  apply(input: FirewallInput): Promise<void>
  /** Ends the processes of ours. The table stays: the kernel goes on forwarding while the agent restarts. */
  close(): Promise<void>
  counters(): FirewallCounters
}

export interface FirewallCounters {
  /** Times that the table was found flushed and made whole. */
  readonly restored: number
  /** Times that the whole table was written: the first time, after an error, and to restore it. */
  readonly rewrites: number
  /** UDP conntrack entries deleted because their backend is gone. */
  readonly udpForgotten: number
}
