import { describe, expect, it } from 'vitest'
import type { Claim } from '../../../agent/core/membership/claims.ts'
import type { Liveness, View } from '../../../agent/core/view.ts'
import { createMembershipLoop } from '../../../agent/loops/membership.ts'
import { presets } from '../../../agent/presets.ts'
import type { Clock, Transport } from '../../../agent/world.ts'
import { decode, encode } from '../../../protocol/codec.ts'

const quiet = { debug() {}, info() {}, warn() {}, error() {} }

/** One loop with one other member, n2, whose member record names this run; time stands still. */
function stage(recordRun: string) {
  const record = { value: { name: 'n2', presence: 'up', run: recordRun } }
  const members = new Map([['n2', { id: 'n2', record, node: { spec: {} }, liveness: 'suspect' }]])
  const view = { self: 'n1', members } as unknown as View
  const told: [string, Liveness][] = []
  const published: unknown[] = []
  const clock: Clock = { now: () => 0, wall: () => 1_000, after: () => () => {}, lagMs: () => 0 }
  const transport = {
    connected: () => ['n2'],
    publish: (_topic: string, bytes: Uint8Array) => published.push(decode(bytes)),
    request: () => new Promise(() => {}),
    dial: () => Promise.resolve('connected'),
  } as unknown as Transport
  const loop = createMembershipLoop({
    view,
    run: 'own',
    setLiveness: (node, liveness) => told.push([node, liveness]),
    setReach() {},
    noteClock() {},
    transport,
    clock,
    random: { next: () => 0.5, bytes: (length) => new Uint8Array(length) },
    events: { emit() {} },
    log: quiet,
    times: presets.local,
  })
  loop.start()
  told.length = 0
  const hear = (claim: Partial<Claim>) => {
    const whole = { node: 'n2', says: 'alive', incarnation: 5, by: 'n2', cause: '', confirmedBy: [], ...claim }
    loop.onMessage('n2', encode({ claims: [whole] }))
  }
  return { loop, told, published, hear, record }
}

describe('a member that is back', () => {
  it('is not believed up before the record of its present run is here, so that stale records never count', () => {
    const { loop, told, hear, record } = stage('former')
    hear({ says: 'dead', by: 'n3', incarnation: 4, cause: 'refused' })
    hear({ run: 'present' })
    expect(told).toEqual([['n2', 'dead']])
    record.value.run = 'present'
    loop.onMembers()
    expect(told).toEqual([
      ['n2', 'dead'],
      ['n2', 'alive'],
    ])
  })

  it('is believed at once when its record came first', () => {
    const { told, hear } = stage('present')
    hear({ run: 'present' })
    expect(told).toEqual([['n2', 'alive']])
  })
})

describe('a node that has just started', () => {
  it('answers no probe and says nothing of itself before it is open', async () => {
    const { loop, published } = stage('present')
    let answered = false
    const answer = loop.requests['swim/probe']?.('n2', encode({ about: [] })).then((bytes) => {
      answered = true
      return decode(bytes)
    })
    const table = decode((await loop.requests['swim/table']?.('n2', encode({ about: [] }))) ?? new Uint8Array())
    expect(JSON.stringify(table)).not.toContain('"node":"n1"')
    expect(answered).toBe(false)
    loop.open()
    expect(await answer).toMatchObject({ value: { run: 'own', incarnation: 1_000 } })
    expect(published).toMatchObject([{ value: { claims: [{ node: 'n1', says: 'alive', run: 'own' }] } }])
  })
})
