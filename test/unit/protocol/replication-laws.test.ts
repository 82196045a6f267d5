// Laws of merge and digest: equal knowledge gives equal state, whatever the order, the repeats and the grouping of what arrives.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { countDots, type Dots, digestSchema, digestToWire, missing, subtractDots } from '../../../protocol/digest.ts'
import { compareWrites, differingFields, isAncestor } from '../../../protocol/merge.ts'
import type { StateRecord } from '../../../protocol/model.ts'
import {
  addRange,
  contains,
  flatten,
  intersect,
  parseRanges,
  type Ranges,
  subtract,
  union,
} from '../../../protocol/ranges.ts'
import { recordKey } from '../../../protocol/record.ts'
import { createScopeState, type ScopeState } from '../../../protocol/scope-state.ts'
import { serviceValue } from '../replication/cluster.ts'

const numbers = fc.uniqueArray(fc.integer({ min: 1, max: 40 }))

function rangesOf(seqs: Iterable<number>): Ranges {
  let ranges: Ranges = []
  for (const seq of seqs) ranges = addRange(ranges, seq, seq)
  return ranges
}

function seqsOf(ranges: Ranges): number[] {
  return ranges.flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, i) => from + i))
}

describe('ranges', () => {
  it('are sets: every operation does what it does on plain sets', () => {
    fc.assert(
      fc.property(numbers, numbers, (left, right) => {
        const [a, b] = [new Set(left), new Set(right)]
        const [x, y] = [rangesOf(left), rangesOf(right)]
        const sorted = (set: Iterable<number>) => [...set].sort((one, two) => one - two)
        expect(seqsOf(x)).toEqual(sorted(a))
        expect(seqsOf(union(x, y))).toEqual(sorted(new Set([...left, ...right])))
        expect(seqsOf(subtract(x, y))).toEqual(sorted(left.filter((seq) => !b.has(seq))))
        expect(seqsOf(intersect(x, y))).toEqual(sorted(left.filter((seq) => b.has(seq))))
        for (let seq = 0; seq <= 41; seq++) expect(contains(x, seq)).toBe(a.has(seq))
        expect(parseRanges(flatten(union(x, y)))).toEqual(union(x, y))
      }),
    )
  })

  it('from the net that are no canonical set are refused', () => {
    for (const flat of [[1], [0, 1], [2, 1], [1, 2, 2, 3], [1, 2, 3, 4], [1.5, 2], [1, 2 ** 53]])
      expect(parseRanges(flat)).toBeUndefined()
  })
})

/** Writes of three authors to few keys, each with its place in its author's log, as three real nodes could make them. */
const history: fc.Arbitrary<StateRecord[]> = fc
  .array(
    fc.record({
      author: fc.integer({ min: 0, max: 2 }),
      key: fc.integer({ min: 0, max: 3 }),
      ms: fc.integer({ min: 1, max: 6 }),
      gone: fc.boolean(),
      final: fc.boolean(),
    }),
    { maxLength: 30 },
  )
  .map((writes) => {
    const seqs = [0, 0, 0]
    return writes.map(({ author, key, ms, gone, final }) => {
      const seq = ++seqs[author]!
      const node = `n${author}`
      return {
        scope: 'cluster',
        kind: final ? 'service' : 'node',
        id: `k${key}`,
        value: gone ? null : serviceValue(`${author}-${seq}`),
        version: { ms, counter: seq, node },
        author: { node, log: 'l' },
        seq,
      } as StateRecord
    })
  })

function taken(records: readonly StateRecord[]): ScopeState {
  const state = createScopeState('cluster')
  for (const record of records) state.merge(record)
  return state
}

/** All there is to a state, in an order of its own. */
function content(state: ScopeState): unknown {
  return { records: [...state.records].sort(([a], [b]) => (a < b ? -1 : 1)), digest: [...state.digest()] }
}

/** The dumb reference: keeps every write, and says who wins by looking at all of them. */
function reference(records: readonly StateRecord[]): unknown {
  const keys = [...new Set(records.map(recordKey))].sort()
  return keys.map((key) => {
    const writes = records.filter((record) => recordKey(record) === key)
    const deletes = writes.filter((record) => record.value === null)
    const candidates = key.startsWith('service/') && deletes.length > 0 ? deletes : writes
    return [
      key,
      [...candidates].sort(
        (a, b) =>
          b.version.ms - a.version.ms ||
          b.version.counter - a.version.counter ||
          (a.version.node < b.version.node ? 1 : -1),
      )[0],
    ]
  })
}

