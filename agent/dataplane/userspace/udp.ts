/**
 * UDP on one address and port: a table of clients, each with the endpoint that its datagrams go to and come back from.
 *
 * A flow ends when nothing has passed for the idle time, or at once when its endpoint goes: the client's next datagram picks another
 * (moby #36878, #8795: stuck for minutes). Datagrams wait only while an endpoint is asked, and few of them.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import type { Flow, FlowHandler } from '../../../protocol/flow.ts'
import { pick } from '../../core/routes/pick.ts'
import type { Backend } from '../../core/routes/types.ts'
import type { Cancel } from '../../world.ts'
import { acceptMs } from './accept-timeouts.ts'
import { enlargeBuffers, literal } from './hosting.ts'
import type { FlowRecord } from './ledger.ts'
import type { OpeningDeps } from './opening.ts'
import { proxyHeader } from './proxy-header.ts'
import { actualPort, type Route } from './route.ts'

/** 4,096 clients of one port: each holds a descriptor. Beyond it the one that has been quiet longest goes. */
const flowsMax = 4_096
/** Datagrams that wait for an endpoint's first word: 50 ms at 20,000 a second, in which a connection to another agent is made. */
const waitingMax = 1_024
const sweepMs = 1_000

export interface UdpDeps extends OpeningDeps {
  /** A flow without datagrams for this long ends. */
  readonly udpIdleMs: number
}

export class UdpListener {
  readonly host: string
  readonly port: number
  private readonly route: Route
  private readonly deps: UdpDeps
  private readonly socket: Socket
  private readonly flows = new Map<string, UdpFlow>()
  private cancelSweep: Cancel
  private closed = false

  constructor(host: string, port: number, route: Route, deps: UdpDeps) {
    this.host = host
    this.port = port
    this.route = route
    this.deps = deps
    this.socket = createSocket({ type: isIPv6(host) ? 'udp6' : 'udp4', lookup: literal })
    this.socket.on('message', (bytes, client) => this.received(bytes, client))
    this.cancelSweep = deps.clock.after(sweepMs, () => this.sweep())
  }

  /** Undefined when it is bound; else the error code. */
  listen(): Promise<string | undefined> {
    return new Promise((resolve) => {
      this.socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
      this.socket.bind({ port: this.port, address: this.host, exclusive: true }, () => {
        this.socket.removeAllListeners('error')
        // Sending to a client that has gone fails now and then; the flow ends by being idle.
        this.socket.on('error', () => {})
        enlargeBuffers(this.socket)
        resolve(undefined)
      })
    })
  }

  /** The route has changed: flows to endpoints that are gone end now. */
  routeChanged(): void {
    for (const flow of [...this.flows.values()]) if (!this.route.has(flow.task)) flow.end('endpoint went')
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    this.cancelSweep()
    for (const flow of [...this.flows.values()]) flow.end('ended here')
    await new Promise<void>((resolve) => this.socket.close(() => resolve()))
  }

  private received(bytes: Buffer, client: RemoteInfo): void {
    const key = `${client.address}:${client.port}`
    let flow = this.flows.get(key)
    if (flow === undefined) {
      if (this.flows.size >= flowsMax) this.evict()
      flow = new UdpFlow(client, this.route, { ...this.deps, reply: (reply) => this.reply(reply, client) }, () => {
        if (this.flows.get(key) === flow) this.flows.delete(key)
      })
      this.flows.set(key, flow)
      flow.begin({ host: this.host, port: this.port })
    }
    flow.send(bytes)
  }

  private reply(bytes: Uint8Array, client: RemoteInfo): void {
    if (!this.closed) this.socket.send(bytes, client.port, client.address)
  }

  private evict(): void {
    let quietest: UdpFlow | undefined
    for (const flow of this.flows.values()) if (quietest === undefined || flow.usedMs < quietest.usedMs) quietest = flow
    quietest?.end('too many clients')
  }

  private sweep(): void {
    const quietSince = this.deps.clock.now() - this.deps.udpIdleMs
    for (const flow of [...this.flows.values()]) if (flow.usedMs < quietSince) flow.end(undefined)
    this.cancelSweep = this.deps.clock.after(sweepMs, () => this.sweep())
  }
}

interface UdpFlowDeps extends UdpDeps {
  reply(bytes: Uint8Array): void
}

/** How the datagrams of one client reach its endpoint, once it is known. */
interface Way {
  send(bytes: Uint8Array): void
  close(): void
}

class UdpFlow {
  usedMs: number
  private readonly client: RemoteInfo
  private readonly route: Route
  private readonly deps: UdpFlowDeps
  private readonly ended: () => void
  private readonly tried = new Set<string>()
  private backend: Backend | undefined
  private header: Buffer | undefined
  private way: Way | undefined
  private pending: Cancel = nothing
  private record: FlowRecord | undefined
  private waiting: Uint8Array[] = []
  private over = false

  constructor(client: RemoteInfo, route: Route, deps: UdpFlowDeps, ended: () => void) {
    this.client = client
    this.route = route
    this.deps = deps
    this.ended = ended
    this.usedMs = deps.clock.now()
  }

  get task(): string {
    return this.backend?.task ?? ''
  }

