// The sockets that are open: who hears of their end, when they get keep-alive, what happens when file descriptors are used up.
import { Socket } from 'node:net'
import { expect, test, vi } from 'vitest'
import { OpenSockets } from '../../../agent/dataplane/userspace/sockets.ts'

function limited(limit: number) {
  const told: string[] = []
  let sweep = () => {}
  const after = (_ms: number, task: () => void) => {
    sweep = task
    return () => {}
  }
  const clock = { now: () => 0, wall: () => 0, after, lagMs: () => 0 }
  const log = { debug() {}, info() {}, warn: (message: string) => void told.push(message), error() {} }
  return { sockets: new OpenSockets(clock, log, limit), told, sweep: () => sweep() }
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

/** Four sockets and the order in which their owners heard of their end. */
function four(sockets: OpenSockets) {
  const ended: number[] = []
  const owner = (n: number) => ({ socketClosed: () => void ended.push(n) })
  const counted = [0, 1, 2, 3].map((n) => sockets.add(new Socket(), owner(n)))
  return { counted, ended, owner }
}

test('the owner of a socket hears of its end once, also one that came by it later', () => {
  const { sockets } = limited(100)
  const { counted, ended, owner } = four(sockets)
  counted[2]!.owner = owner(7)
  for (const n of [1, 3, 0, 2]) counted[n]!.socket.emit('close')
  expect(ended).toEqual([1, 3, 0, 7])
})

test('an error of a socket does not end the process', () => {
  const { sockets } = limited(100)
  expect(four(sockets).counted[0]!.socket.emit('error', new Error('reset'))).toBe(true)
})

test('keep-alive is asked for once, of the sockets that are still open', () => {
  const { sockets, sweep } = limited(100)
  const { counted } = four(sockets)
  const asked = counted.map(({ socket }) => vi.spyOn(socket, 'setKeepAlive'))
  counted[0]!.socket.emit('close')
  sweep()
  sweep()
  expect(asked.map((spy) => spy.mock.calls.length)).toEqual([0, 1, 1, 1])
})

test('at the end every socket that is open is destroyed', () => {
  const { sockets } = limited(100)
  const { counted } = four(sockets)
  for (const n of [0, 3]) counted[n]!.socket.emit('close')
  sockets.destroyAll()
  expect(counted.map(({ socket }) => socket.destroyed)).toEqual([false, true, true, false])
})
