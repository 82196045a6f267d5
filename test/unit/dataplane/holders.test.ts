// Which program stands in the way of a port, on which address.
import { createServer, type Server } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { holderOf, isTakenAt } from '../../../agent/dataplane/holders.ts'

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