  begin(entry: { readonly host: string; readonly port: number }): void {
    const { deps, route, client } = this
    const nowMs = deps.clock.now()
    const from = { host: client.address, port: client.port }
    this.backend = pick(route.backends, {
      random: () => deps.random.next(),
      active: (task) => deps.ledger.active(task),
      ejected: (task) => deps.ejections.isEjected(task, nowMs),
      tried: this.tried,
      ...(route.options.affinity === 'client-ip'
        ? { affinity: { client: client.address, table: route.affinity() } }
        : {}),
    })
    if (this.backend === undefined) {
      deps.ledger.refused(route.service)
      this.end('no endpoint')
      return
    }
    this.tried.add(this.backend.task)
    // On request every datagram begins with the header, as dnsdist and others read it.
    this.header = route.options.proxyProtocol ? proxyHeader('udp', from, entry) : undefined
    const retry = () => this.retry(entry)
    if (this.backend.local) this.dial(this.backend, retry)
    else this.ask(this.backend, entry, retry)
  }

  send(bytes: Uint8Array): void {
    if (this.over) return
    this.usedMs = this.deps.clock.now()
    const { way, header } = this
    if (way !== undefined) {
      if (this.record !== undefined) this.record.bytesIn += bytes.length
      way.send(header === undefined ? bytes : Buffer.concat([header, bytes]))
    } else if (this.waiting.length < waitingMax) {
      // A copy: the buffer is the socket's again after this call.
      this.waiting.push(Uint8Array.from(bytes))
    } else {
      this.deps.ledger.datagramsDropped++
    }
  }

  end(cause: string | undefined): void {
    if (this.over) return
    this.over = true
    this.pending()
    this.way?.close()
    this.way = undefined
    if (this.record !== undefined) this.deps.ledger.end(this.record, cause)
    this.ended()
  }

  private dial(backend: Backend, retry: () => void): void {
    const { deps } = this
    const socket = createSocket({ type: isIPv6(backend.host) ? 'udp6' : 'udp4', lookup: literal })
    deps.sockets.take()
    socket.once('close', () => deps.sockets.free())
    this.pending = () => {
      if (this.way === undefined) socket.close()
    }
    socket.on('error', () => {
      // ICMP port unreachable: the task does not listen. What it was told is lost, as on any network.
      this.failed(backend, 'refused')
      if (this.way === undefined) retry()
      else this.end('task: refused')
    })
    socket.on('message', (bytes) => this.received(bytes))
    socket.connect(actualPort(backend.ports, 'udp', this.route.target), backend.host, () => {
      if (this.over) return
      enlargeBuffers(socket)
      this.opened(backend, { send: (bytes) => socket.send(bytes), close: () => socket.close() })
    })
  }

  private ask(backend: Backend, entry: { readonly host: string; readonly port: number }, retry: () => void): void {
    const { deps, client } = this
    const handler: FlowHandler = {
      onAccepted: (flow: Flow) =>
        this.opened(backend, {
          send: (bytes) => {
            if (!flow.datagram(bytes)) deps.ledger.datagramsDropped++
          },
          close: () => flow.reset('cancelled'),
        }),
      onDatagram: (bytes) => this.received(bytes),
      onReset: (reason) => {
        this.pending()
        this.failed(backend, 'refused')
        if (this.way === undefined) retry()
        else this.end(reason)
      },
      onData: nothing,
      onEnd: nothing,
      onWritable: nothing,
      onClosed: nothing,
    }
    const from = { host: client.address, port: client.port }
    const { target } = this.route
    // The header is put on here, so the hosting agent passes datagrams on as they are.
    const asked = { kind: 'udp', task: backend.task, target, client: from, entry, proxyProtocol: false } as const
    const opening = deps.mesh.open(backend.node, asked, handler)
    const cancelTimer = deps.clock.after(acceptMs, () => {
      opening.cancel()
      this.failed(backend, 'timeout')
      retry()
    })
    this.pending = () => {
      cancelTimer()
      if (this.way === undefined) opening.cancel()
    }
  }

  private retry(entry: { readonly host: string; readonly port: number }): void {
    this.pending()
    this.pending = nothing
    if (!this.over) this.begin(entry)
  }

  private failed(backend: Backend, why: 'refused' | 'timeout'): void {
    const { deps, route } = this
    if (this.over) return
    deps.ledger.failed(route.service, backend.task)
    deps.ejections.failed(backend.task, deps.clock.now())
    deps.trouble(backend.task, why)
  }

  private opened(backend: Backend, way: Way): void {
    if (this.over) {
      way.close()
      return
    }
    this.way = way
    this.pending()
    this.pending = nothing
    this.tried.clear()
    this.deps.ejections.worked(backend.task)
    this.record = this.deps.ledger.opened({
      protocol: 'udp',
      client: `${this.client.address}:${this.client.port}`,
      service: this.route.service,
      task: backend.task,
      node: backend.node,
    })
    const waiting = this.waiting
    this.waiting = []
    for (const bytes of waiting) this.send(bytes)
  }

  private received(bytes: Uint8Array): void {
    if (this.over) return
    this.usedMs = this.deps.clock.now()
    if (this.record !== undefined) this.record.bytesOut += bytes.length
    // Bytes of a mesh frame are valid during this call only, and dgram sends later.
    this.deps.reply(this.backend?.local === true ? bytes : Uint8Array.from(bytes))
  }
}

function nothing(): void {}
