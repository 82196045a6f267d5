/**
 * What went through: counters for each service and endpoint, the flows that are open, and a log of those that ended, or never opened, and why.
 *
 * The log answers two questions after a fault: was a failed request open on the lost node before it was lost, and until when were its
 * endpoints still picked. Nothing here decides.
 */
import type { NodeId, ServiceId, TaskId } from '../../../protocol/ids.ts'
import type { Clock } from '../../world.ts'

/** 4,096 ended flows are kept: a minute of a busy node, half a megabyte. */
const logMax = 4_096
/** 1,024 failed attempts: what a busy service meets between the loss of a node and its end in the routes. */
const attemptsMax = 1_024

/** 50 ms between two looks at a flow: asked again sooner, the answer is the same. */
const lookMs = 50

interface Look {
  readonly bytes: number
  readonly atMs: number
  readonly isMoving: boolean
}

/** One flow. The bytes grow while it is open: the relays write them, readers read. */
export interface FlowRecord {
  readonly id: number
  readonly protocol: 'tcp' | 'udp'
  /** `address:port` of the client. */
  readonly client: string
  /** Node whose listener the client reached. */
  readonly entry: NodeId
  readonly service: ServiceId
  readonly task: TaskId
  /** Node that runs the task. */
  readonly node: NodeId
  /** Wall ms at which this endpoint was picked. */
  readonly pickedMs: number
  /** Wall ms at which the hosting agent said that the task accepted. */
  readonly openedMs: number
  /** From the client to the task, and back. */
  bytesIn: number
  bytesOut: number
  /** The client spoke last: an answer is due. Always false of UDP, where nobody can tell. */
  awaited: boolean
  endedMs: number | undefined
  /** Why it ended; 'finished' is in good order. Undefined while it is open. */
  cause: string | undefined
}

/** An endpoint was picked for a client and did not take its flow. */
export interface FailedAttempt {
  /** `address:port` of the client. */
  readonly client: string
  readonly service: ServiceId
  readonly task: TaskId
  readonly node: NodeId
  /** Wall ms. */
  readonly pickedMs: number
  readonly cause: 'refused' | 'timeout'
}

export interface Tally {
  connections: number
  /** Attempts that did not lead to an open flow. */
  failures: number
  /** Attempts made because another endpoint had failed. */
  retries: number
  active: number
  bytesIn: number
  bytesOut: number
}

export interface Counters {
  readonly services: ReadonlyMap<ServiceId, Readonly<Tally>>
  readonly tasks: ReadonlyMap<TaskId, Readonly<Tally>>
  /** Clients that were turned away because no endpoint took them, by service. */
  readonly refused: ReadonlyMap<ServiceId, number>
  readonly datagramsDropped: number
}

export class Ledger {
  datagramsDropped = 0
  private readonly self: NodeId
  private readonly clock: Clock
  private readonly services = new Map<ServiceId, Tally>()
  private readonly tasks = new Map<TaskId, Tally>()
  private readonly refusals = new Map<ServiceId, number>()
  private readonly open = new Map<number, FlowRecord>()
  /** What `underWay` saw of an open flow when it last looked. */
  private readonly looks = new WeakMap<FlowRecord, Look>()
  private readonly ended: FlowRecord[] = []
  private endedNext = 0
  private nextId = 1
  private readonly attempts: FailedAttempt[] = []

  constructor(self: NodeId, clock: Clock) {
    this.self = self
    this.clock = clock
  }

  opened(flow: {
    readonly protocol: 'tcp' | 'udp'
    readonly client: string
    readonly service: ServiceId
    readonly task: TaskId
    readonly node: NodeId
    readonly entry?: NodeId
    /** Wall ms; left out where picking and opening are one. */
    readonly pickedMs?: number
  }): FlowRecord {
    const openedMs = this.clock.wall()
    const record: FlowRecord = {
      id: this.nextId++,
      protocol: flow.protocol,
      client: flow.client,
      entry: flow.entry ?? this.self,
      service: flow.service,
      task: flow.task,
      node: flow.node,
      pickedMs: flow.pickedMs ?? openedMs,
      openedMs,
      bytesIn: 0,
      bytesOut: 0,
      awaited: false,
      endedMs: undefined,
      cause: undefined,
    }
    this.open.set(record.id, record)
    began(tally(this.tasks, record.task))
    if (this.isEntry(record)) began(tally(this.services, record.service))
    return record
  }

