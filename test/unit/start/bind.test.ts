/** What a person reads when an address cannot be bound (agent/fault.ts). */
import { createServer } from 'node:net'
import { expect, test } from 'vitest'
import { bindReason } from '../../../agent/fault.ts'

test('an address of another machine is told as such, in one line', async () => {
  const error = await new Promise<Error>((resolve) => createServer().once('error', resolve).listen(9, '192.0.2.1'))
  expect(bindReason(error.message)).toBe('this machine has no such address')
})

test("a library's settings and stack stay out of the reason", () => {
  const text =
    'Some configured addresses failed\n\n  /ip4/127.0.0.1/tcp/1: Error: listen EADDRINUSE: address already in use\n    at x'
  expect(bindReason(text)).toBe('the port is in use')
  expect(bindReason('no transport for it\n  at y')).toBe('no transport for it')
})
