// Maglev's promises: alike everywhere, even, and steady when one endpoint goes.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { maglevPick, maglevTable } from '../../../agent/core/routes/maglev.ts'

const always = () => true
const ids = (count: number) => Array.from({ length: count }, (_, i) => `task-${i}`)
const clients = Array.from({ length: 5_000 }, (_, i) => `10.${i >> 12}.${(i >> 6) & 63}.${i & 63}`)

test('the table does not depend on the order in which endpoints are known', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 20 }), (names) => {
      expect(maglevTable(names)).toEqual(maglevTable(names.toReversed()))
    }),
    { numRuns: 30 },
  )
})

test.for([3, 10, 100])('%i endpoints get about the same number of clients', (count) => {
  const table = maglevTable(ids(count))
  const share = new Map<string, number>()
  for (const place of table.places) share.set(table.names[place]!, (share.get(table.names[place]!) ?? 0) + 1)
  const even = table.places.length / count
  for (const name of ids(count)) expect(Math.abs(share.get(name)! - even)).toBeLessThan(even * 0.02 + 1)
})

test.for([3, 10, 40])('when one of %i endpoints goes, few other clients move', (count) => {
  const shares = Array.from({ length: 12 }, (_, set) => {
    const names = ids(count).map((id) => `${set} ${id}`)
    const [before, after] = [maglevTable(names), maglevTable(names.slice(1))]
    const kept = clients.filter((client) => maglevPick(before, client, always) !== names[0])
    return (
      kept.filter((client) => maglevPick(before, client, always) !== maglevPick(after, client, always)).length /
      kept.length
    )
  })
  expect(shares.reduce((sum, share) => sum + share) / shares.length).toBeLessThan(0.05)
  expect(Math.max(...shares)).toBeLessThan(0.11)
})

test('an endpoint that may not be used is passed over; none at all gives none', () => {
  const table = maglevTable(['a', 'b', 'c'])
  for (const client of clients.slice(0, 200)) expect(maglevPick(table, client, (n) => n === 'b')).toBe('b')
  expect(maglevPick(table, '192.0.2.1', () => false)).toBe(undefined)
  expect(maglevPick(maglevTable([]), '192.0.2.1', always)).toBe(undefined)
})