  end(record: FlowRecord, cause: string | undefined): void {
    if (record.endedMs !== undefined) return
    record.endedMs = this.clock.wall()
    record.cause = cause ?? 'finished'
    this.open.delete(record.id)
    ended(tally(this.tasks, record.task), record)
    if (this.isEntry(record)) ended(tally(this.services, record.service), record)
    this.ended[this.endedNext] = record
    this.endedNext = (this.endedNext + 1) % logMax
  }

  failed(service: ServiceId, task: TaskId): void {
    tally(this.services, service).failures++
    tally(this.tasks, task).failures++
  }

  attemptFailed(attempt: FailedAttempt): void {
    this.failed(attempt.service, attempt.task)
    this.attempts.push(attempt)
    if (this.attempts.length > attemptsMax) this.attempts.shift()
  }

  retried(service: ServiceId, task: TaskId): void {
    tally(this.services, service).retries++
    tally(this.tasks, task).retries++
  }

  refused(service: ServiceId): void {
    this.refusals.set(service, (this.refusals.get(service) ?? 0) + 1)
  }

  /** Flows of a task that are open here. */
  active(task: TaskId): number {
    return this.tasks.get(task)?.active ?? 0
  }

  /**
   * Of those the ones that would lose something: an answer is due, or bytes moved since the last look. A flow seen for the first time
   * counts, since its client may be about to speak.
   */
  underWay(task: TaskId): number {
    let count = 0
    for (const record of this.open.values()) {
      if (record.task !== task) continue
      if (this.look(record).isMoving || record.awaited) count++
    }
    return count
  }

  private look(record: FlowRecord): Look {
    const before = this.looks.get(record)
    const atMs = this.clock.now()
    if (before !== undefined && atMs - before.atMs < lookMs) return before
    const bytes = record.bytesIn + record.bytesOut
    const look = { bytes, atMs, isMoving: before?.bytes !== bytes }
    this.looks.set(record, look)
    return look
  }

  /** Open flows, oldest first. */
  flows(): readonly Readonly<FlowRecord>[] {
    return [...this.open.values()]
  }

  /** Ended flows that are still remembered, oldest first. */
  log(): readonly Readonly<FlowRecord>[] {
    return [...this.ended.slice(this.endedNext), ...this.ended.slice(0, this.endedNext)]
  }

  /** Attempts that failed and are still remembered, in the order in which they did. */
  failedAttempts(): readonly FailedAttempt[] {
    return [...this.attempts]
  }

  /** Totals with the bytes of open flows in them. */
  counters(): Counters {
    const services = copy(this.services)
    const tasks = copy(this.tasks)
    for (const record of this.open.values()) {
      addBytes(tally(tasks, record.task), record)
      if (this.isEntry(record)) addBytes(tally(services, record.service), record)
    }
    return { services, tasks, refused: new Map(this.refusals), datagramsDropped: this.datagramsDropped }
  }

  /** A service is counted where its clients come in, so that the nodes' counts add up; a task also for flows of other entry nodes. */
  private isEntry(record: FlowRecord): boolean {
    return record.entry === this.self
  }

  /** Forgets the tallies of tasks that are gone and have no flow left. */
  keepTasks(isKnown: (task: TaskId) => boolean): void {
    for (const [task, one] of this.tasks) if (one.active === 0 && !isKnown(task)) this.tasks.delete(task)
  }
}

function tally(tallies: Map<string, Tally>, id: string): Tally {
  let found = tallies.get(id)
  if (found === undefined) {
    found = { connections: 0, failures: 0, retries: 0, active: 0, bytesIn: 0, bytesOut: 0 }
    tallies.set(id, found)
  }
  return found
}

function began(one: Tally): void {
  one.connections++
  one.active++
}

function ended(one: Tally, record: FlowRecord): void {
  one.active--
  addBytes(one, record)
}

function addBytes(one: Tally, record: FlowRecord): void {
  one.bytesIn += record.bytesIn
  one.bytesOut += record.bytesOut
}

function copy(tallies: ReadonlyMap<string, Tally>): Map<string, Tally> {
  return new Map([...tallies].map(([id, one]) => [id, { ...one }]))
}
