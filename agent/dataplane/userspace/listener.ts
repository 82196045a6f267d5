/**
 * A TCP listener on one address and port: accepts clients for a route. Closing it leaves open flows alone.
 */
import { createServer, type Server } from 'node:net'
import { type OpeningDeps, openTcp } from './opening.ts'
import type { Route } from './route.ts'

/** 4,096: the kernel's own bound (somaxconn), so that a burst of clients waits rather than fails. */
const backlog = 4_096

export class TcpListener {
  readonly host: string
  readonly port: number
  private server: Server | undefined

  constructor(host: string, port: number) {
    this.host = host
    this.port = port
  }

  /** Undefined when it listens; else the error code. */
  listen(route: Route, deps: OpeningDeps): Promise<string | undefined> {
    const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (client) => {
      if (deps.sockets.full) client.destroy()
      else openTcp(client, route, deps)
    })
    this.server = server
    return new Promise((resolve) => {
      server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
      server.listen({ host: this.host, port: this.port, backlog, exclusive: true }, () => {
        server.removeAllListeners('error')
        // Accepting failed (a client reset in the backlog, no descriptors): the next one may do better.
        server.on('error', () => {})
        resolve(undefined)
      })
    })
  }

  /** The port is free when this resolves. */
  close(): Promise<void> {
    const { server } = this
    this.server = undefined
    return new Promise((resolve) => {
      if (server === undefined || !server.listening) resolve()
      else {
        // `close` calls back when the last connection ends; the port itself is free in the next turn of the event loop.
        server.close()
        setImmediate(resolve)
      }
    })
  }
}
