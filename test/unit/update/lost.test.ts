// followsUpdate(): which claims stand for a task that stopped for an update.
import { expect, test } from 'vitest'
import { followsUpdate } from '../../../agent/core/update/lost.ts'
import { at, service, task } from '../placement/build.ts'

const web = service('web')
const record = (id: string, ms: number, value: object) =>
  task(id, web, { slot: '1', node: 'n1', created: at(ms), ...value })
const stopped = record('a', 1, { template: 'old', state: 'shutdown' })

test.for<[string, readonly ReturnType<typeof record>[], boolean]>([
  ['the first claim of a slot does not', [], false],
  ['the claim after a task that stopped for it does', [stopped], true],
  [
    'so do those after it, also when the task that stopped is forgotten',
    [record('b', 2, { template: 'new', state: 'rejected', updates: true })],
    true,
  ],
  [
    'and those of the next update, when this one never came up',
    [record('b', 2, { template: 'bad', state: 'failed', updates: true })],
    true,
  ],
  [
    'the claim after a failure of the same template does not',
    [record('b', 1, { template: 'new', state: 'failed' })],
    false,
  ],
  [
    'nor does one in a slot where the template before did not come up either',
    [record('b', 1, { template: 'old', state: 'rejected' })],
    false,
  ],
  ['the newest record decides', [record('b', 2, { template: 'new', state: 'failed' }), stopped], false],
])('%s', ([, records, follows]) => {
  expect(followsUpdate(records, 'new')).toBe(follows)
})
