// What may come in from the net: plain values of our protocol version, nothing else, and never an exception.
import fc from 'fast-check'
import { Packr } from 'msgpackr'
import { describe, expect, it } from 'vitest'
import { decode, encode, protocolVersion } from '../../../protocol/codec.ts'
import { limits } from '../../../protocol/limits.ts'
import { chunkSchema, digestsSchema, gossipSchema, pullSchema, pushSchema, read } from '../../../protocol/messages.ts'
import { parseRecord } from '../../../protocol/record.ts'
import { serviceValue } from '../replication/cluster.ts'

describe('decode', () => {
  it('gives back what was encoded', () => {
    const plain = fc
      .jsonValue({ maxDepth: 5 })
      .filter((value) => !JSON.stringify(value).includes('__proto__') && !JSON.stringify(value).includes('-0'))
    fc.assert(
      fc.property(plain, (value) => {
        expect(decode(encode(value))).toEqual({ kind: 'ok', value: JSON.parse(JSON.stringify(value)) })
      }),
    )
  })

  it('names the version of a message of another protocol, and says so of an empty one', () => {
    const bytes = encode({ a: 1 })
    bytes[0] = protocolVersion + 1
    expect(decode(bytes)).toEqual({ kind: 'version', version: protocolVersion + 1 })
    expect(decode(new Uint8Array())).toEqual({ kind: 'version', version: undefined })
    expect(read(gossipSchema, bytes)).toMatchObject({ kind: 'dropped', why: 'version' })
  })

  it('copies byte arrays, so that a small field keeps no whole message in memory', () => {
    const bytes = encode({ key: Uint8Array.of(1, 2, 3) })
    const decoded = decode(bytes) as { value: { key: Uint8Array } }
    expect(decoded.value.key.buffer.byteLength).toBe(3)
    bytes.fill(0)
    expect([...decoded.value.key]).toEqual([1, 2, 3])
  })

  it('refuses dates, maps, sets, errors, big integers and infinities', () => {
    const packr = new Packr({ useRecords: false, moreTypes: true, structuredClone: true })
    for (const value of [
      new Date(),
      new Set([1]),
      new Error('x'),
      /x/,
      2n ** 63n,
      Number.POSITIVE_INFINITY,
      { a: [new Date()] },
    ]) {
      expect(decode(Uint8Array.from([protocolVersion, ...packr.pack(value)])).kind).toBe('malformed')
    }
  })

  it('refuses what is nested deeper than any spec', () => {
    let deep: unknown = 1
    for (let i = 0; i < 40; i++) deep = [deep]
    expect(decode(encode(deep)).kind).toBe('malformed')
    expect(decode(Uint8Array.from([1, ...new Uint8Array(100_000).fill(0x91)])).kind).toBe('malformed')
  })

  it('never throws, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        for (const schema of [gossipSchema, digestsSchema, pullSchema, pushSchema, chunkSchema])
          read(schema, Uint8Array.of(protocolVersion, ...bytes))
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('a record from the net', () => {
  const wire = (over: Record<number, unknown>) =>
    Object.assign(['service', 's1', serviceValue('web'), 1, 0, 'n1', 'n1', 'log', 1], over)

  it('keeps the fields that this version does not know', () => {
    const parsed = parseRecord(
      'cluster',
      wire({ 2: { ...serviceValue('web'), future: 1, vips: [{ network: 'n', address: 'a', family: 4 }] } }),
    )
    expect(parsed).toMatchObject({ kind: 'record', record: { value: { future: 1, vips: [{ family: 4 }] } } })
  })

  it('of an unknown kind, a wrong value, a wrong scope or too many bytes is refused by its number', () => {
    expect(parseRecord('cluster', wire({ 0: 'comet' }))).toMatchObject({ kind: 'refused', why: 'kind', seq: 1 })
    expect(parseRecord('cluster', wire({ 0: 'constructor' }))).toMatchObject({ kind: 'refused', why: 'kind' })
    expect(parseRecord('cluster', wire({ 2: { spec: 1 } }))).toMatchObject({ kind: 'refused', why: 'value' })
    expect(parseRecord('network/n1', wire({}))).toMatchObject({ kind: 'refused', why: 'kind' })
    const huge = { ...serviceValue('web'), future: 'x'.repeat(limits.recordBytesMax) }
    expect(parseRecord('cluster', wire({ 2: huge }))).toMatchObject({ kind: 'refused', why: 'size' })
    expect(parseRecord('cluster', wire({ 0: 'removal', 2: null }))).toMatchObject({ kind: 'refused', why: 'value' })
  })

  it('without a place in a log is malformed', () => {
    for (const over of [{ 8: 0 }, { 8: 1.5 }, { 7: '' }, { 3: -1 }, { 4: 1024 }, { 1: 7 }])
      expect(parseRecord('cluster', wire(over)).kind).toBe('malformed')
    expect(parseRecord('cluster', 'x').kind).toBe('malformed')
  })
})
