/**
 * The API over TCP: TLS with certificates on both sides, and nothing else. Who holds a certificate of the given authority may do everything,
 * as whoever may use the socket (design.md 10).
 *
 * Connections go to the same HTTP server as those of the socket, so its bounds hold here too; only what comes before HTTP is bounded here.
 */
import fs from 'node:fs'
import type http from 'node:http'
import type { AddressInfo } from 'node:net'
import tls from 'node:tls'
import { bindReason, fault, reasonOf } from '../fault.ts'
import type { Log } from '../world.ts'

export interface SecurePlace {
  readonly host: string
  /** 0: any. */
  readonly port: number
  /** Paths of PEM files: the authority that signs clients' certificates, and what this agent shows them. */
  readonly ca: string
  readonly cert: string
  readonly key: string
}

export interface SecureListener {
  readonly port: number
  close(): void
}

/** Clients of a whole team, and those that shake hands meanwhile; each costs a file descriptor that forwarding may need. */
const connectionsMax = 256
/** 5 s: two round trips to the other side of the world, and a slow processor. */
const handshakeTimeoutMs = 5_000

/** Rejects with a Fault when a file cannot be read or does not fit, or the address is taken. */
export function listenSecurely(server: http.Server, place: SecurePlace, log: Log): Promise<SecureListener> {
  const listener = createListener(place)
  listener.maxConnections = connectionsMax
  listener.on('secureConnection', (socket) => {
    socket.on('error', () => socket.destroy())
    server.emit('connection', socket)
  })
  // Port scanners and clients without a certificate: theirs to repair, and no reason to fill the log.
  listener.on('tlsClientError', (error, socket) => {
    log.debug('the API refused a connection', { from: socket.remoteAddress, reason: error.message })
    socket.destroy()
  })
  return new Promise((resolve, reject) => {
    listener.once('error', (cause) => {
      const sentence = `--api ${place.host}:${place.port} cannot be bound: ${bindReason(cause.message)}`
      reject(fault('port-taken', sentence, 'Choose another address or port', cause))
    })
    listener.listen({ host: place.host, port: place.port }, () => {
      const { port } = listener.address() as AddressInfo
      log.info('the API answers over TLS', { at: `${place.host}:${port}` })
      resolve({ port, close: () => void listener.close() })
    })
  })
}

function createListener(place: SecurePlace): tls.Server {
  const options = {
    ca: read('--tls-ca', place.ca),
    cert: read('--tls-cert', place.cert),
    key: read('--tls-key', place.key),
    requestCert: true,
    rejectUnauthorized: true,
    // Clients of Docker since 2016 speak 1.2; the daemon asks no more of them.
    minVersion: 'TLSv1.2' as const,
    ALPNProtocols: ['http/1.1'],
    handshakeTimeout: handshakeTimeoutMs,
  }
  try {
    return tls.createServer(options)
  } catch (cause) {
    const files = `--tls-ca ${place.ca}, --tls-cert ${place.cert} and --tls-key ${place.key}`
    throw fault(
      'invalid',
      `${files} do not fit together: ${reasonOf(cause)}`,
      'They are PEM files; the key is that of the certificate, without a passphrase',
      cause,
    )
  }
}

function read(flag: string, path: string): Buffer {
  try {
    return fs.readFileSync(path)
  } catch (cause) {
    throw fault(
      'invalid',
      `${flag} cannot be read: ${reasonOf(cause)}`,
      'Name a PEM file that the agent may read',
      cause,
    )
  }
}
