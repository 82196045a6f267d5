/**
 * Takes flows from other agents to the tasks of this node: dials the task, says ACCEPTED when it has accepted, then relays.
 */
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { connect, isIPv6, type Socket } from 'node:net'
import type { Flow, FlowHandler, ResetReason } from '../../../protocol/flow.ts'
import type { TaskTarget } from '../../../protocol/flow-open.ts'
import type { NodeId, TaskId } from '../../../protocol/ids.ts'
import type { Attached } from './attachments.ts'
import type { Ledger } from './ledger.ts'
import { sendHeader } from './proxy-header.ts'
import { Reader } from './reader.ts'
import { SocketFlow } from './relay.ts'
import { actualPort } from './route.ts'
import type { CountedSocket, OpenSockets, SocketOwner } from './sockets.ts'

export interface HostingDeps {
  readonly self: NodeId
  readonly ledger: Ledger
  readonly sockets: OpenSockets
  attached(task: TaskId): Attached | undefined
}

/** Answers an OPEN: who handles the flow from now on, or why not. */
export function takeFlow(flow: Flow, target: TaskTarget, from: NodeId, deps: HostingDeps): FlowHandler | ResetReason {
  const attached = deps.attached(target.task)
  if (attached === undefined) return 'unknown-target'
  const host = attached.attachment.host
  const port = actualPort(attached.attachment.ports, target.kind, target.target)
  const record = () =>
    deps.ledger.opened({
      protocol: target.kind,
      client: `${target.client.host}:${target.client.port}`,
      entry: from,
      service: attached.request.service,
      task: target.task,
      node: deps.self,
    })
  return target.kind === 'tcp'
    ? new DialledTask(flow, target, { host, port, record, deps })
    : new UdpTask(flow, { host, port, record, deps })
}

interface Way {
  readonly host: string
  readonly port: number
  readonly record: () => ReturnType<Ledger['opened']>
  readonly deps: HostingDeps
}

/** While the task is being dialled; then SocketFlow takes over. */
class DialledTask implements FlowHandler, SocketOwner {
  private readonly flow: Flow
  private readonly target: TaskTarget
  private readonly way: Way
  private readonly reader = new Reader()
  private readonly task: CountedSocket

  constructor(flow: Flow, target: TaskTarget, way: Way) {
    this.flow = flow
    this.target = target
    this.way = way
    const { host, port, deps } = way
    const socket = connect({ host, port, allowHalfOpen: true, onread: this.reader.onread })
    this.task = deps.sockets.add(socket, this)
    socket.on('connect', () => this.connected())
  }

  onReset(): void {
    this.task.socket.destroy()
  }

  /** Before it accepted. */
  socketClosed({ errored }: Socket): void {
    this.reader.close()
    if (errored !== null) this.flow.reset((errored as NodeJS.ErrnoException).code === 'EMFILE' ? 'busy' : 'refused')
  }

  onAccepted(): void {}
  onData(): void {}
  onEnd(): void {}
  onWritable(): void {}
  onClosed(): void {}
  onDatagram(): void {}

  private connected(): void {
    const { flow, target, reader, task, way } = this
    if (target.proxyProtocol) sendHeader(task.socket, target.client, target.entry)
    const record = way.record()
    flow.handler = new SocketFlow(task, flow, { side: 'task', record, ledger: way.deps.ledger, reader })
    flow.accept()
  }
}

/** Datagrams of one client to one task, and back. Ends when the entry node ends it, or when the task's port is closed. */
class UdpTask implements FlowHandler {
  private readonly flow: Flow
  private readonly socket: UdpSocket
  private readonly record: ReturnType<Ledger['opened']>
  private readonly deps: HostingDeps
  private over = false

  constructor(flow: Flow, way: Way) {
    const { host, port, deps } = way
    this.flow = flow
    this.deps = deps
    this.record = way.record()
    this.socket = createSocket({ type: isIPv6(host) ? 'udp6' : 'udp4', lookup: literal })
    deps.sockets.take()
    this.socket.on('error', () => {
      flow.reset('refused')
      this.end('task: refused')
    })
    this.socket.on('message', (bytes) => {
      this.record.bytesOut += bytes.length
      if (!flow.datagram(bytes)) deps.ledger.datagramsDropped++
    })
    this.socket.connect(port, host, () => {
      if (this.over) return
      enlargeBuffers(this.socket)
      flow.accept()
    })
  }

  onDatagram(bytes: Uint8Array): void {
    // One that comes after the end is a mistake of the other agent; a closed socket throws.
    if (this.over) return
    this.record.bytesIn += bytes.length
    // A copy: the bytes are the connection's only during this call.
    this.socket.send(Buffer.from(bytes))
  }

  onEnd(): void {
    this.end(undefined)
    this.flow.end()
  }

  onReset(reason: ResetReason): void {
    this.end(reason === 'cancelled' ? undefined : reason)
  }

  onAccepted(): void {}
  onData(): void {}
  onWritable(): void {}
  onClosed(): void {}

  private end(cause: string | undefined): void {
    if (this.over) return
    this.over = true
    this.socket.close()
    this.deps.sockets.free()
    this.deps.ledger.end(this.record, cause)
  }
}

/** 4 MB: 20,000 datagrams/s of 200 B are 16 MB/s of kernel memory, so a stall of a quarter of a second loses nothing. */
const udpBufferBytes = 4 * 1024 * 1024

/** The kernel gives what `net.core.rmem_max` allows. */
export function enlargeBuffers(socket: UdpSocket): void {
  socket.setRecvBufferSize(udpBufferBytes)
  socket.setSendBufferSize(udpBufferBytes)
}

/** dgram looks every address up, a literal too, in a later turn of the event loop; ours are literals always. */
export function literal(
  host: string,
  _options: unknown,
  done: (error: NodeJS.ErrnoException | null, address: string, family: number) => void,
): void {
  done(null, host, isIPv6(host) ? 6 : 4)
}
