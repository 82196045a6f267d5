// One timer for all that wait for an endpoint's first word.
import { expect, test } from 'vitest'
import { AcceptTimeouts } from '../../../agent/dataplane/userspace/accept-timeouts.ts'

function timeouts() {
  let nowMs = 0
  const timers: { dueMs: number; task: () => void }[] = []
  const clock = {
    now: () => nowMs,
    wall: () => nowMs,
    after: (ms: number, task: () => void) => {
      const timer = { dueMs: nowMs + ms, task }
      timers.push(timer)
      return () => void timers.splice(timers.indexOf(timer), 1)
    },
    lagMs: () => 0,
  }
  const all = new AcceptTimeouts(clock)
  const told: string[] = []
  return {
    all,
    told,
    timers,
    waiter: (name: string) => ({ dueMs: 0, timedOut: () => void told.push(`${name} ${nowMs}`) }),
    pass(ms: number) {
      for (const endMs = nowMs + ms; nowMs < endMs; ) {
        nowMs++
        for (const timer of timers.filter(({ dueMs }) => dueMs <= nowMs)) {
          timers.splice(timers.indexOf(timer), 1)
          timer.task()
        }
      }
    },
    now: () => nowMs,
  }
}

test('each is told 300 ms after it began to wait, with one timer for all', () => {
  const { all, told, timers, waiter, pass, now } = timeouts()
  for (const name of ['a', 'b', 'c']) {
    all.add(waiter(name), now())
    pass(10)
  }
  expect(timers).toHaveLength(1)
  pass(1_000)
  expect(told).toEqual(['a 300', 'b 310', 'c 320'])
  expect(timers).toHaveLength(0)
})

test('one that has got its word is not told, and one that waits again waits 300 ms again', () => {
  const { all, told, waiter, pass, now } = timeouts()
  const [a, b] = [waiter('a'), waiter('b')]
  all.add(a, now())
  all.add(b, now())
  pass(200)
  all.delete(a)
  all.delete(b)
  all.add(b, now())
  pass(1_000)
  expect(told).toEqual(['b 500'])
})

test('one that begins to wait again when it is told needs no second timer', () => {
  const { all, told, timers, waiter, pass, now } = timeouts()
  const again = waiter('again')
  const first = { dueMs: 0, timedOut: () => all.add(again, now()) }
  all.add(first, now())
  pass(300)
  expect(timers).toHaveLength(1)
  pass(300)
  expect(told).toEqual(['again 600'])
})

test('nobody is told after the end', () => {
  const { all, told, timers, waiter, pass, now } = timeouts()
  all.add(waiter('a'), now())
  all.close()
  expect(timers).toHaveLength(0)
  pass(1_000)
  expect(told).toEqual([])
})
