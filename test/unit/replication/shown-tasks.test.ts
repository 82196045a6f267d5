import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createShownTasks } from '../../../agent/replica/tasks.ts'
import { service, task as taskOf } from '../placement/build.ts'

interface TaskIs {
  readonly node: string
  readonly slot: string
  readonly service?: string
  readonly state?: 'failed'
}

const task = (id: string, { service: name = 'web', ...is }: TaskIs) => taskOf(id, service(name), is)

test('a list is the same array until one of its tasks changes', () => {
  const shown = createShownTasks('n1')
  shown.show(task('b', { node: 'n1', slot: '1' }))
  shown.show(task('a', { node: 'n2', slot: '1' }))
  shown.show(task('c', { node: 'n2', slot: '2' }))
  const [first, second, own] = [slot('1'), slot('2'), shown.ownTasks()]
  expect(first?.map(({ id }) => id)).toEqual(['a', 'b'])
  shown.show(task('c', { node: 'n2', slot: '2', state: 'failed' }))
  expect(slot('1')).toBe(first)
  expect(slot('2')).not.toBe(second)
  expect(shown.ownTasks()).toBe(own)
  shown.hide('b')
  expect(first?.map(({ id }) => id)).toEqual(['a', 'b'])
  expect(slot('1')?.map(({ id }) => id)).toEqual(['a'])
  expect(shown.ownTasks()).toEqual([])

  function slot(name: string) {
    return shown.slotsOf('web').get(name)
  }
})

test('the lists hold what is shown, whatever was shown and hidden before', () => {
  const ids = fc.constantFrom('a', 'b', 'c', 'd')
  const change = fc.record({
    id: ids,
    is: fc.option(
      fc.record({
        node: fc.constantFrom('n1', 'n2'),
        slot: fc.constantFrom('1', '2'),
        service: fc.constantFrom('web', 'db'),
      }),
    ),
  })
  fc.assert(
    fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
      const shown = createShownTasks('n1')
      const model = new Map<string, TaskIs>()
      for (const { id, is } of changes) {
        if (is === null) {
          shown.hide(id)
          model.delete(id)
        } else {
          shown.show(task(id, is))
          model.set(id, is)
        }
      }
      for (const service of ['web', 'db']) {
        const expected = [...model].filter(([, is]) => is.service === service)
        const found = [...shown.slotsOf(service)].flatMap(([slot, list]) => list.map(({ id }) => [id, slot]))
        expect(found.sort()).toEqual(expected.map(([id, is]) => [id, is.slot]).sort())
        for (const list of shown.slotsOf(service).values()) expect(list.length).toBeGreaterThan(0)
      }
      const own = [...model].filter(([, is]) => is.node === 'n1').map(([id]) => id)
      expect(
        shown
          .ownTasks()
          .map(({ id }) => id)
          .sort(),
      ).toEqual(own.sort())
      expect([...shown.tasks.keys()].sort()).toEqual([...model.keys()].sort())
    }),
  )
})
