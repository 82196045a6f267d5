/**
 * Moves the bytes of one open flow: between two sockets, or between a socket and a flow of the mesh.
 *
 * Half-close, back-pressure and reset pass through in both directions; nothing here picks, dials or times out. By hand and without
 * promises or pipes, since every byte goes through here (measured in ecosystem.md 4: pipeline() costs half of the connections/s).
 */
import type { Socket } from 'node:net'
import type { Flow, FlowHandler, ResetReason } from '../../../protocol/flow.ts'
import { abort } from './abort.ts'
import type { FlowRecord } from './ledger.ts'
import type { Reader } from './reader.ts'

/** Called once, when both sides are done; undefined means in good order. */
export type Ended = (cause: string | undefined) => void

/** Connected, half-open allowed, and nobody has read from it. */
export interface Dialled {
  readonly socket: Socket
  /** Reads from it. */
  readonly reader: Reader
}

/** The client's socket is connected, half-open allowed, paused, and nobody has read from it. */
export function relaySockets(
  client: Socket,
  { socket: task, reader }: Dialled,
  record: FlowRecord,
  ended: Ended,
): void {
  let open = 2
  let cause: string | undefined

  client.on('data', (chunk: Buffer) => {
    record.bytesIn += chunk.length
    record.awaited = true
    if (!task.write(chunk)) client.pause()
  })
  reader.into((chunk) => {
    record.bytesOut += chunk.length
    record.awaited = false
    if (!client.write(chunk)) return 'stop'
    return client.writableLength === 0 ? 'free' : 'held'
  })
  client.on('drain', () => task.resume())
  task.on('drain', () => client.resume())
  client.on('end', () => finish(task))
  task.on('end', () => finish(client))
  const closed = (socket: Socket, other: Socket, side: 'client' | 'task') => {
    if (!socket.readableEnded || socket.errored !== null) {
      cause ??= socket.errored === null ? 'ended here' : `${side}: ${socket.errored.message}`
      if (!other.destroyed) abort(other)
    }
    open--
    if (open === 0) ended(cause)
  }
  client.on('close', () => closed(client, task, 'client'))
  task.on('close', () => {
    reader.close()
    closed(task, client, 'task')
  })
  // An error is told by the close that follows it; without a listener it would end the process.
  client.on('error', ignore)
  task.on('error', ignore)
  client.resume()
}

/** One end of a flow through the mesh: at the entry node the socket is the client's, at the hosting node the task's. */
export class SocketFlow implements FlowHandler {
  private readonly socket: Socket
  private readonly flow: Flow
  private readonly side: 'client' | 'task'
  private readonly record: FlowRecord
  private readonly ended: Ended
  /** Bytes in the socket's write queue that are not granted again yet. */
  private held = 0
  private socketClosed = false
  private flowClosed = false
  private cause: string | undefined

  constructor(
    socket: Socket,
    flow: Flow,
    /** `reader` where the socket was dialled with one. */
    options: { side: 'client' | 'task'; record: FlowRecord; ended: Ended; reader?: Reader },
  ) {
    this.socket = socket
    this.flow = flow
    this.side = options.side
    this.record = options.record
    this.ended = options.ended
    const { reader } = options
    if (reader === undefined) {
      socket.on('data', (chunk: Buffer) => {
        if (!this.fromSocket(chunk)) socket.pause()
      })
      // What a flow sends at once it copies; what it keeps for later is the chunk itself.
    } else reader.into((chunk) => (this.fromSocket(chunk) ? 'free' : 'stop'))
    socket.on('drain', () => this.drained())
    socket.on('end', () => this.flow.end())
    socket.on('error', ignore)
    socket.on('close', () => {
      reader?.close()
      this.closed()
    })
  }

  onAccepted(): void {}

  onData(bytes: Uint8Array): void {
    const length = bytes.length
    this.moved(length, this.side === 'task')
    gather(this.socket)
    if (this.socket.write(bytes)) this.flow.consumed(length)
    else this.held += length
  }

  onEnd(): void {
    finish(this.socket)
  }

  onReset(reason: ResetReason): void {
    this.flowClosed = true
    this.cause ??= reason
    abort(this.socket)
    this.finish()
  }

  onWritable(): void {
    this.socket.resume()
  }

  onClosed(): void {
    this.flowClosed = true
    this.finish()
  }

  onDatagram(): void {}

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

  private closed(): void {
    const socket = this.socket
    this.socketClosed = true
    if (!socket.readableEnded || socket.errored !== null) {
      this.cause ??= socket.errored === null ? 'ended here' : `${this.side}: ${socket.errored.message}`
      if (!this.flowClosed) {
        this.flowClosed = true
        this.flow.reset('reset')
      }
    }
    this.finish()
  }

  private finish(): void {
    if (this.socketClosed && this.flowClosed) this.ended(this.cause)
  }
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

function ignore(): void {}
