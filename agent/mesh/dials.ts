/**
 * Connections that are being opened: one attempt a node at a time, who waits for it, and how often it has failed.
 *
 * What a connection is used for, and who may have one, is decided by who asks.
 */
import type { SecureContext, TLSSocket } from 'node:tls'
import type { ResetReason } from '../../protocol/flow.ts'
import type { NodeId } from '../../protocol/ids.ts'
import type { Cancel, Clock, Log } from '../world.ts'
import { type DialOptions, dial } from './dial.ts'
import type { Link } from './link.ts'

/** 2: some 8 s, in which a node that is down would have been found dead. */
const toldFailures = 2

export interface DialsOptions {
  readonly context: SecureContext
  readonly clock: Clock
  readonly log: Log
  addressesOf(node: NodeId): DialOptions['addresses']
  /** A connection whose key has been checked. */
  connected(socket: TLSSocket, node: NodeId): Link
}

/** What became of an attempt: a link, or why there is none. */
export type Dialled = (result: Link | ResetReason) => void

interface Attempt {
  readonly cancel: Cancel
  readonly waiting: Set<Dialled>
}

export class Dials {
  private readonly options: DialsOptions
  private readonly attempts = new Map<NodeId, Attempt>()
  /** Attempts that failed in a row. */
  private readonly failures = new Map<NodeId, number>()

  constructor(options: DialsOptions) {
    this.options = options
  }

  /** Dials unless an attempt is under way; `done` is called once when it has ended. */
  dial(node: NodeId, done?: Dialled): void {
    let attempt = this.attempts.get(node)
    if (attempt === undefined) {
      const { context, clock, addressesOf } = this.options
      const cancel = dial({ node, addresses: addressesOf(node), context, clock }, (result) => this.ended(node, result))
      attempt = { cancel, waiting: new Set() }
      this.attempts.set(node, attempt)
    }
    if (done !== undefined) attempt.waiting.add(done)
  }

  /** Whether the last attempt failed. */
  isFailing(node: NodeId): boolean {
    return this.failures.has(node)
  }

  /** Ends an attempt for this reason, and forgets what failed. */
  drop(node: NodeId, reason: ResetReason): void {
    this.failures.delete(node)
    const attempt = this.attempts.get(node)
    this.attempts.delete(node)
    attempt?.cancel()
    for (const done of attempt?.waiting ?? []) done(reason)
  }

  dropAll(reason: ResetReason): void {
    for (const node of [...this.attempts.keys()]) this.drop(node, reason)
  }

  private ended(node: NodeId, result: TLSSocket | string): void {
    const waiting = this.attempts.get(node)?.waiting ?? []
    this.attempts.delete(node)
    if (typeof result === 'string') {
      this.failed(node, result)
      for (const done of waiting) done('link-lost')
      return
    }
    this.failures.delete(node)
    const link = this.options.connected(result, node)
    for (const done of waiting) done(link)
  }

  /** Told once, and not at the first failure: a machine that has just died fails too. */
  private failed(node: NodeId, reason: string): void {
    const { log } = this.options
    const count = (this.failures.get(node) ?? 0) + 1
    this.failures.set(node, count)
    if (count === toldFailures)
      log.warn('No mesh connection to a node can be opened: its tasks are out of reach', { node, reason })
    else log.debug('A mesh connection failed', { node, reason })
  }
}
