// How many calls are under way at once, and in which order the others get their turn.
import { expect, test } from 'vitest'
import { createTurns } from '../../agent/turns.ts'

interface Call {
  readonly end: () => void
  readonly fail: (why: Error) => void
}

/** Calls that are under way until the test ends them. */
function stage(atOnce: number) {
  const inTurn = createTurns(atOnce)
  const begun: string[] = []
  const calls = new Map<string, Call>()
  const ask = (name: string) =>
    inTurn(() => {
      begun.push(name)
      return new Promise<string>((resolve, fail) => calls.set(name, { end: () => resolve(name), fail }))
    })
  return { begun, ask, call: (name: string) => calls.get(name)! }
}

test('so many are under way and no more; the others begin in their order, as the first ones end', async () => {
  const { begun, ask, call } = stage(2)
  const all = ['a', 'b', 'c', 'd'].map(ask)
  expect(begun).toEqual(['a', 'b'])
  call('b').end()
  expect(await all[1]).toBe('b')
  expect(begun).toEqual(['a', 'b', 'c'])
  call('a').end()
  call('c').end()
  await all[2]
  call('d').end()
  expect(await Promise.all(all)).toEqual(['a', 'b', 'c', 'd'])
})

test('one that fails gives its turn on, and its reason to who asked', async () => {
  const { begun, ask, call } = stage(1)
  const [first, second] = [ask('a'), ask('b')]
  call('a').fail(new Error('no'))
  await expect(first).rejects.toThrow('no')
  expect(begun).toEqual(['a', 'b'])
  call('b').end()
  expect(await second).toBe('b')
})

test('a turn that nobody waits for is free for the next', async () => {
  const { begun, ask, call } = stage(1)
  const first = ask('a')
  call('a').end()
  await first
  const second = ask('b')
  expect(begun).toEqual(['a', 'b'])
  call('b').end()
  await second
})
