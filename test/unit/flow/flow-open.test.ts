// What an OPEN carries, and that no bytes are taken for one that they are not.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeTarget, encodeTarget, type FlowTarget } from '../../../protocol/flow-open.ts'

const port = fc.integer({ min: 0, max: 65_535 })
const address = fc.record({ host: fc.oneof(fc.ipV4(), fc.ipV6()), port })
const target: fc.Arbitrary<FlowTarget> = fc.oneof(
  fc.constant({ kind: 'api' } as const),
  fc.record({
    kind: fc.constantFrom('tcp', 'udp' as const),
    task: fc.stringMatching(/^[0-9a-z]{25}$/),
    target: fc.integer({ min: 1, max: 65_535 }),
    client: address,
    entry: address,
    proxyProtocol: fc.boolean(),
  }) as fc.Arbitrary<FlowTarget>,
)

test('a target comes back as it was sent', () => {
  fc.assert(
    fc.property(target, (sent) => {
      expect(decodeTarget(encodeTarget(sent))).toEqual(sent)
    }),
  )
})

test('a target cut short or lengthened is none', () => {
  const sent = encodeTarget({
    kind: 'tcp',
    task: 't',
    target: 80,
    client: { host: '192.0.2.1', port: 5 },
    entry: { host: '192.0.2.2', port: 80 },
    proxyProtocol: false,
  })
  for (let length = 0; length < sent.length; length++) expect(decodeTarget(sent.slice(0, length))).toBe(undefined)
  expect(decodeTarget(Uint8Array.of(...sent, 0))).toBe(undefined)
})

test('no bytes make the decoder throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      decodeTarget(bytes)
    }),
    { numRuns: 2_000 },
  )
})