describe('merge', () => {
  it('commutes: any order of arrival, with any repeats, ends in the same state', () => {
    fc.assert(
      fc.property(history, fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })), (records, dice) => {
        const shuffled = [...records, ...records]
          .map((record) => ({ record, at: dice.next().value }))
          .sort((a, b) => a.at - b.at)
          .map(({ record }) => record)
        expect(content(taken(shuffled))).toEqual(content(taken(records)))
      }),
    )
  })

  it('agrees with a reference that keeps everything', () => {
    fc.assert(
      fc.property(history, (records) => {
        expect([...taken(records).records].sort(([a], [b]) => (a < b ? -1 : 1))).toEqual(reference(records))
      }),
    )
  })

  it('associates and is idempotent: states that are exchanged in any grouping become equal', () => {
    fc.assert(
      fc.property(
        history,
        fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 30, maxLength: 30 }),
        (records, owners) => {
          const part = (n: number) => records.filter((_, i) => owners[i] === n)
          const left = [taken(part(0)), taken(part(1)), taken(part(2))] as const
          exchange(left[0], left[1])
          exchange(left[0], left[2])
          const right = [taken(part(0)), taken(part(1)), taken(part(2))] as const
          exchange(right[1], right[2])
          exchange(right[0], right[1])
          exchange(right[0], right[1])
          expect(content(left[0])).toEqual(content(right[0]))
          expect(content(left[0])).toEqual(content(left[2]))
        },
      ),
    )
  })

  it('orders any two writes the same way round from both sides', () => {
    fc.assert(
      fc.property(history, (records) => {
        for (const a of records) {
          for (const b of records) {
            if (a.kind !== b.kind) continue
            expect(Math.sign(compareWrites(a, b)) + Math.sign(compareWrites(b, a))).toBe(0)
          }
        }
      }),
    )
  })
})

describe('digest', () => {
  it('tells exactly what is missing, and a delta in chunks of any size brings it, no more and no less', () => {
    fc.assert(
      fc.property(
        history,
        fc.array(fc.boolean(), { minLength: 30, maxLength: 30 }),
        fc.integer({ min: 1, max: 2000 }),
        (records, lost, bytesMax) => {
          const full = taken(records)
          const part = taken(records.filter((_, i) => lost[i]))
          const lacked = missing(part.digest(), full.digest())
          expect(countDots(lacked)).toBe(records.filter((_, i) => !lost[i]).length)
          give(full, part, { bytesMax, most: records.length + 3 })
          expect(content(part)).toEqual(content(full))
          expect(missing(part.digest(), full.digest()).size).toBe(0)
        },
      ),
    )
  })

  it('never speaks for a number that was refused', () => {
    const state = createScopeState('cluster')
    state.refuse({ node: 'n1', log: 'l' }, 1)
    state.cover('n1/l', [[2, 3]])
    const { covered } = state.delta(new Map([['n1/l', [[1, 3]]]]), 1000)
    expect(covered).toEqual(new Map([['n1/l', [[2, 3]]]]))
    expect(missing(createScopeState('cluster').digest(), state.digest())).toEqual(new Map([['n1/l', [[2, 3]]]]))
  })
})

/** The first write of a log. */
function opening(node: string, log: string): StateRecord {
  return {
    scope: 'cluster',
    kind: 'node',
    id: `${node}-${log}`,
    value: serviceValue('x'),
    version: { ms: 1, counter: 0, node },
    author: { node, log },
    seq: 1,
  } as unknown as StateRecord
}

