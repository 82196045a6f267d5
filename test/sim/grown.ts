// A large cluster that has known itself for long, made without letting hundreds of nodes join one by one: each machine gets a journal with the
// member records of all, written by the production view, and then all agents start at once.

import { openJournal } from '../../agent/journal.ts'
import { openView } from '../../agent/replica/open.ts'
import type { ReplicatedView } from '../../agent/view.ts'
import { spokenFor } from '../../protocol/digest.ts'
import type { StateRecord } from '../../protocol/model.ts'
import { toWire } from '../../protocol/record.ts'
import { type Cluster, emptyCluster } from './cluster.ts'
import { factsOf, identityOf } from './world/agent.ts'
import type { Machine } from './world/machine.ts'
import { createProcess } from './world/process.ts'

/** 256 MB: all that a scope holds in one piece. */
const everything = 1 << 28

/**
 * The network carries nothing before all agents listen: each would find most of the others refusing, and tell everybody so, which at 300 nodes is ten
 * million messages about a start that nobody asked about. Less than a dial lasts.
 */
const carriedAfterMs = 600

export async function createGrownCluster(seed: number, nodes: number): Promise<Cluster> {
  const cluster = emptyCluster(seed, 'local')
  const { world } = cluster
  const machines = Array.from({ length: nodes }, () => cluster.addNode({ off: true }))
  const views: ReplicatedView[] = []
  for (const machine of machines) views.push(await viewOn(cluster, machine))
  const records = views.flatMap((view) => view.delta('cluster', spokenFor(view.digest('cluster')), everything).records)
  const wires = records.map((record: StateRecord) => toWire(record))
  for (const view of views) view.apply('cluster', structuredClone(wires), view.self)
  await waited(cluster, Promise.all(views.map((view) => view.close())))
  for (const machine of machines) {
    machine.process?.end()
    for (const other of machines) world.net.clog(machine, other)
    world.time.after(world.chance.between(0, 500), () => void cluster.start(machine))
  }
  await cluster.run(carriedAfterMs)
  world.net.freeAll()
  const isWhole = () =>
    cluster.taking().length === nodes &&
    cluster.taking().every(({ node }) => [...node!.view.members.values()].every(({ liveness }) => liveness === 'alive'))
  if (!(await cluster.runUntil(isWhole, 60_000))) throw new Error(`${nodes} nodes did not find each other within 60 s`)
  return cluster
}

/** A view as its node would leave it after a first start. */
async function viewOn({ world, ...cluster }: Cluster, machine: Machine): Promise<ReplicatedView> {
  const { self } = identityOf(machine, world)
  const process = createProcess(world.time, machine, world.nextRun())
  machine.process = process
  const silent = { debug() {}, info() {}, warn() {}, error() {} }
  const open = async () =>
    openView({
      self,
      run: 'first',
      startedMs: machine.wall(),
      clock: process.clock,
      random: world.chance.stream(`view ${self}`),
      journal: await openJournal({ disk: machine.disk.openFor(process), clock: process.clock, log: silent }),
      log: silent,
      events: { emit() {} },
      onDuplicate() {},
    })
  const view = await waited({ world, ...cluster }, open())
  const value = { ...factsOf(machine), run: 'first', startedMs: machine.wall(), presence: 'up' as const, networks: [] }
  view.put({ scope: 'cluster', kind: 'member', id: self, value: value as never })
  return view
}

/** Lets time pass until the promise is settled. */
async function waited<T>(cluster: Cluster, promise: Promise<T>): Promise<T> {
  let settled = false
  void promise.finally(() => {
    settled = true
  })
  await cluster.runUntil(() => settled, 60_000)
  return promise
}
