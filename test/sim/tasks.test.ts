// Named scenarios of placement (design.md 4, 5): what a lost, a cut off, a stalled, a flapping node may cost.
import { expect, test } from 'vitest'
import { hasEnded } from '../../agent/core/live.ts'
import { cutApart, type Scene, scene } from './scene.ts'

const minute = 60_000

test('a stall of one second moves no task and buries nobody', async () => {
  const { cluster, watched, create, machines, starts } = await scene({ seed: 201, nodes: 5 })
  await create({ name: 'web', replicas: 10 })
  const before = starts()
  const buried: string[] = []
  cluster.world.onTold(({ what }) => {
    if (what.is === 'event' && what.event.action === 'dead') buried.push(what.event.sentence)
  })
  for (let i = 0; i < 20; i++) {
    const { process } = machines[i % 5]!
    process?.stop()
    await watched.run(1_000)
    process?.continue()
    await watched.run(4_000)
  }
  expect(buried).toEqual([])
  expect(starts()).toBe(before)
  await watched.settle(10_000)
})

test('one node of 30 that is cut off starts no more than its bound, and all is as before when it is back', async () => {
  const made = await scene({ seed: 202, nodes: 30 })
  const { cluster, watched, machine, create, running } = made
  const web = await create({ name: 'web', replicas: 60 })
  const onIt = () => running(web).filter((program) => program.machine === machine(7)).length
  const held = onIt()
  cutApart(made, [machine(7)])
  // 3 s until it knows, 10 s of waiting.
  await watched.run(9_000)
  expect(onIt()).toBe(held)
  // Ten seconds at a time: max(4, what it held when they began). It starts some, or nothing would be bounded.
  for (let window = 0; window < 3; window++) {
    const before = onIt()
    await watched.run(10_000)
    expect(onIt() - before).toBeLessThanOrEqual(Math.max(4, before))
  }
  expect(onIt()).toBeGreaterThan(held)
  cluster.world.net.heal()
  await watched.settle(minute)
  expect(running(web)).toHaveLength(60)
}, 120_000)

test.each([
  { way: 'nothing from one node arrives', isCut: (from: number) => from === 1 },
  { way: 'nothing arrives at one node', isCut: (_: number, to: number) => to === 1 },
  { way: 'one node hears three of nine only', isCut: (from: number, to: number) => to === 1 && from > 4 },
  { way: 'each hears its neighbour no more', isCut: (from: number, to: number) => to === (from % 9) + 1 },
])(
  'under a lasting one-way partition ($way) no slot of a healthy service stays unclaimed for 5 s',
  async ({ isCut }) => {
    const made = await scene({ seed: 203, nodes: 9 })
    const { cluster, watched, agent, machine, machines, create, running } = made
    const web = await create({ name: 'web', replicas: 18 })
    const { net, time } = cluster.world
    for (const from of machines) {
      for (const to of machines) if (from !== to && isCut(from.index + 1, to.index + 1)) net.cut(from, to)
    }
    const since = new Map<number, number>()
    let worstMs = 0
    const watchFor = async (ms: number, slots: number) => {
      for (let i = 0; i < ms / 100; i++) {
        await watched.run(100)
        const claimed = claimedSlots(made, { service: web, by: 9 })
        for (let slot = 1; slot <= slots; slot++) {
          if (claimed.has(String(slot))) since.delete(slot)
          else if (!since.has(slot)) since.set(slot, time.now())
          worstMs = Math.max(worstMs, time.now() - (since.get(slot) ?? time.now()))
        }
      }
    }
    await watchFor(20_000, 18)
    watched.operator.scale(agent(9), web, 36)
    await watchFor(20_000, 36)
    for (const number of [4, 6]) {
      machine(number).powerOff({ keepsWrites: true })
      await watchFor(20_000, 36)
    }
    // Who loses power is silent, so its slots are open until that is noticed.
    expect(worstMs).toBeGreaterThan(500)
    expect(worstMs).toBeLessThan(5_000)
    net.heal()
    for (const number of [4, 6]) {
      machine(number).powerOn()
      cluster.start(machine(number))
    }
    await watched.settle(minute)
    expect(running(web)).toHaveLength(36)
  },
  60_000,
)

/** Slots that this node sees claimed by a node that it believes in, and that is really there. */
function claimedSlots({ agent, cluster }: Scene, { service, by }: { service: string; by: number }) {
  const { view } = agent(by).node!
  const here = new Set(cluster.taking().map(({ self }) => self))
  const tasks = [...view.slotsOf(service).values()].flat().map(({ value }) => value)
  const standing = tasks.filter(({ node, state }) => {
    const { liveness } = view.members.get(node) ?? {}
    return here.has(node) && !hasEnded(state) && (liveness === 'alive' || liveness === 'suspect')
  })
  return new Set(standing.map(({ slot }) => slot))
}

test('a node whose link flaps does not drag the tasks of others about', async () => {
  const made = await scene({ seed: 204, nodes: 5 })
  const { cluster, watched, machine, create, running, starts } = made
  const web = await create({ name: 'web', replicas: 10 })
  const held = running(web).filter((program) => program.machine === machine(5)).length
  const others = running(web).filter((program) => program.machine !== machine(5))
  const before = starts()
  for (let i = 0; i < 15; i++) {
    cutApart(made, [machine(5)])
    await watched.run(6_000)
    cluster.world.net.heal()
    await watched.run(14_000)
  }
  // Each time its own are started elsewhere; alone for less than 10 s it starts nothing itself, and the others' tasks stay what they are.
  expect(starts() - before).toBeLessThanOrEqual(15 * held)
  expect(others.filter((program) => !program.running)).toEqual([])
  await watched.settle(minute)
  expect(running(web)).toHaveLength(10)
}, 60_000)

