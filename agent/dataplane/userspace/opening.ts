/**
 * Opens one TCP flow for a client that has connected: picks an endpoint, dials it here or asks its agent, and goes on to the next if it
 * does not accept (design.md 8). No client byte is read before an endpoint has accepted, so trying again loses nothing.
 */
import { connect, type Socket } from 'node:net'
import type { Flow, FlowHandler, ResetReason } from '../../../protocol/flow.ts'
import type { FlowAddress } from '../../../protocol/flow-open.ts'
import type { NodeId, TaskId } from '../../../protocol/ids.ts'
import type { Ejections } from '../../core/routes/ejection.ts'
import { pick } from '../../core/routes/pick.ts'
import type { Backend } from '../../core/routes/types.ts'
import type { Cancel, Clock, Mesh, Random } from '../../world.ts'
import type { FailedAttempt, Ledger } from './ledger.ts'
import { proxyHeader } from './proxy-header.ts'
import { Reader } from './reader.ts'
import { relaySockets, SocketFlow } from './relay.ts'
import { actualPort, type Route } from './route.ts'
import type { OpenSockets } from './sockets.ts'

/** 300 ms without a word, and another endpoint is tried beside the silent one (design.md 8). */
const acceptMs = 300
/** 2 s with nothing left to try: longer than a death takes to be known and acted on, shorter than clients' patience. */
const hopelessMs = 2_000
/** 10 s in all: an endpoint that is the only one may be slow or far away. */
const patienceMs = 10_000
/** 50 ms between two looks at an exhausted table. */
const againMs = 50

export interface OpeningDeps {
  readonly self: NodeId
  readonly mesh: Mesh
  readonly clock: Clock
  readonly random: Random
  readonly ledger: Ledger
  readonly ejections: Ejections
  readonly sockets: OpenSockets
  trouble(task: TaskId, why: 'refused' | 'timeout'): void
}

/** The client's socket is paused, half-open allowed, and the caller's no more. */
export function openTcp(client: Socket, route: Route, deps: OpeningDeps): void {
  const address = { host: client.remoteAddress ?? '', port: client.remotePort ?? 0 }
  // Gone already: it was reset while it waited in the backlog.
  if (address.host === '') client.destroy()
  else new Opening(client, address, route, deps).begin()
}

class Opening {
  private readonly client: Socket
  private readonly from: FlowAddress
  private readonly route: Route
  private readonly deps: OpeningDeps
  private readonly startedMs: number
  private readonly attempts = new Set<Cancel>()
  private readonly tried = new Set<TaskId>()
  private cancelTimer: Cancel = nothing
  private over = false

  constructor(client: Socket, from: FlowAddress, route: Route, deps: OpeningDeps) {
    this.client = client
    this.from = from
    this.route = route
    this.deps = deps
    this.startedMs = deps.clock.now()
  }

  begin(): void {
    // A client that is reset or closed here while it waits takes its attempts with it.
    this.client.on('error', nothing)
    this.client.once('close', this.clientGone)
    this.next()
  }

  private readonly clientGone = () => this.finish()

  private next(): void {
    this.cancelTimer()
    const { deps, route } = this
    const nowMs = deps.clock.now()
    const backend = pick(route.backends, {
      random: () => deps.random.next(),
      active: (task) => deps.ledger.active(task),
      ejected: (task) => deps.ejections.isEjected(task, nowMs),
      tried: this.tried,
      ...(route.options.affinity === 'client-ip'
        ? { affinity: { client: this.from.host, table: route.affinity() } }
        : {}),
    })
    if (backend === undefined) {
      this.exhausted(nowMs)
      return
    }
    if (this.tried.size > 0) deps.ledger.retried(route.service, backend.task)
    this.tried.add(backend.task)
    const pickedMs = deps.clock.wall()
    if (backend.local) this.dial(backend, pickedMs)
    else this.ask(backend, pickedMs)
    this.cancelTimer = deps.clock.after(acceptMs, () => {
      this.failed(backend, { pickedMs, cause: 'timeout' })
      this.next()
    })
  }

