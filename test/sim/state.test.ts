// Named scenarios of the replicated state (design.md 3): long absences, copies, wrong clocks.
import { expect, test } from 'vitest'
import type { ReplicatedView } from '../../agent/view.ts'
import { scene } from './scene.ts'
import type { Watch } from './watch.ts'

const minute = 60_000
const hour = 60 * minute

test('a node that joins after 10,000 superseded writes needs nothing more within 10 s', async () => {
  const { cluster, watched, agent } = await scene({ seed: 101, nodes: 3 })
  const { view } = agent(1).node!
  await relabel(watched, view, 10_000)
  await watched.settle(30_000)
  const sentBefore = cluster.world.net.bytes.reduce((sum, bytes) => sum + bytes, 0)
  const joiner = cluster.addNode()
  const isIn = () => cluster.agentOn(joiner)?.begun === true && cluster.agentOn(joiner)?.node?.need() === 0
  expect(await cluster.runUntil(isIn, 10_000)).toBe(true)
  expect(await watched.settle(10_000)).toBeLessThan(10_000)
  const label = cluster.agentOn(joiner)?.node?.view.members.get(view.self)?.node.spec.Labels?.round
  expect(label).toBe('9999')
  const sent = cluster.world.net.bytes.reduce((sum, bytes) => sum + bytes, 0) - sentBefore
  expect(sent, 'bytes for a join: what was superseded is not sent').toBeLessThan(500_000)
})

test('a journal restored from an older copy loses nothing that was acknowledged', async () => {
  const { cluster, watched, agent, machine, create, running } = await scene({ seed: 102, nodes: 3 })
  const backup = machine(2).disk.image()
  // More than the numbers that a journal reserves ahead: what the copy counts on from was given out since.
  await relabel(watched, agent(2).node!.view, 3_000)
  const before = await create({ name: 'before', replicas: 2 }, 2)
  machine(2).powerOff({ keepsWrites: true })
  machine(2).disk.restore(backup)
  await watched.run(2_000)
  machine(2).powerOn()
  cluster.start(machine(2))
  await watched.settle(minute)
  // Gossip would hide a number that was used twice: what comes by digests alone, must.
  cluster.world.net.gossipLoss = 1
  const after = await create({ name: 'after', replicas: 2 }, 2)
  watched.operator.removeService(agent(2), before)
  await watched.run(100)
  await watched.settle(minute)
  expect(running(before)).toEqual([])
  expect(running(after)).toHaveLength(2)
})

test('what was deleted does not come back when it is changed at a node whose journal is an older copy', async () => {
  const { cluster, watched, agent, machine, create, running } = await scene({ seed: 108, nodes: 3 })
  const web = await create({ name: 'web', replicas: 2 }, 2)
  const backup = machine(3).disk.image()
  watched.operator.removeService(agent(1), web)
  const isForgotten = () => cluster.taking().every(({ node }) => node!.view.wasDeleted(web))
  expect(await cluster.runUntil(isForgotten, minute)).toBe(true)
  machine(3).powerOff({ keepsWrites: true })
  machine(3).disk.restore(backup)
  await watched.run(2_000)
  machine(3).powerOn()
  cluster.start(machine(3))
  // Long enough for somebody to be quicker than its first exchange: it still shows what it knew, and the change reaches all by gossip.
  cluster.world.net.delayMs = [60, 70]
  const isBack = () => agent(3).begun && agent(3).transport!.connected().length > 0
  expect(await cluster.runUntil(isBack, 5_000)).toBe(true)
  expect(agent(3).node!.view.services.has(web)).toBe(true)
  watched.operator.scale(agent(3), web, 4)
  await watched.settle(minute)
  expect(running(web)).toEqual([])
})

/** So many writes of one record, a hundred in 50 ms. */
async function relabel(watched: Watch, view: ReplicatedView, times: number): Promise<void> {
  const { node } = view.members.get(view.self)!
  for (let i = 0; i < times; i++) {
    const value = { ...node, spec: { ...node.spec, Labels: { round: String(i) } } }
    view.put({ scope: 'cluster', kind: 'node', id: view.self, value })
    if (i % 100 === 99) await watched.run(50)
  }
}

test('of two agents with one data directory the later one ends, and the first goes on', async () => {
  const { cluster, watched, agent, machine, create, running } = await scene({ seed: 103, nodes: 4 })
  const web = await create({ name: 'web', replicas: 4 })
  const copy = cluster.addNode({ off: true })
  copy.disk.restore(machine(2).disk.image())
  const double = cluster.start(copy)
  expect(await cluster.runUntil(() => double.process.state() === 'ended', 20_000)).toBe(true)
  expect(double.over).toBe('duplicate')
  expect(agent(2).process.state()).toBe('running')
  copy.powerOff({ keepsWrites: true })
  await watched.settle(minute)
  expect(running(web)).toHaveLength(4)
})

test('a cluster that slept for a week just starts', async () => {
  const { cluster, watched, machines, create, running } = await scene({ seed: 104, nodes: 5, clockSpreadMs: 2_000 })
  const web = await create({ name: 'web', replicas: 7 })
  for (const machine of machines) machine.powerOff({ keepsWrites: true })
  await watched.run(7 * 24 * hour)
  for (const machine of machines) {
    machine.powerOn()
    cluster.start(machine)
    await watched.run(300)
  }
  expect(await watched.settle(minute)).toBeLessThan(minute)
  expect(running(web)).toHaveLength(7)
}, 60_000)

test('a clock that is 59 s ahead moves nobody, takes no writes, and its node serves on', async () => {
  const { watched, agent, machine, create, running } = await scene({ seed: 106, nodes: 5, clockSpreadMs: 2_000 })
  const web = await create({ name: 'web', replicas: 5 })
  machine(3).stepClock(59_000)
  await watched.run(10_000)
  const refused = watched.operator.createService(agent(3), { name: 'refused' })
  const scaled = watched.operator.createService(agent(1), { name: 'taken', replicas: 5 })
  await watched.run(3_000)
  await watched.settle(minute)
  const outcome = watched.operator.outcomes.find(({ id }) => id === refused)?.result
  expect(outcome).toMatchObject({ code: 'unavailable' })
  expect(running(web)).toHaveLength(5)
  expect(running(scaled)).toHaveLength(5)
  expect(agent(1).node!.view.clockOffsetMs()).toBeLessThan(10_000)
  for (const { value } of agent(1).node!.view.services.values()) {
    expect(value.created.ms).toBeLessThan(agent(1).machine.wall() + 10_000)
  }
})
