// What a node must know before it says that it leads no client to a task any more.
import { expect, test } from 'vitest'
import type { View } from '../../../agent/core/view.ts'
import { createDrainHandler, drainRequest, isDrained } from '../../../agent/loops/drain.ts'
import { createRoutesLoop } from '../../../agent/loops/routes.ts'
import { createTime, quiet } from '../replication/cluster.ts'
import { type TaskIs, view as viewOf } from '../routes/builders.ts'

const running: TaskIs = { id: 't1', node: 'n2' }
const stopping: TaskIs = { ...running, task: { stopping: true } }

/** A node that is asked by n2 whether it has drained t1. `learn` makes its view another one. */
function asked(before: ReturnType<typeof viewOf>) {
  const clock = createTime().clock()
  const view = { ...before, revision: 1 } as { -readonly [K in keyof View]: View[K] }
  const fetched: string[] = []
  const routes = createRoutesLoop({
    view,
    clock,
    log: quiet,
    events: { emit() {} },
    onProblems() {},
    routes: ({ revision }) => ({ revision, published: [], services: [], tasks: [] }),
    dataplane: { apply: async () => [] },
  })
  routes.start()
  const exchange = async (node: string) => fetched.push(node) > 0
  const answer = createDrainHandler({ view, clock, exchange, whenRouted: routes.whenRouted })('n2', drainRequest('t1'))
  let confirmed: boolean | undefined
  void answer.then((bytes) => {
    confirmed = isDrained(bytes)
  })
  const learn = (now: View) => {
    Object.assign(view, { ...now, revision: view.revision + 1 })
    routes.wake()
  }
  return { clock, fetched, learn, confirmed: () => confirmed }
}

test('who has the word is asked no more, and confirms at once', async () => {
  const { clock, fetched, confirmed } = asked(viewOf({ tasks: [stopping] }))
  await clock.advance(1)
  expect(confirmed()).toBe(true)
  await clock.advance(2_000)
  expect(fetched).toEqual([])
})

test.each([
  { what: 'has not heard of the task', view: viewOf({}) },
  { what: 'takes its node for dead', view: viewOf({ tasks: [running], members: { n1: 'alive', n2: 'dead' } }) },
  { what: 'knows it as running', view: viewOf({ tasks: [running] }) },
])('who $what leads clients there once it learns more: it fetches the word, and confirms with it', async ({ view }) => {
  const { clock, fetched, learn, confirmed } = asked(view)
  await clock.advance(150)
  expect(fetched).toEqual([])
  await clock.advance(100)
  expect(fetched).toEqual(['n2'])
  expect(confirmed()).toBeUndefined()
  learn(viewOf({ tasks: [running] }))
  await clock.advance(100)
  expect(confirmed()).toBeUndefined()
  learn(viewOf({ tasks: [stopping] }))
  await clock.advance(1)
  expect(confirmed()).toBe(true)
})

test('who does not get the word in time says no', async () => {
  const { clock, confirmed } = asked(viewOf({}))
  await clock.advance(2_000)
  expect(confirmed()).toBe(false)
})
