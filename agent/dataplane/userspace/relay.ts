/**
 * Moves the bytes of one open flow: between two sockets, or between a socket and a flow of the mesh.
 *
 * Half-close, back-pressure and reset pass through in both directions; nothing here picks, dials or times out. By hand and without
 * promises or pipes, since every byte goes through here (measured in ecosystem.md 4: pipeline() costs half of the connections/s).
 * A first write leaves at once; only a later one could be held back by Nagle's algorithm, so that is switched off only then: a connection a
 * request saves two system calls.
 */
import type { Socket } from 'node:net'
import type { Flow, FlowHandler, ResetReason } from '../../../protocol/flow.ts'
import { abort } from './abort.ts'
import type { FlowRecord, Ledger } from './ledger.ts'
import type { Reader, Taken, Taker } from './reader.ts'
import type { CountedSocket, SocketOwner } from './sockets.ts'

/** Between a client and a task of this node. Both sockets are connected, half-open allowed, and nobody has read from them. */
export class Relay implements SocketOwner, Taker {
  private readonly client: Socket
  private readonly task: Socket
  private readonly reader: Reader
  private readonly record: FlowRecord
  private readonly ledger: Ledger
  private open = 2
  private cause: string | undefined

  /** The client's socket is paused, the task's read by `reader`. */
  constructor(
    client: CountedSocket,
    task: CountedSocket,
    { reader, record, ledger }: { readonly reader: Reader; readonly record: FlowRecord; readonly ledger: Ledger },
  ) {
    this.client = client.socket
    this.task = task.socket
    this.reader = reader
    this.record = record
    this.ledger = ledger
    client.owner = this
    task.owner = this
  }

  begin(): void {
    const { client, task } = this
    this.reader.into(this)
    client.on('data', (chunk: Buffer) => this.fromClient(chunk))
    client.on('end', () => finish(task))
    task.on('end', () => finish(client))
    client.resume()
  }

  /** From the task. */
  take(chunk: Buffer): Taken {
    const { client, task, record } = this
    if (record.bytesOut > 0) client.setNoDelay()
    record.bytesOut += chunk.length
    record.awaited = false
    if (client.write(chunk)) return client.writableLength === 0 ? 'free' : 'held'
    client.once('drain', () => task.resume())
    return 'stop'
  }

  socketClosed(socket: Socket): void {
    const isClient = socket === this.client
    if (!isClient) this.reader.close()
    if (!endedWell(socket)) {
      this.cause ??= causeOf(socket, isClient ? 'client' : 'task')
      const other = isClient ? this.task : this.client
      if (!other.destroyed) abort(other)
    }
    this.open--
    if (this.open === 0) this.ledger.end(this.record, this.cause)
  }

  private fromClient(chunk: Buffer): void {
    const { client, task, record } = this
    if (record.bytesIn > 0) task.setNoDelay()
    record.bytesIn += chunk.length
    record.awaited = true
    if (task.write(chunk)) return
    client.pause()
    task.once('drain', () => client.resume())
  }
}

/** One end of a flow through the mesh: at the entry node the socket is the client's, at the hosting node the task's. */
export class SocketFlow implements FlowHandler, SocketOwner, Taker {
  private readonly socket: Socket
  private readonly flow: Flow
  private readonly side: 'client' | 'task'
  private readonly record: FlowRecord
  private readonly ledger: Ledger
  private readonly reader: Reader | undefined
  /** Bytes in the socket's write queue that are not granted again yet. */
  private held = 0
  private isSocketClosed = false
  private isFlowClosed = false
  private cause: string | undefined

  /** `reader` where the socket was dialled with one. */
  constructor(
    counted: CountedSocket,
    flow: Flow,
    options: { side: 'client' | 'task'; record: FlowRecord; ledger: Ledger; reader?: Reader },
  ) {
    const { socket } = counted
    this.socket = socket
    this.flow = flow
    this.side = options.side
    this.record = options.record
    this.ledger = options.ledger
    this.reader = options.reader
    counted.owner = this
    if (this.reader === undefined) {
      socket.on('data', (chunk: Buffer) => {
        if (!this.fromSocket(chunk)) socket.pause()
      })
    } else this.reader.into(this)
    socket.on('drain', () => this.drained())
    socket.on('end', () => this.flow.end())
  }

  onAccepted(): void {}

  onData(bytes: Uint8Array): void {
    const { socket, record } = this
    const length = bytes.length
    if ((this.side === 'client' ? record.bytesOut : record.bytesIn) > 0) socket.setNoDelay()
    this.moved(length, this.side === 'task')
    gather(socket)
    if (socket.write(bytes)) this.flow.consumed(length)
    else this.held += length
  }

  onEnd(): void {
    finish(this.socket)
  }

  onReset(reason: ResetReason): void {
    this.isFlowClosed = true
    this.cause ??= reason
    abort(this.socket)
    this.finish()
  }

  onWritable(): void {
    this.socket.resume()
  }

  onClosed(): void {
    this.isFlowClosed = true
    this.finish()
  }

  onDatagram(): void {}

  /** From the socket. What a flow sends at once it copies; what it keeps for later is the chunk itself. */
  take(chunk: Buffer): Taken {
    return this.fromSocket(chunk) ? 'free' : 'stop'
  }

  socketClosed(socket: Socket): void {
    this.isSocketClosed = true
    this.reader?.close()
    if (!endedWell(socket)) {
      this.cause ??= causeOf(socket, this.side)
      if (!this.isFlowClosed) {
        this.isFlowClosed = true
        this.flow.reset('reset')
      }
    }
    this.finish()
  }

  private fromSocket(chunk: Buffer): boolean {
    this.moved(chunk.length, this.side === 'client')
    return this.flow.send(chunk)
  }

  private moved(length: number, byClient: boolean): void {
    if (byClient) this.record.bytesIn += length
    else this.record.bytesOut += length
    this.record.awaited = byClient
  }

  private drained(): void {
    const held = this.held
    this.held = 0
    this.flow.consumed(held)
  }

  private finish(): void {
    if (this.isSocketClosed && this.isFlowClosed) this.ledger.end(this.record, this.cause)
  }
}

/** Both sides had said that they are done. */
function endedWell(socket: Socket): boolean {
  return socket.readableEnded && socket.errored === null
}

function causeOf(socket: Socket, side: 'client' | 'task'): string {
  return socket.errored === null ? 'ended here' : `${side}: ${socket.errored.message}`
}

/** Ends the writing side. After the last byte both ways, closing says the same as shutdown and close, at one system call less. */
function finish(socket: Socket): void {
  if (socket.readableEnded && socket.writableLength === 0) socket.destroy()
  else socket.end()
}

const gathering: Socket[] = []

/** TLS hands bytes over in records of 16 KB: what arrives for a socket in one turn of the event loop leaves in one write. */
function gather(socket: Socket): void {
  if (socket.writableCorked > 0) return
  socket.cork()
  gathering.push(socket)
  if (gathering.length === 1) setImmediate(scatter)
}

function scatter(): void {
  for (const socket of gathering.splice(0)) socket.uncork()
}
