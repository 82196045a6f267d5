/**
 * One endpoint asked to take one flow: dialled, when its task is here, else through its node's agent. The first that accepts gets the client;
 * which are asked, and how long they have, is decided in opening.ts.
 */
import { connect } from 'node:net'
import type { Flow, FlowHandler } from '../../../protocol/flow.ts'
import type { FlowAddress } from '../../../protocol/flow-open.ts'
import type { Backend } from '../../core/routes/types.ts'
import type { Mesh, MeshOpening } from '../../world.ts'
import type { FlowRecord, Ledger } from './ledger.ts'
import { sendHeader } from './proxy-header.ts'
import { Reader } from './reader.ts'
import { Relay, SocketFlow } from './relay.ts'
import { actualPort, type Route } from './route.ts'
import type { CountedSocket, OpenSockets, SocketOwner } from './sockets.ts'

export interface Attempt {
  readonly backend: Backend
  /** Wall ms. */
  readonly pickedMs: number
  cancel(): void
}

/** The opening that an attempt belongs to. */
export interface Opener {
  readonly deps: { readonly mesh: Mesh; readonly sockets: OpenSockets; readonly ledger: Ledger }
  readonly route: Route
  readonly client: CountedSocket
  readonly from: FlowAddress
  /** Where the client came in. */
  readonly entry: FlowAddress
  /** The endpoint accepted. False: it is not wanted any more. */
  won(attempt: Attempt): boolean
  /** The endpoint refused. */
  gaveUp(attempt: Attempt): void
  record(attempt: Attempt): FlowRecord
}

/** A task of this node. */
export class DialAttempt implements Attempt, SocketOwner {
  readonly backend: Backend
  readonly pickedMs: number
  private readonly opener: Opener
  private readonly reader = new Reader()
  private readonly task: CountedSocket

  constructor(opener: Opener, backend: Backend, pickedMs: number) {
    this.opener = opener
    this.backend = backend
    this.pickedMs = pickedMs
    const port = actualPort(backend.ports, 'tcp', opener.route.target)
    const socket = connect({ host: backend.host, port, allowHalfOpen: true, onread: this.reader.onread })
    this.task = opener.deps.sockets.add(socket, this)
    socket.on('connect', () => this.connected())
  }

  cancel(): void {
    this.task.socket.destroy()
  }

  /** Before it accepted. */
  socketClosed(): void {
    this.reader.close()
    this.opener.gaveUp(this)
  }

  private connected(): void {
    const { opener, task, reader } = this
    if (!opener.won(this)) {
      task.socket.destroy()
      return
    }
    if (opener.route.options.proxyProtocol) sendHeader(task.socket, opener.from, opener.entry)
    new Relay(opener.client, task, { reader, record: opener.record(this), ledger: opener.deps.ledger }).begin()
  }
}

/** A task of another node. */
export class MeshAttempt implements Attempt, FlowHandler {
  readonly backend: Backend
  readonly pickedMs: number
  private readonly opener: Opener
  private readonly opening: MeshOpening

  constructor(opener: Opener, backend: Backend, pickedMs: number) {
    this.opener = opener
    this.backend = backend
    this.pickedMs = pickedMs
    const { deps, route, from, entry } = opener
    const { proxyProtocol } = route.options
    const asked = { kind: 'tcp', task: backend.task, target: route.target, client: from, entry, proxyProtocol } as const
    this.opening = deps.mesh.open(backend.node, asked, this)
  }

  cancel(): void {
    this.opening.cancel()
  }

  onAccepted(flow: Flow): void {
    const { opener } = this
    if (!opener.won(this)) {
      flow.reset('cancelled')
      return
    }
    const record = opener.record(this)
    flow.handler = new SocketFlow(opener.client, flow, { side: 'client', record, ledger: opener.deps.ledger })
    opener.client.socket.resume()
  }

  onReset(): void {
    this.opener.gaveUp(this)
  }

  onData(): void {}
  onEnd(): void {}
  onWritable(): void {}
  onClosed(): void {}
  onDatagram(): void {}
}
