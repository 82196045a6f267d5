// What happens when file descriptors are used up.
import { expect, test } from 'vitest'
import { OpenSockets } from '../../../agent/dataplane/userspace/sockets.ts'

function limited(limit: number) {
  const told: string[] = []
  const clock = { now: () => 0, wall: () => 0, after: () => () => {}, lagMs: () => 0 }
  const log = { debug() {}, info() {}, warn: (message: string) => void told.push(message), error() {} }
  return { sockets: new OpenSockets(clock, log, limit), told }
}

test('connections wait when descriptors are used up, in their order, and the log says so once', () => {
  const { sockets, told } = limited(100)
  for (let i = 0; i < 60; i++) sockets.take()
  const went: number[] = []
  for (const n of [1, 2, 3]) sockets.whenRoomy(() => went.push(n))
  expect(went).toEqual([])
  expect(told).toEqual(['File descriptors are used up: new connections wait until open ones end'])
  sockets.free()
  expect(went).toEqual([1])
  sockets.free()
  sockets.free()
  expect(went).toEqual([1, 2, 3])
})

test('the log says it again only after there was room', () => {
  const { sockets, told } = limited(100)
  for (let i = 0; i < 60; i++) sockets.take()
  sockets.whenRoomy(() => sockets.take())
  sockets.free()
  sockets.whenRoomy(() => {})
  expect(told).toHaveLength(1)
  for (let i = 0; i < 50; i++) sockets.free()
  for (let i = 0; i < 60; i++) sockets.take()
  sockets.whenRoomy(() => {})
  expect(told).toHaveLength(2)
})

test('no more may wait than leaves descriptors for the rest of the agent', () => {
  const { sockets } = limited(100)
  for (let i = 0; i < 74; i++) sockets.take()
  expect(sockets.full).toBe(false)
  sockets.take()
  expect(sockets.full).toBe(true)
})
