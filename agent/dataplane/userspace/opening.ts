/**
 * Opens one TCP flow for a client that has connected: picks an endpoint, has it asked, and goes on to the next if it does not accept
 * (design.md 8). No client byte is read before an endpoint has accepted, so trying again loses nothing.
 *
 * A connection a request makes one of these a request: what is needed only when an endpoint fails is made only then.
 */
import type { Socket } from 'node:net'
import type { FlowAddress } from '../../../protocol/flow-open.ts'
import type { NodeId, TaskId } from '../../../protocol/ids.ts'
import type { Ejections } from '../../core/routes/ejection.ts'
import { type PickFacts, pick } from '../../core/routes/pick.ts'
import type { Cancel, Clock, Mesh, Random } from '../../world.ts'
import type { AcceptTimeouts, Waiter } from './accept-timeouts.ts'
import type { Arrival, Arrivals } from './arrivals.ts'
import { type Attempt, DialAttempt, MeshAttempt, type Opener } from './attempt.ts'
import type { FailedAttempt, FlowRecord, Ledger } from './ledger.ts'
import type { Route } from './route.ts'
import type { CountedSocket, OpenSockets, SocketOwner } from './sockets.ts'

/** 2 s with nothing left to try: longer than a death takes to be known and acted on, shorter than clients' patience. */
const hopelessMs = 2_000
/** 10 s in all: an endpoint that is the only one may be slow or far away. */
const patienceMs = 10_000
/** 50 ms between two looks at an exhausted table. */
const againMs = 50
/** Before anything has failed. */
const none: ReadonlySet<TaskId> = new Set()

export interface OpeningDeps {
  readonly self: NodeId
  readonly mesh: Mesh
  readonly clock: Clock
  readonly random: Random
  readonly ledger: Ledger
  readonly ejections: Ejections
  readonly sockets: OpenSockets
  readonly timeouts: AcceptTimeouts
  readonly arrivals: Arrivals
  trouble(task: TaskId, why: 'refused' | 'timeout'): void
}

/** The client's socket is paused, half-open allowed, and the caller's no more. Begins with others that come now. */
export function openTcp(client: Socket, route: Route, deps: OpeningDeps): void {
  deps.arrivals.add(new Opening(client, route, deps))
}

class Opening implements Arrival, Opener, PickFacts, SocketOwner, Waiter {
  readonly client: CountedSocket
  readonly route: Route
  readonly deps: OpeningDeps
  tried = none
  dueMs = 0
  private startedMs = 0
  private nowMs = 0
  /** Under way, oldest first. */
  private attempts: Attempt[] = []
  private cancelAgain: Cancel | undefined
  private over = false

  constructor(client: Socket, route: Route, deps: OpeningDeps) {
    this.client = deps.sockets.add(client, this)
    this.route = route
    this.deps = deps
  }

  /** Waits while descriptors are used up. */
  begin(): void {
    this.deps.sockets.whenRoomy(() => this.start())
  }

  private start(): void {
    const { client, deps } = this
    if (this.over) return
    if (client.socket.remoteAddress === undefined) {
      // Gone already: it was reset while it waited in the backlog.
      client.socket.destroy()
      return
    }
    this.startedMs = deps.clock.now()
    this.next(this.startedMs)
  }

  /** A client that is reset or closed here while it waits takes its attempts with it. */
  socketClosed(): void {
    this.finish(undefined)
  }

  timedOut(): void {
    this.failed(this.attempts.at(-1)!, 'timeout')
    this.next(this.deps.clock.now())
  }

  gaveUp(attempt: Attempt): void {
    if (this.over) return
    this.attempts = this.attempts.filter((one) => one !== attempt)
    this.failed(attempt, 'refused')
    this.next(this.deps.clock.now())
  }

  /** The first endpoint that accepts has the flow; the client may have gone meanwhile. */
  won(attempt: Attempt): boolean {
    if (this.over) return false
    this.finish(attempt)
    if (this.client.socket.destroyed) return false
    this.deps.ejections.worked(attempt.backend.task)
    return true
  }

  record({ backend, pickedMs }: Attempt): FlowRecord {
    return this.deps.ledger.opened({
      protocol: 'tcp',
      client: this.name,
      service: this.route.service,
      task: backend.task,
      node: backend.node,
      pickedMs,
    })
  }

  get from(): FlowAddress {
    const { remoteAddress, remotePort } = this.client.socket
    return { host: remoteAddress ?? '', port: remotePort ?? 0 }
  }

  get entry(): FlowAddress {
    const { localAddress, localPort } = this.client.socket
    return { host: localAddress ?? '0.0.0.0', port: localPort ?? 0 }
  }

  random(): number {
    return this.deps.random.next()
  }

  active(task: TaskId): number {
    return this.deps.ledger.active(task)
  }

  ejected(task: TaskId): boolean {
    return this.deps.ejections.isEjected(task, this.nowMs)
  }

  get affinity(): PickFacts['affinity'] {
    const { route } = this
    if (route.options.affinity === 'none') return undefined
    return { client: this.from.host, table: route.affinity() }
  }

  private next(nowMs: number): void {
    this.stopWaiting()
    this.nowMs = nowMs
    const { deps, route } = this
    const backend = pick(route.backends, this)
    if (backend === undefined) {
      this.exhausted()
      return
    }
    if (this.tried.size > 0) deps.ledger.retried(route.service, backend.task)
    const Attempting = backend.local ? DialAttempt : MeshAttempt
    this.attempts.push(new Attempting(this, backend, deps.clock.wall()))
    deps.timeouts.add(this, nowMs)
  }

  /** Everything has been tried: wait for the silent ones, or look again in a moment, for a while. */
  private exhausted(): void {
    const { deps, attempts } = this
    const waitedMs = this.nowMs - this.startedMs
    if (waitedMs > (attempts.length > 0 ? patienceMs : hopelessMs)) {
      deps.ledger.refused(this.route.service)
      this.finish(undefined)
      this.client.socket.resetAndDestroy()
      return
    }
    if (attempts.length === 0) this.tried = none
    this.cancelAgain = deps.clock.after(againMs, () => this.next(deps.clock.now()))
  }

  private failed({ backend, pickedMs }: Attempt, cause: FailedAttempt['cause']): void {
    const { deps, route } = this
    const { task, node } = backend
    this.tried = new Set([...this.tried, task])
    deps.ledger.attemptFailed({ pickedMs, cause, client: this.name, service: route.service, task, node })
    deps.ejections.failed(task, deps.clock.now())
    deps.trouble(task, cause)
  }

  private finish(winner: Attempt | undefined): void {
    if (this.over) return
    this.over = true
    this.stopWaiting()
    for (const attempt of this.attempts) if (attempt !== winner) attempt.cancel()
  }

  private stopWaiting(): void {
    this.deps.timeouts.delete(this)
    this.cancelAgain?.()
  }

  /** `address:port` of the client. */
  private get name(): string {
    const { remoteAddress, remotePort } = this.client.socket
    return `${remoteAddress}:${remotePort}`
  }
}
