// One run of a seed: it decides how many nodes, what users do, what goes wrong and when. Faults for ten minutes, then all healed, then a deadline.
import { Broken } from './checkers/checker.ts'
import { type Cluster, createCluster } from './cluster.ts'
import { beginFault, bringBack, type Fault, type FaultKind, makers } from './faults.ts'
import { story } from './story.ts'
import { type Watch, watch } from './watch.ts'
import { createWorkload } from './workload.ts'
import { createChance } from './world/chance.ts'
import type { DiskImage } from './world/disk.ts'
import type { Machine } from './world/machine.ts'

export interface SeedOptions {
  readonly seed: number
  /** Virtual minutes of faults. */
  readonly minutes?: number
  /** Overrides what the seed decides. An empty list of faults: none. */
  readonly nodes?: number
  readonly faults?: readonly FaultKind[]
  /** No gossip is lost, and users are busy. */
  readonly calm?: boolean
}

export type SeedResult =
  | {
      readonly kind: 'kept'
      readonly seed: number
      readonly nodes: number
      readonly settledMs: number
      readonly faults: number
      readonly requests: number
    }
  | { readonly kind: 'broken'; readonly seed: number; readonly promise: string; readonly story: string }

/** 120 s: restart delays, rejections that double up to a minute, and clocks that were wrong take the longest to be over. */
const settleMs = 120_000
const backupEveryMs = 20_000

export async function runSeed(options: SeedOptions): Promise<SeedResult> {
  const { seed, minutes = 10 } = options
  const chance = createChance(seed).stream('plan')
  const nodes = options.nodes ?? chance.integer(3, chance.one(0.25) ? 30 : 9)
  const cluster = await createCluster({ seed, nodes, clockSpreadMs: chance.one(0.5) ? 2_000 : 0 })
  if (options.calm === true || chance.stream('loss').one(0.3)) cluster.world.net.gossipLoss = 0
  const watched = watch(cluster)
  try {
    const faults = await rage({
      cluster,
      watched,
      seed,
      minutes,
      kinds: options.faults ?? kindsOf(seed),
      calm: options.calm === true,
    })
    const settled = await watched.settle(settleMs)
    const requests = watched.operator.outcomes.length
    return { kind: 'kept', seed, nodes, settledMs: settled, faults, requests }
  } catch (error) {
    if (!(error instanceof Broken)) throw error
    return { kind: 'broken', seed, promise: error.breach.promise, story: story(cluster, error.breach, replay(options)) }
  }
}

/** Each seed knows some kinds of faults only: what always comes together hides what comes alone. */
function kindsOf(seed: number): readonly FaultKind[] {
  const chance = createChance(seed).stream('kinds')
  const all = Object.keys(makers) as FaultKind[]
  return chance.shuffled(all).slice(0, chance.integer(2, all.length))
}

interface Rage {
  readonly cluster: Cluster
  readonly watched: Watch
  readonly seed: number
  readonly minutes: number
  readonly kinds: readonly FaultKind[]
  readonly calm: boolean
}

async function rage({ cluster, watched, seed, minutes, kinds, calm }: Rage): Promise<number> {
  const chance = createChance(seed).stream('rage')
  const { time } = cluster.world
  const workload = createWorkload(cluster, watched.operator, chance.stream('workload'))
  const backups = new Map<Machine, DiskImage>()
  const open = new Set<Fault>()
  const endMs = time.now() + minutes * 60_000
  const faultEveryMs = chance.between(3_000, 30_000)
  const workEveryMs = calm ? 200 : chance.between(500, 10_000)
  let nextFaultMs = time.now() + faultEveryMs
  let nextWorkMs = time.now()
  let nextBackupMs = time.now()
  let copied = false
  let count = 0
  for (const _ of [1, 2, 3]) workload.act()
  while (time.now() < endMs) {
    await watched.run(Math.max(1, Math.min(nextFaultMs, nextWorkMs, nextBackupMs, endMs) - time.now()))
    if (time.now() >= nextWorkMs) {
      workload.act()
      nextWorkMs = time.now() + workEveryMs * chance.between(0.3, 1.7)
    }
    if (time.now() >= nextBackupMs) {
      const machine = chance.pick(cluster.machines)
      if (cluster.agentOn(machine) !== undefined) backups.set(machine, machine.disk.image())
      nextBackupMs = time.now() + backupEveryMs
    }
    if (time.now() < nextFaultMs) continue
    nextFaultMs = time.now() + faultEveryMs * chance.between(0.2, 1.8)
    const harmed = new Set([...open].flatMap(({ machines }) => machines))
    const victims = cluster
      .taking()
      .map(({ machine }) => machine)
      .filter((machine) => !harmed.has(machine))
    const kind = chance.pick(kinds)
    if (kind === undefined || victims.length === 0 || (kind === 'data directory copied' && copied)) continue
    copied ||= kind === 'data directory copied'
    const fault = beginFault(kind, { cluster, chance: chance.stream(`fault ${count}`), victims, backups })
    open.add(fault)
    count++
    time.after(fault.lastsMs, () => {
      if (open.delete(fault)) fault.heal()
    })
  }
  for (const fault of open) fault.heal()
  open.clear()
  healAll(cluster)
  workload.wind()
  return count
}

/** Machines that only ever held a copy stay off. */
function healAll(cluster: Cluster): void {
  cluster.world.tell({ is: 'fault', sentence: 'all is healed', machines: [] })
  cluster.world.net.heal()
  const identities = new Set<string>()
  for (const machine of cluster.machines) {
    const identity = Buffer.concat(machine.disk.image().get('identity') ?? []).toString()
    if (!identities.has(identity)) bringBack(cluster, machine)
    identities.add(identity)
  }
}

function replay({ seed, minutes, nodes, faults, calm }: SeedOptions): string {
  const words = ['npm run soak -- --seed', String(seed)]
  if (minutes !== undefined) words.push('--minutes', String(minutes))
  if (nodes !== undefined) words.push('--nodes', String(nodes))
  if (faults !== undefined) words.push(...faults.flatMap((kind) => ['--fault', `'${kind}'`]))
  if (calm === true) words.push('--calm')
  return words.join(' ')
}