test('a node that flaps does not drag tasks about: they are moved back to it once, and then no more', async () => {
  const { cluster, watched, machine, create, running, starts } = await scene({ seed: 204, nodes: 5 })
  const web = await create({ name: 'web', replicas: 10 })
  const held = running(web).filter((program) => program.machine === machine(5)).length
  const before = starts()
  for (let i = 0; i < 10; i++) {
    machine(5).powerOff({ keepsWrites: true })
    await watched.run(5_000)
    machine(5).powerOn()
    cluster.start(machine(5))
    // Longer than the 30 s after which a node that stays is given tasks.
    await watched.run(35_000)
  }
  // Away at the first end, back after the first stay, away at the second end.
  expect(starts() - before).toBeLessThanOrEqual(3 * held)
  await watched.settle(minute)
  expect(running(web)).toHaveLength(10)
}, 60_000)

test('who was cut off leads no client to what stopped behind the cut, also before it has heard of that', async () => {
  const made = await scene({ seed: 209, nodes: 5 })
  const { cluster, watched, agent, machine, create, running } = made
  const web = await create({ name: 'web', replicas: 10, publish: [8080] })
  cutApart(made, [machine(1), machine(2)])
  await watched.run(15_000)
  const before = running(web).filter((program) => program.machine.index > 1)
  expect(before).not.toEqual([])
  watched.operator.updateService(agent(4), web, (spec) => ({
    ...spec,
    TaskTemplate: { ...spec.TaskTemplate, ForceUpdate: 1 },
  }))
  expect(await cluster.runUntil(() => before.every((program) => !program.running), 60_000)).toBe(true)
  const gone = new Set(before.map(({ plan }) => plan.task))
  cluster.world.net.heal()
  const returned = new Set<number>()
  for (let ms = 0; ms < 5_000; ms++) {
    await watched.run(1)
    for (const number of [1, 2]) {
      const backends =
        agent(number)
          .dataplane.routes()
          ?.published.flatMap((route) => route.backends) ?? []
      if (backends.some(({ node }) => node === agent(4).self)) returned.add(number)
      expect(backends.filter(({ task, suspect }) => gone.has(task) && !suspect)).toEqual([])
    }
  }
  expect(returned.size).toBe(2)
  await watched.settle(minute)
}, 60_000)

test('an agent that is killed alone finds its tasks running and keeps them', async () => {
  const { cluster, watched, machine, create, running } = await scene({ seed: 205, nodes: 3 })
  const web = await create({ name: 'web', replicas: 6 })
  const pids = new Map(running(web).map(({ plan, pid }) => [plan.task, pid]))
  cluster.kill(machine(2), { tasks: 'live' })
  await watched.run(300)
  cluster.start(machine(2))
  await watched.settle(minute)
  expect(new Map(running(web).map(({ plan, pid }) => [plan.task, pid]))).toEqual(pids)
})

test('an agent that is back takes part only when its data plane obeys what became of its tasks', async () => {
  const { cluster, watched, machine, create, running } = await scene({ seed: 207, nodes: 3 })
  const web = await create({ name: 'web', replicas: 6, publish: [8080] })
  cluster.kill(machine(2), { tasks: 'end' })
  await watched.run(2_000)
  const back = cluster.start(machine(2))
  const { apply } = back.dataplane
  // As slow as a kernel with a large table on a busy machine.
  back.dataplane.apply = async (routes) => {
    await new Promise<void>((resolve) => cluster.world.time.after(300, resolve))
    return await apply(routes)
  }
  expect(await cluster.runUntil(() => back.begun, 10_000)).toBe(true)
  const led = back.dataplane.routes()?.published.flatMap(({ backends }) => backends.map(({ task }) => task))
  expect(led?.sort()).toEqual(
    running(web)
      .map(({ plan }) => plan.task)
      .sort(),
  )
})

test('an agent that nobody tells of a change takes part within a second too', async () => {
  const { cluster, watched, machine, create } = await scene({ seed: 208, nodes: 1 })
  await create({ name: 'web', replicas: 2, publish: [8080] })
  cluster.kill(machine(1), { tasks: 'live' })
  await watched.run(300)
  const back = cluster.start(machine(1))
  expect(await cluster.runUntil(() => back.begun, 1_000)).toBe(true)
})

test('after a power cut of all machines every acknowledged service is back', async () => {
  const { cluster, watched, agent, machines, create } = await scene({ seed: 206, nodes: 5 })
  await create({ name: 'web', replicas: 5 })
  const last = watched.operator.createService(agent(4), { name: 'last', replicas: 3 })
  await cluster.runUntil(() => watched.operator.outcomes.at(-1)?.result !== undefined, 2_000)
  expect(watched.operator.outcomes.at(-1)?.result).toBe('members')
  for (const machine of machines) machine.powerOff({ keepsWrites: false })
  await watched.run(10_000)
  for (const machine of machines) {
    machine.powerOn()
    cluster.start(machine)
  }
  await watched.settle(minute)
  expect(watched.truth.programs().filter(({ plan }) => plan.service === last)).toHaveLength(3)
})
