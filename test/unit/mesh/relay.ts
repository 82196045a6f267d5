/** A way to a mesh that a test can close, open again, or make silent. Loopback TCP. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Mesh } from '../../../agent/world.ts'

export interface Relay {
  /** Resolves to its port, which stays the same. */
  listen(): Promise<number>
  /** What comes from the mesh is dropped from now on, as by a firewall; connections stay open. */
  silence(): void
  /** Ends its connections too. */
  close(): Promise<void>
}

/** `to` is asked at each connection, since the mesh may be made after the relay. */
export function createRelay(to: () => Mesh): Relay {
  const sockets = new Set<Socket>()
  let isSilent = false
  let port = 0

  const server = createServer((client) => {
    const mesh = connect(to().listening[0]?.port ?? 0, '127.0.0.1')
    for (const socket of [client, mesh]) {
      sockets.add(socket)
      socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    }
    client.pipe(mesh)
    mesh.on('data', (bytes) => void (isSilent || client.write(bytes))).on('close', () => client.destroy())
  })

  return {
    async listen() {
      await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
      port = (server.address() as AddressInfo).port
      return port
    },
    silence() {
      isSilent = true
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
