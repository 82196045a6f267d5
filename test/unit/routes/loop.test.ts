// When a change of the view has reached the data plane, for those who wait for it: a drain, a start, a stop.
import { expect, test } from 'vitest'
import { createRoutesLoop } from '../../../agent/loops/routes.ts'
import { createTime, quiet } from '../replication/cluster.ts'
import { view as viewOf } from './builders.ts'

/**
 * A routes loop whose data plane takes a table only when told to; `took` are the revisions of those it has taken. `obey`: new flows obey it, and it is
 * not whole yet.
 */
function slowPlane() {
  const clock = createTime().clock()
  const view = { ...viewOf({}), revision: 1 }
  const took: number[] = []
  let takeNext = () => {}
  let obeyNext = () => {}
  const told: string[] = []
  const loop = createRoutesLoop({
    view,
    clock,
    log: quiet,
    events: { emit() {} },
    onProblems: (problems) => told.push(...problems.map(({ sentence }) => sentence)),
    routes: ({ revision }) => ({ revision, published: [], services: [], tasks: [] }),
    dataplane: {
      apply: ({ revision }, onObeyed = () => {}) =>
        new Promise((resolve) => {
          obeyNext = onObeyed
          takeNext = () => {
            took.push(revision)
            resolve([{ protocol: 'tcp', port: 80, service: 's', sentence: `of ${revision}` }])
          }
        }),
    },
  })
  const take = () => {
    takeNext()
    return clock.advance(1)
  }
  const obey = () => {
    obeyNext()
    return clock.advance(1)
  }
  return { view, clock, loop, took, told, take, obey }
}

test('who asks while the table with what it waits for is being applied is answered when it is', async () => {
  const { clock, loop, take } = slowPlane()
  loop.start()
  await clock.advance(1)
  const answer = loop.whenRouted(() => true, 2_000)
  await take()
  await clock.advance(2_000)
  expect(await answer).toBe(true)
})

test('who asks while an older table is being applied is answered by the next one', async () => {
  const { view, clock, loop, took, take } = slowPlane()
  loop.start()
  await clock.advance(1)
  view.revision = 2
  const answer = loop.whenRouted(() => true, 2_000).then((applied) => ({ applied, took: [...took] }))
  await take()
  await take()
  expect(await answer).toEqual({ applied: true, took: [1, 2] })
})

test('a table that does not come in time is told as such', async () => {
  const { clock, loop } = slowPlane()
  loop.start()
  const answer = loop.whenRouted(() => true, 2_000)
  await clock.advance(2_000)
  expect(await answer).toBe(false)
})

test('who waits for new flows does not wait for the rest, and the next table is given meanwhile; of what failed the last one tells', async () => {
  const { view, clock, loop, took, told, take, obey } = slowPlane()
  loop.start()
  await clock.advance(1)
  view.revision = 2
  const answer = loop.whenRouted(() => true, 2_000)
  await obey()
  // The first is not whole, and the second is there.
  await obey()
  expect([await answer, took, loop.appliedRevision()]).toEqual([true, [], 2])
  await take()
  expect([took, told]).toEqual([[2], ['of 2']])
})
