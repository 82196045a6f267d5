// updateTurn(): one slot after another, each healthy before the next.
import { expect, test } from 'vitest'
import { type SlotProgress, updateTurn } from '../../../agent/core/update/turn.ts'

const old = { outdated: true, holder: 'running', awaited: false, takeover: false } as const
const done = { outdated: false, holder: 'running', awaited: false, takeover: false } as const
const slots = (...of: readonly Omit<SlotProgress, 'slot'>[]) => of.map((s, i) => ({ slot: String(i + 1), ...s }))

test.for<[string, readonly SlotProgress[], string | undefined]>([
  ['the first outdated slot begins', slots(old, old), '1'],
  ['after it the next', slots(done, old), '2'],
  ['nothing is left', slots(done, done), undefined],
  ['a new task that is not healthy yet holds up the next', slots({ ...done, holder: 'starting' }, old), undefined],
  [
    'an empty slot that is to be filled holds up the next',
    slots({ ...done, holder: 'none', awaited: true }, old),
    undefined,
  ],
  ['a slot that fits nowhere holds up nobody', slots({ ...done, holder: 'none' }, old), '2'],
  ['an outdated slot that does not run goes first', slots(old, { ...old, holder: 'starting' }), '2'],
  ['a takeover goes on', slots(old, { ...old, takeover: true }), '2'],
  [
    'slot 10 comes after slot 9',
    [
      { slot: '10', ...old },
      { slot: '9', ...old },
    ],
    '9',
  ],
])('%s', ([, progress, turn]) => {
  expect(updateTurn(progress)).toBe(turn)
})
