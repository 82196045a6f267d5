// A named scenario that takes a minute of real time: for `npm run soak` (design.md 3: a partition with creates and deletes on both sides).
import { expect, test } from 'vitest'
import { cutApart, scene } from './scene.ts'

const minute = 60_000
const hour = 60 * minute

test('after 30 hours apart both sides agree on what was created and deleted', async () => {
  const made = await scene({ seed: 105, nodes: 4, preset: 'wan' })
  const { cluster, watched, agent, machine, create, running, service } = made
  const [kept, goneLeft, goneRight] = [
    await create({ name: 'kept', replicas: 3 }),
    await create({ name: 'gone-left', replicas: 2 }),
    await create({ name: 'gone-right', replicas: 2 }),
  ]
  cutApart(made, [machine(1), machine(2)])
  await watched.run(hour)
  watched.operator.removeService(agent(1), goneLeft)
  watched.operator.removeService(agent(3), goneRight)
  const left = watched.operator.createService(agent(1), { name: 'left', replicas: 2 })
  const right = watched.operator.createService(agent(3), { name: 'right', replicas: 2 })
  const both = [1, 3].map((n) => watched.operator.createService(agent(n), { name: 'both', replicas: 1 }))
  // Changed at another node of its side than it was made at.
  await watched.run(minute)
  for (const [id, n] of [
    [left, 2],
    [right, 4],
  ] as const)
    watched.operator.scale(agent(n), id, 3)
  await watched.run(29 * hour)
  cluster.world.net.heal()
  await watched.settle(5 * minute)
  for (const id of [goneLeft, goneRight]) expect(service(1, id)).toBeUndefined()
  for (const [id, count] of [
    [kept, 3],
    [left, 3],
    [right, 3],
  ] as const) {
    expect(running(id)).toHaveLength(count)
  }
  // Both were created under one name: the earlier runs, the later stays, in conflict.
  expect(both.map((id) => service(2, id) !== undefined)).toEqual([true, true])
  expect(both.map((id) => running(id).length).sort()).toEqual([0, 1])
})
