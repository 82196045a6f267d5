/**
 * The resolvers of this node: one address for each task, UDP and TCP. Which socket a query came to tells which task asks.
 *
 * Moves bytes only; responder.ts makes the replies. A broken client loses its own connection and nothing else.
 */
import { createSocket, type Socket } from 'node:dgram'
import { createServer, type Server, type Socket as TcpSocket } from 'node:net'
import type { TaskId } from '../../protocol/ids.ts'
import { fault, reasonOf } from '../fault.ts'
import type { Log } from '../world.ts'
import type { Responder } from './responder.ts'

export interface DnsServer {
  /** Rejects with 'port-taken' when the address is in use. Listening again for the same task and address is no error. */
  listen(task: TaskId, host: string, port: number): Promise<void>
  unlisten(task: TaskId): Promise<void>
  close(): Promise<void>
}

/** Clients of one task's resolver over TCP at once: more than a program opens, few enough to keep descriptors for flows. */
const tcpClientsMax = 64
/** RFC 7766 asks servers to keep idle TCP clients for seconds, not minutes. */
const tcpIdleMs = 10_000
/** Queries over TCP that wait for upstream answers, a client. */
const tcpPipelineMax = 100
/** Bursts of queries wait in the kernel while Node is busy elsewhere; the default 208 KB holds 300 of them. */
const receiveBufferBytes = 4 * 1024 * 1024

export function createDnsServer(responder: Responder, log: Log): DnsServer {
  const open = new Map<
    TaskId,
    { readonly where: string; readonly udp: Socket; readonly tcp: Server; readonly clients: Set<TcpSocket> }
  >()

  async function listen(task: TaskId, host: string, port: number): Promise<void> {
    const where = `${host}:${port}`
    if (open.get(task)?.where === where) return
    await unlisten(task)
    const clients = new Set<TcpSocket>()
    const udp = createSocket({ type: 'udp4', recvBufferSize: receiveBufferBytes, lookup: asItIs })
    const tcp = createServer((socket) => serveTcp(task, socket, clients))
    tcp.maxConnections = tcpClientsMax
    udp.on('message', (message, from) => {
      const reply = responder.respond(task, message, 'udp')
      if (reply instanceof Promise)
        void reply.then((late) => late !== undefined && open.has(task) && udp.send(late, from.port, from.address))
      else if (reply !== undefined) udp.send(reply, from.port, from.address)
    })
    try {
      await new Promise<void>((resolve, reject) => {
        udp.once('error', reject)
        udp.bind({ address: host, port, exclusive: true }, resolve)
      })
      await new Promise<void>((resolve, reject) => {
        tcp.once('error', reject)
        tcp.listen({ host, port, exclusive: true }, resolve)
      })
    } catch (error) {
      udp.close()
      tcp.close()
      throw fault(
        'port-taken',
        `the resolver of task ${task} cannot listen on ${where}: ${reasonOf(error)}`,
        undefined,
        error,
      )
    }
    udp.removeAllListeners('error').on('error', (error) => log.warn(`DNS socket ${where}: ${error.message}`))
    tcp.removeAllListeners('error').on('error', (error) => log.warn(`DNS listener ${where}: ${error.message}`))
    open.set(task, { where, udp, tcp, clients })
  }

  function serveTcp(task: TaskId, socket: TcpSocket, clients: Set<TcpSocket>): void {
    clients.add(socket)
    let received: Buffer = Buffer.alloc(0)
    let pending = 0
    socket.setTimeout(tcpIdleMs, () => socket.destroy())
    socket.on('error', () => socket.destroy())
    socket.on('close', () => clients.delete(socket))
    socket.on('data', (chunk) => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk])
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        const length = received.readUInt16BE(0)
        const message = received.subarray(2, 2 + length)
        received = received.subarray(2 + length)
        if (pending >= tcpPipelineMax) return void socket.destroy()
        pending += 1
        void Promise.resolve(responder.respond(task, Buffer.from(message), 'tcp')).then((reply) => {
          pending -= 1
          if (reply === undefined) socket.destroy()
          else if (socket.writable) socket.write(framed(reply))
        })
      }
    })
  }

  async function unlisten(task: TaskId): Promise<void> {
    const entry = open.get(task)
    if (entry === undefined) return
    open.delete(task)
    for (const client of entry.clients) client.destroy()
    await Promise.all([
      new Promise<void>((resolve) => entry.udp.close(() => resolve())),
      new Promise<void>((resolve) => entry.tcp.close(() => resolve())),
    ])
  }

  return {
    listen,
    unlisten,
    async close() {
      await Promise.all([...open.keys()].map(unlisten))
    },
  }
}

/** Replies go to addresses, never to names: Node's own lookup would put each through another turn of the event loop. */
function asItIs(
  address: string,
  _options: unknown,
  done: (error: null, address: string, family: number) => void,
): void {
  done(null, address, 4)
}

function framed(reply: Buffer): Buffer {
  const whole = Buffer.alloc(2 + reply.length)
  whole.writeUInt16BE(reply.length, 0)
  reply.copy(whole, 2)
  return whole
}
