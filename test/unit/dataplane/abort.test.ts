// Ending a connection by a reset, with real sockets, since it is the kernel and libuv that differ.
import { readdirSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { abort } from '../../../agent/dataplane/userspace/abort.ts'
import { until } from '../../until.ts'

let server: Server
let accepted: Socket[]

beforeEach(async () => {
  accepted = []
  server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    socket.on('error', () => {})
    accepted.push(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})

afterEach(() => {
  for (const socket of accepted) socket.destroy()
  server.close()
})

const descriptors = () => readdirSync('/proc/self/fd').length

async function opened(): Promise<Socket> {
  const { port } = server.address() as AddressInfo
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true })
  socket.on('error', () => {})
  await until(() => !socket.connecting && accepted.length > 0, { deadlineMs: 5_000, what: 'a connection' })
  return socket
}

test('whoever reads from a connection that is aborted hears of it', async () => {
  const socket = await opened()
  const [other] = accepted
  let heard = ''
  other?.on('error', (error: NodeJS.ErrnoException) => {
    heard = error.code ?? ''
  })
  other?.resume()
  abort(socket)
  await until(() => heard === 'ECONNRESET', { deadlineMs: 5_000, what: 'the reset' })
})

test('a connection that was ended just before is closed too, and its descriptor with it', async () => {
  const before = descriptors()
  const sockets = await Promise.all(Array.from({ length: 20 }, opened))
  await until(() => accepted.length === 20, { deadlineMs: 5_000, what: 'all connections' })
  for (const socket of sockets) {
    socket.end()
    abort(socket)
  }
  for (const other of accepted) other.destroy()
  await until(() => descriptors() <= before, { deadlineMs: 5_000, what: `${before} descriptors again` })
  expect(sockets.every((socket) => socket.closed)).toBe(true)
})

test('what was written before the end is read whole, however late', async () => {
  const socket = await opened()
  const sent = 8 * 1024 * 1024
  socket.end(Buffer.alloc(sent))
  abort(socket)
  let read = 0
  accepted[0]?.on('data', (bytes) => {
    read += bytes.length
  })
  accepted[0]?.resume()
  await until(() => socket.closed, { deadlineMs: 5_000, what: 'the end' })
  await until(() => read === sent, { deadlineMs: 5_000, what: 'all bytes' })
})
