// Clients that come turn after turn are begun together, and none is kept for long.
import { beforeEach, expect, test } from 'vitest'
import { Arrivals } from '../../../agent/dataplane/userspace/arrivals.ts'

let nowMs: number
let atEnd: (() => void)[]
let begun: string[]
let arrivals: Arrivals

beforeEach(() => {
  nowMs = 1_000
  atEnd = []
  begun = []
  arrivals = new Arrivals({ now: () => nowMs }, (run) => void atEnd.push(run))
})

/** One turn of the event loop in which these clients come; returns who was begun at its end. */
function turn(...names: readonly string[]): readonly string[] {
  for (const name of names) arrivals.add({ begin: () => void begun.push(name) })
  for (const run of atEnd.splice(0)) run()
  return begun.splice(0)
}

test('a client that comes alone is begun in the next turn, and nothing runs on after it', () => {
  expect(turn('a')).toEqual([])
  expect(turn()).toEqual(['a'])
  expect(atEnd).toEqual([])
  expect(turn('b')).toEqual([])
  expect(turn()).toEqual(['b'])
})

test('clients that come in turn after turn are begun together, in their order, when a turn brings none', () => {
  expect(turn('a')).toEqual([])
  expect(turn('b', 'c')).toEqual([])
  expect(turn('d')).toEqual([])
  expect(turn()).toEqual(['a', 'b', 'c', 'd'])
})

test('no more than 16 wait for others', () => {
  const names = Array.from({ length: 16 }, (_, index) => `c${index}`)
  for (const name of names.slice(0, -1)) expect(turn(name)).toEqual([])
  expect(turn(names.at(-1)!)).toEqual(names)
})

test('nobody waits for others for more than 2 ms', () => {
  expect(turn('a')).toEqual([])
  nowMs += 1.9
  expect(turn('b')).toEqual([])
  nowMs += 0.1
  expect(turn('c')).toEqual(['a', 'b', 'c'])
})

test('a client that comes while others are begun waits for the next turn', () => {
  arrivals.add({ begin: () => void turn('b') })
  turn()
  expect(turn()).toEqual([])
  expect(turn()).toEqual(['b'])
})
