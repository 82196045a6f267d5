// Named scenarios of placement (design.md 4, 5): what a lost, a cut off, a stalled, a flapping node may cost.
import { expect, test } from 'vitest'
import { cutApart, scene } from './scene.ts'

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
  const held = running(web).filter((program) => program.machine === machine(7)).length
  cutApart(made, [machine(7)])
  await watched.run(9_000)
  expect(running(web).filter((program) => program.machine === machine(7))).toHaveLength(held)
  await watched.run(10_000)
  // 3 s until it knows, 10 s of waiting: one window at most has passed.
  expect(running(web).filter((program) => program.machine === machine(7)).length).toBeLessThanOrEqual(held + 4)
  cluster.world.net.heal()
  await watched.settle(minute)
  expect(running(web)).toHaveLength(60)
}, 120_000)

test('under a lasting one-way partition no slot of a healthy service stays unclaimed for 5 s', async () => {
  const { cluster, watched, agent, machine, machines, create, running } = await scene({ seed: 203, nodes: 7 })
  const web = await create({ name: 'web', replicas: 14 })
  const { net } = cluster.world
  for (const other of machines) if (other !== machine(1)) net.cut(machine(1), other)
  const since = new Map<string, number>()
  let worstMs = 0
  const look = () => {
    const { view } = agent(2).node!
    for (let slot = 1; slot <= 14; slot++) {
      const claimed = [...(view.tasksByService.get(web) ?? [])].some((id) => {
        const task = view.tasks.get(id)!.value
        const { liveness } = view.members.get(task.node) ?? {}
        return (
          task.slot === String(slot) && task.exitCode === undefined && (liveness === 'alive' || liveness === 'suspect')
        )
      })
      const key = String(slot)
      if (claimed) since.delete(key)
      else if (!since.has(key)) since.set(key, cluster.world.time.now())
      worstMs = Math.max(worstMs, cluster.world.time.now() - (since.get(key) ?? cluster.world.time.now()))
    }
  }
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 200; i++) {
      await watched.run(100)
      look()
    }
    cluster.kill(machine(4 + round), { tasks: 'end' })
  }
  expect(worstMs).toBeLessThan(5_000)
  net.heal()
  for (const number of [4, 5, 6]) cluster.agentOn(machine(number)) ?? cluster.start(machine(number))
  await watched.settle(minute)
  expect(running(web)).toHaveLength(14)
}, 60_000)

test('a node that flaps does not drag tasks about', async () => {
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
