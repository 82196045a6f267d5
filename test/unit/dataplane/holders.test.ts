// Which program stands in the way of a port, on which address.
import { createServer, type Server } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { boundIn, holderOf, isTakenAt, takenPorts } from '../../../agent/dataplane/holders.ts'

const open: Server[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => new Promise((resolve) => server.close(resolve))))
})

/** Listens on a free port and says which. */
function listen(host: string): Promise<number> {
  const server = createServer()
  open.push(server)
  return new Promise((resolve) => {
    server.listen({ host, port: 0 }, () => resolve((server.address() as { port: number }).port))
  })
}

test('a port is taken on the address that a program listens on, and not on others', async () => {
  const port = await listen('127.77.0.1')
  expect(isTakenAt('tcp', '127.77.0.1', port)).toBe(true)
  expect(isTakenAt('tcp', '127.77.0.2', port)).toBe(false)
  expect(isTakenAt('tcp', '177.0.0.1', port)).toBe(false)
  expect(holderOf('tcp', '127.77.0.1', port)).toMatchObject({ pid: process.pid, program: 'node' })
  expect(holderOf('tcp', '127.77.0.2', port)).toBeUndefined()
})

test('a program that listens everywhere takes a port on every address', async () => {
  for (const wildcard of ['0.0.0.0', '::']) {
    const port = await listen(wildcard)
    expect(isTakenAt('tcp', '127.77.0.2', port), wildcard).toBe(true)
  }
})

test('connections, of which a busy node has tens of thousands, are not read', () => {
  function* file(): Generator<string> {
    yield '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode'
    yield '   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0'
    yield '   1: 0200AA7F:589F 0100007F:88AA 06 00000000:00000000 03:00000495 00000000     0        0 0 3 0'
    throw new Error('read past the first connection')
  }
  expect([...boundIn(file(), 'tcp')]).toEqual([{ host: '0100007F', port: 8080, inode: '4711' }])
})

test('all ports on which programs listen are taken, however many there are', async () => {
  const ports = await Promise.all(Array.from({ length: 100 }, () => listen('127.77.0.3')))
  const taken = takenPorts('tcp')
  expect(ports.filter((port) => !taken.has(port))).toEqual([])
})
