// How tests wait.
import { expect, test } from 'vitest'
import { until } from '../../until.ts'

test('until() returns the first value that holds', async () => {
  let looks = 0
  const value = await until(() => (++looks >= 3 ? `look ${looks}` : ''), {
    deadlineMs: 1_000,
    everyMs: 1,
    what: 'a look',
  })
  expect(value).toBe('look 3')
})

test('until() tells what it waited for and the last value seen', async () => {
  const waiting = until(() => [1, 2].find((number) => number > 2) ?? 0, {
    deadlineMs: 5,
    everyMs: 1,
    what: 'a big number',
  })
  await expect(waiting).rejects.toThrow(/waited \d+ ms for a big number; last seen: 0/)
})

test('until() takes an error for not yet, and shows the last one', async () => {
  const refused = () => Promise.reject(new Error('connection refused'))
  await expect(until(refused, { deadlineMs: 5, everyMs: 1, what: 'an answer' })).rejects.toThrow(/connection refused/)
})

test('until() ends a look that never settles', async () => {
  const never = () => new Promise<boolean>(() => {})
  await expect(until(never, { deadlineMs: 5, what: 'an answer' })).rejects.toThrow(/a look that did not return/)
})