describe('a digest', () => {
  it('never grows beyond what others read of it, and always has room for the own logs', () => {
    const state = createScopeState('cluster', 'n1')
    state.cover('n2/l0', [[1, 5]])
    for (let i = 0; i < 10_000; i++) state.cover(`invented${i}/l`, [[1, 5]])
    expect(state.merge(opening('n3', 'l')).kind).toBe('scattered')
    expect(state.refuse({ node: 'n3', log: 'l' }, 1)).toBe(false)
    expect(state.merge(opening('n1', 'new')).kind).toBe('won')
    const digest = state.digest()
    expect(digestSchema.parse(digestToWire(digest))).toEqual(digest)
    // What it knew before, it keeps in order.
    expect(state.merge({ ...opening('n2', 'l0'), seq: 6 }).kind).toBe('won')
  })

  it('is not filled by one node that begins log after log, and goes on with those that it has', () => {
    const state = createScopeState('cluster', 'n1')
    for (let i = 0; i < 10_000; i++) state.cover(`n2/l${i}`, [[1, 5]])
    expect(state.digest().size).toBe(1_000)
    expect(state.merge(opening('n2', 'new')).kind).toBe('scattered')
    expect(state.merge({ ...opening('n2', 'l0'), seq: 6 }).kind).toBe('won')
    expect(state.merge(opening('n3', 'l')).kind).toBe('won')
    for (let i = 0; i < 2_000; i++) expect(state.merge(opening('n1', `l${i}`)).kind).toBe('won')
  })

  it('is not filled by what is refused, which leaves nothing behind once it may be asked for again', () => {
    const state = createScopeState('cluster', 'n1')
    state.cover('n2/l', [[1, 5]])
    const refuseMany = () => {
      for (let i = 0; i < 10_000; i++) state.refuse({ node: `invented${i}`, log: 'l' }, 1)
      return state.digest().size
    }
    const full = refuseMany()
    expect(full).toBeLessThan(5_000)
    expect(state.merge(opening('n3', 'l')).kind).toBe('won')
    state.retryRefused()
    expect([...state.digest().keys()]).toEqual(['n2/l', 'n3/l'])
    // The room is there again, for others as well.
    expect(refuseMany()).toBe(full)
    state.retryRefused()
    for (let i = 0; i < 7_000; i++) expect(state.merge(opening(`m${i}`, 'l')).kind).toBe('won')
  })

  it('keeps no room for a log of which nothing is known any more', () => {
    const state = createScopeState('cluster', 'n1')
    for (let i = 0; i < 2_000; i++) {
      expect(state.merge(opening('n2', `l${i}`)).kind).toBe('won')
      state.uncover(`n2/l${i}`, 0)
    }
    expect(state.merge(opening('n2', 'new')).kind).toBe('won')
    expect(state.digest().size).toBe(1)
  })
})

describe('a tombstone that was let go', () => {
  it('does not come back, and neither does a late copy of what it deleted', () => {
    const write = {
      scope: 'cluster',
      kind: 'node',
      id: 'k',
      value: serviceValue('x'),
      version: { ms: 1, counter: 0, node: 'n1' },
      author: { node: 'n1', log: 'l' },
      seq: 1,
    } as unknown as StateRecord
    const grave = { ...write, value: null, version: { ...write.version, ms: 2 }, seq: 2 }
    const state = taken([write, grave])
    state.collect('node/k')
    expect(state.merge(write).kind).toBe('known')
    expect(state.merge(grave).kind).toBe('known')
    expect(state.records.size).toBe(0)
    expect(state.collected()).toEqual(new Map([['n1/l', [[2, 2]]]]))
  })
})

describe('a spec', () => {
  it('knows its ancestors from a stranger, and takes what is older than the sixteen kept for one', () => {
    const at = (ms: number) => ({ ms, counter: 0, node: 'n1' })
    const value = serviceValue('x', { parent: at(20), ancestors: Array.from({ length: 16 }, (_, i) => at(20 - i)) })
    expect(isAncestor(at(20), value)).toBe(true)
    expect(isAncestor(at(12), value)).toBe(true)
    expect(isAncestor({ ...at(12), node: 'n2' }, value)).toBe(false)
    expect(isAncestor(at(2), value)).toBe(true)
    expect(isAncestor(at(2), { ...value, ancestors: [at(20)] })).toBe(false)
  })

  it('names the fields in which it differs, two levels deep', () => {
    expect(differingFields({ A: { x: 1, y: { z: 1 } }, B: 1, C: [1] }, { A: { x: 2, y: { z: 2 } }, B: 1 })).toEqual([
      'A.x',
      'A.y',
      'C',
    ])
  })
})

function exchange(a: ScopeState, b: ScopeState): void {
  give(a, b, { bytesMax: 500, most: 100 })
  give(b, a, { bytesMax: 500, most: 100 })
}

function give(from: ScopeState, to: ScopeState, { bytesMax, most }: { bytesMax: number; most: number }): void {
  let wants: Dots = missing(to.digest(), from.digest())
  for (let i = 0; wants.size > 0; i++) {
    if (i > most) throw new Error('chunks make no progress')
    const chunk = from.delta(wants, bytesMax)
    for (const record of chunk.records) to.merge(record)
    for (const [author, ranges] of chunk.covered) to.cover(author, ranges)
    wants = subtractDots(wants, chunk.covered)
  }
}