  /** Everything has been tried: wait for the silent ones, or look again in a moment, for a while. */
  private exhausted(nowMs: number): void {
    const waitedMs = nowMs - this.startedMs
    if (waitedMs > (this.attempts.size > 0 ? patienceMs : hopelessMs)) {
      this.deps.ledger.refused(this.route.service)
      this.finish()
      this.client.resetAndDestroy()
      return
    }
    if (this.attempts.size === 0) this.tried.clear()
    this.cancelTimer = this.deps.clock.after(againMs, () => this.next())
  }

  private dial(backend: Backend, pickedMs: number): void {
    const port = actualPort(backend.ports, 'tcp', this.route.target)
    const reader = new Reader()
    const task = connect({ host: backend.host, port, noDelay: true, allowHalfOpen: true, onread: reader.onread })
    const cancel = () => task.destroy()
    this.attempts.add(cancel)
    this.deps.sockets.add(task)
    const failed = () => this.gaveUp(backend, cancel, pickedMs)
    task.once('error', failed)
    task.once('connect', () => {
      task.removeListener('error', failed)
      this.attempts.delete(cancel)
      if (!this.won(backend)) {
        task.destroy()
        return
      }
      if (this.route.options.proxyProtocol) task.write(proxyHeader('tcp', this.from, this.entry()))
      const record = this.record(backend, pickedMs)
      relaySockets(this.client, { socket: task, reader }, record, (cause) => this.deps.ledger.end(record, cause))
    })
  }

  private ask(backend: Backend, pickedMs: number): void {
    const handler: FlowHandler = {
      onAccepted: (flow: Flow) => {
        this.attempts.delete(cancel)
        if (!this.won(backend)) {
          flow.reset('cancelled')
          return
        }
        const record = this.record(backend, pickedMs)
        flow.handler = new SocketFlow(this.client, flow, {
          side: 'client',
          record,
          ended: (cause) => this.deps.ledger.end(record, cause),
        })
        this.client.resume()
      },
      onReset: (_reason: ResetReason) => this.gaveUp(backend, cancel, pickedMs),
      onData: nothing,
      onEnd: nothing,
      onWritable: nothing,
      onClosed: nothing,
      onDatagram: nothing,
    }
    const opening = this.deps.mesh.open(
      backend.node,
      {
        kind: 'tcp',
        task: backend.task,
        target: this.route.target,
        client: this.from,
        entry: this.entry(),
        proxyProtocol: this.route.options.proxyProtocol,
      },
      handler,
    )
    const cancel = () => opening.cancel()
    this.attempts.add(cancel)
  }

  private gaveUp(backend: Backend, cancel: Cancel, pickedMs: number): void {
    if (!this.attempts.delete(cancel) || this.over) return
    this.failed(backend, { pickedMs, cause: 'refused' })
    this.next()
  }

  private failed({ task, node }: Backend, how: Pick<FailedAttempt, 'pickedMs' | 'cause'>): void {
    const { deps, route } = this
    const client = `${this.from.host}:${this.from.port}`
    deps.ledger.attemptFailed({ ...how, client, service: route.service, task, node })
    deps.ejections.failed(task, deps.clock.now())
    deps.trouble(task, how.cause)
  }

  /** The first endpoint that accepts has the flow; the client may have gone meanwhile. */
  private won(backend: Backend): boolean {
    if (this.over || this.client.destroyed) return false
    this.client.removeListener('close', this.clientGone)
    this.finish()
    this.deps.ejections.worked(backend.task)
    return true
  }

  private finish(): void {
    if (this.over) return
    this.over = true
    this.cancelTimer()
    for (const cancel of [...this.attempts]) cancel()
    this.attempts.clear()
  }

  private record(backend: Backend, pickedMs: number) {
    return this.deps.ledger.opened({
      protocol: 'tcp',
      client: `${this.from.host}:${this.from.port}`,
      service: this.route.service,
      task: backend.task,
      node: backend.node,
      pickedMs,
    })
  }

  private entry(): FlowAddress {
    return { host: this.client.localAddress ?? '0.0.0.0', port: this.client.localPort ?? 0 }
  }
}

function nothing(): void {}
