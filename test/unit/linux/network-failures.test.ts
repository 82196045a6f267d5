// For how long a network that could not be made is left alone, and for how long it is told.
import { expect, test } from 'vitest'
import { NetworkFailures } from '../../../agent/dataplane/linux/network-failures.ts'

function failures() {
  const time = { nowMs: 0 }
  return { time, failures: new NetworkFailures({ now: () => time.nowMs }) }
}

test('a network that failed may be tried again after 2 s, and is told with the last reason', () => {
  const { time, failures: book } = failures()
  expect([book.isFresh('net'), book.told()]).toEqual([false, []])
  book.note('net', 'no room')
  time.nowMs = 1_999
  expect([book.isFresh('net'), book.isFresh('other')]).toEqual([true, false])
  time.nowMs = 2_000
  expect(book.isFresh('net')).toBe(false)
  book.note('net', 'no right')
  expect([book.isFresh('net'), book.told()]).toEqual([true, [{ network: 'net', sentence: 'no right' }]])
})

test('it is told until it could be made', () => {
  const { failures: book } = failures()
  book.note('net', 'no room')
  book.note('other', 'no room')
  book.note('net', undefined)
  expect([book.isFresh('net'), book.told()]).toEqual([false, [{ network: 'other', sentence: 'no room' }]])
})

test('it is told from one try to the next, and no longer once nobody tries', () => {
  const { time, failures: book } = failures()
  book.note('net', 'no room')
  time.nowMs = 5 * 60_000
  expect(book.told()).toHaveLength(1)
  book.note('net', 'no room')
  time.nowMs += 6 * 60_000 - 1
  expect(book.told()).toHaveLength(1)
  time.nowMs++
  expect(book.told()).toEqual([])
})
