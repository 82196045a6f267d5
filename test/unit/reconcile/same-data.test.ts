// The comparison that spares two texts an endpoint and pass says what comparing the texts says.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { canonical, isSameData } from '../../../agent/core/wanted.ts'

const data = fc.letrec((tie) => ({
  leaf: fc.constantFrom(undefined, null, 0, 1, 'a', '1', true),
  list: fc.array(tie('any'), { maxLength: 3 }),
  record: fc.dictionary(fc.constantFrom('a', 'b', 'c'), tie('any'), { maxKeys: 3 }),
  any: fc.oneof({ depthSize: 'small' }, tie('leaf'), tie('list'), tie('record')),
})).any

test('isSameData() says of any two what their canonical texts say', () => {
  fc.assert(
    fc.property(data, data, (a, b) => {
      expect(isSameData(a, b)).toBe(canonical(a) === canonical(b))
      expect(isSameData(a, structuredClone(a))).toBe(true)
    }),
    { numRuns: 2_000 },
  )
})
