/**
 * Where connections of other agents come in: TLS listeners that give a handshake its time and no more.
 *
 * Who may come in is decided by who takes the connections.
 */
import type { Socket } from 'node:net'
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls'
import { bindReason, fault } from '../fault.ts'
import type { Cancel, Clock, Log } from '../world.ts'
import { alpn } from './dial.ts'

/** 5 s for a handshake, which takes two round trips and 2 ms of CPU at each end. */
const handshakeMs = 5_000

export interface ListenOptions {
  readonly secure: TlsOptions
  readonly clock: Clock
  readonly log: Log
  taken(socket: TLSSocket): void
  /** A handshake failed. */
  refused(): void
}

export interface Listener {
  readonly port: number
  /** Connections that were taken stay. */
  close(): Promise<void>
}

/** Port 0 takes a free one. Rejects with `port-taken` when it is not free. */
export async function listenAt(
  { host, port }: { readonly host: string; readonly port: number },
  { secure, clock, log, taken, refused }: ListenOptions,
): Promise<Listener> {
  /** Ends of time limits, by where the handshake comes from. */
  const handshakes = new Map<string, Cancel>()
  const server = createServer({ ...secure, requestCert: true, rejectUnauthorized: false, ALPNProtocols: [alpn] })

  /** Node's own limit begins anew with each byte, and leaves the connection open. */
  server.on('connection', (socket) => {
    const place = placeOf(socket)
    const cancel = clock.after(handshakeMs, () => socket.destroy())
    handshakes.set(place, cancel)
    socket.once('close', () => {
      cancel()
      handshakes.delete(place)
    })
  })
  server.on('secureConnection', (socket) => {
    handshakes.get(placeOf(socket))?.()
    taken(socket)
  })
  server.on('tlsClientError', (_error, socket) => {
    refused()
    socket.destroy()
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(listenFault(host, port, error)))
    server.listen({ host, port, backlog: 511 }, resolve)
  })
  server.on('error', (error) => log.warn('The mesh listener had an error', { error: error.message }))
  const bound = server.address()
  return {
    port: bound !== null && typeof bound === 'object' ? bound.port : port,
    close: () => new Promise((resolve) => void server.close(() => resolve())),
  }
}

function placeOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}

function listenFault(host: string, port: number, error: Error): Error {
  return fault(
    'port-taken',
    `Cannot listen on ${host}:${port}, where the mesh's TLS goes (the port after that of --listen): ${bindReason(error.message)}`,
    'Choose another port or address with --listen, or stop what uses it',
    error,
  )
}
