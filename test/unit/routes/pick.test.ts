// Which endpoint a new flow gets.
import { expect, test } from 'vitest'
import { Ejections } from '../../../agent/core/routes/ejection.ts'
import { affinityTable, type PickFacts, pick } from '../../../agent/core/routes/pick.ts'
import type { Backend } from '../../../agent/core/routes/types.ts'
import { backend } from './builders.ts'

function facts(is: Partial<PickFacts> = {}): PickFacts {
  let seed = 1
  return {
    random: () => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff
      return seed / 0x80000000
    },
    active: () => 0,
    ejected: () => false,
    tried: new Set(),
    ...is,
  }
}

/** How often each task is picked in 3,000 picks. */
function share(backends: readonly Backend[], is: Partial<PickFacts> = {}): Record<string, number> {
  const all = facts(is)
  const count: Record<string, number> = {}
  for (let i = 0; i < 3_000; i++) {
    const task = pick(backends, all)?.task ?? 'none'
    count[task] = (count[task] ?? 0) + 1
  }
  return count
}

test('idle endpoints are picked evenly', () => {
  const count = share(['a', 'b', 'c'].map((t) => backend(t)))
  for (const task of ['a', 'b', 'c']) expect(count[task]).toBeGreaterThan(850)
})

test('of two, the one with fewer open flows is picked', () => {
  expect(share([backend('a'), backend('b')], { active: (task) => (task === 'a' ? 5 : 1) })).toEqual({ b: 3_000 })
})

test('suspect endpoints are picked only when nothing else exists', () => {
  const suspect = backend('a', { suspect: true })
  expect(share([suspect, backend('b')])).toEqual({ b: 3_000 })
  expect(share([suspect])).toEqual({ a: 3_000 })
})

test('unhealthy and ejected endpoints are avoided while they are at most half', () => {
  const four = [backend('a', { healthy: false }), backend('b'), backend('c'), backend('d')]
  expect(Object.keys(share(four, { ejected: (task) => task === 'b' })).sort()).toEqual(['c', 'd'])
})

test('when more than half are unhealthy or ejected, health is ignored', () => {
  const three = [backend('a', { healthy: false }), backend('b'), backend('c')]
  expect(Object.keys(share(three, { ejected: (task) => task === 'b' })).sort()).toEqual(['a', 'b', 'c'])
})

test('an endpoint that this flow has tried is not tried again, and good ones come before bad ones', () => {
  const three = [backend('a'), backend('b'), backend('c')]
  const ejected = (task: string) => task !== 'c'
  expect(share(three, { tried: new Set(['a']), ejected })).toEqual({ c: 3_000 })
  expect(share(three, { tried: new Set(['a', 'c']), ejected })).toEqual({ b: 3_000 })
  expect(share(three, { tried: new Set(['a', 'b', 'c']) })).toEqual({ none: 3_000 })
})

test('a suspect endpoint is the last resort of a flow that has tried the others', () => {
  const two = [backend('a', { suspect: true }), backend('b')]
  expect(share(two, { tried: new Set(['b']) })).toEqual({ a: 3_000 })
})

test('a client with affinity keeps its endpoint, takes a steady other one while that is avoided, and comes back', () => {
  const backends = ['a', 'b', 'c', 'd'].map((t) => backend(t))
  const affinity = { client: '192.0.2.7', table: affinityTable(backends) }
  const [own] = Object.keys(share(backends, { affinity }))
  expect(share(backends, { affinity })).toEqual({ [own!]: 3_000 })
  const [other, ...more] = Object.keys(share(backends, { affinity, ejected: (task) => task === own }))
  expect(more).toEqual([])
  expect(other).not.toBe(own)
  expect(share(backends, { affinity })).toEqual({ [own!]: 3_000 })
})

test('an ejection ends by itself, lasts longer after each failure in a row, and is forgotten after a success', () => {
  const ejections = new Ejections()
  ejections.failed('a', 0)
  // A burst of failures of flows that were on their way together counts once.
  ejections.failed('a', 10)
  expect([ejections.isEjected('a', 999), ejections.isEjected('a', 1_000)]).toEqual([true, false])
  ejections.failed('a', 1_000)
  expect([ejections.isEjected('a', 2_999), ejections.isEjected('a', 3_000)]).toEqual([true, false])
  ejections.worked('a')
  ejections.failed('a', 5_000)
  expect(ejections.isEjected('a', 6_000)).toBe(false)
  for (let n = 0, at = 10_000; n < 20; n++, at += 40_000) ejections.failed('a', at)
  expect(ejections.isEjected('a', 10_000 + 19 * 40_000 + 30_000)).toBe(false)
})
