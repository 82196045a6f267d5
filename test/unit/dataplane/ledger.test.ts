// Counters and the flow log.
import { expect, test } from 'vitest'
import { Ledger } from '../../../agent/dataplane/userspace/ledger.ts'

function ledger() {
  let wallMs = 0
  return new Ledger('n1', { now: () => 0, wall: () => ++wallMs, after: () => () => {}, lagMs: () => 0 })
}

const flow = { protocol: 'tcp', client: '192.0.2.1:5', service: 's', task: 't', node: 'n2' } as const

test('open flows count with the bytes they have moved so far', () => {
  const book = ledger()
  const record = book.opened(flow)
  record.bytesIn += 10
  expect(book.counters().services.get('s')).toMatchObject({ connections: 1, active: 1, bytesIn: 10 })
  book.end(record, undefined)
  book.end(record, 'twice')
  expect(book.counters().services.get('s')).toMatchObject({ connections: 1, active: 0, bytesIn: 10 })
  expect(book.log()).toMatchObject([{ cause: 'finished', endedMs: 2 }])
})

test('a flow that came in at another node counts for its task here, and for its service there', () => {
  const book = ledger()
  book.opened({ ...flow, entry: 'n2' })
  expect(book.counters().services.get('s')).toBe(undefined)
  expect(book.active('t')).toBe(1)
})

test('the log keeps the last 4,096 flows, oldest first', () => {
  const book = ledger()
  for (let i = 0; i < 5_000; i++) book.end(book.opened(flow), undefined)
  const ids = book.log().map((r) => r.id)
  expect([ids.length, ids[0], ids.at(-1)]).toEqual([4_096, 905, 5_000])
})

test('a failed attempt counts, and is told with its client and node as long as the log reaches', () => {
  const book = ledger()
  const attempt = { client: '192.0.2.1:5', service: 's', task: 't', node: 'n2', cause: 'refused' } as const
  for (let pickedMs = 0; pickedMs < 2_000; pickedMs++) book.attemptFailed({ ...attempt, pickedMs })
  expect(book.counters().services.get('s')?.failures).toBe(2_000)
  const told = book.failedAttempts().map(({ pickedMs }) => pickedMs)
  expect([told.length, told[0], told.at(-1)]).toEqual([1_024, 976, 1_999])
})

test('something is under way on a flow while an answer is due or bytes move, and on a new one until its client has had time to speak', () => {
  let nowMs = 0
  const book = new Ledger('n1', { now: () => nowMs, wall: () => nowMs, after: () => () => {}, lagMs: () => 0 })
  const looks = (count: number) =>
    Array.from({ length: count }, () => {
      nowMs += 100
      return book.underWay('t')
    })
  const record = book.opened(flow)
  expect(looks(2)).toEqual([1, 0])
  record.bytesIn += 10
  record.awaited = true
  expect(looks(3)).toEqual([1, 1, 1])
  record.bytesOut += 10
  record.awaited = false
  expect(looks(1)).toEqual([1])
  // Whoever asks twice at a time hears the same twice.
  expect([book.underWay('t'), book.underWay('t')]).toEqual([1, 1])
  expect(looks(1)).toEqual([0])
  record.awaited = true
  book.end(record, undefined)
  expect(looks(1)).toEqual([0])
})
