// Everything that can befall a cluster. Each fault begins, lasts, and is healed by what it returns; after all are healed every machine is on,
// every agent runs, every link is whole and every disk has room.
import { noRanges, subtract } from '../../protocol/ranges.ts'
import type { Cluster } from './cluster.ts'
import type { Chance } from './world/chance.ts'
import type { DiskImage } from './world/disk.ts'
import type { Machine } from './world/machine.ts'
import { killProgram } from './world/programs.ts'

export interface Fault {
  readonly sentence: string
  readonly machines: readonly Machine[]
  readonly lastsMs: number
  heal(): void
}

export type FaultKind = keyof typeof makers

interface Setting {
  readonly cluster: Cluster
  readonly chance: Chance
  /** Machines with an agent that may be harmed now. */
  readonly victims: readonly Machine[]
  /** Disks as they were some time ago. */
  readonly backups: ReadonlyMap<Machine, DiskImage>
}

type Maker = (setting: Setting) => Fault

/** Begins a fault of this kind; what befalls no two machines at once is chosen by chance. */
export function beginFault(kind: FaultKind, setting: Setting): Fault {
  const fault = makers[kind](setting)
  setting.cluster.world.tell({ is: 'fault', sentence: fault.sentence, machines: fault.machines })
  return fault
}

export const makers = {
  'agent killed, its tasks live on': (setting) => killed(setting, 'live'),
  'agent killed with its tasks': (setting) => killed(setting, 'end'),
  'power cut': (setting) => powerCut(setting, 'kept'),
  'power cut, writes lost': (setting) => powerCut(setting, 'lost'),
  'power cut, journal gone': (setting) => powerCut(setting, 'journal gone'),
  'power cut, older journal': (setting) => powerCut(setting, 'older journal'),
  'journal end torn': (setting) => powerCut(setting, 'torn'),
  restart: ({ cluster, chance, victims }) => {
    const machine = chance.pick(victims)
    void cluster.shutDown(machine, 'back-soon')
    return {
      sentence: `${machine.name} restarts, says "back soon"`,
      machines: [machine],
      lastsMs: chance.between(500, 15_000),
      heal: () => bringBack(cluster, machine),
    }
  },
  stopped: (setting) => stopped(setting, [300, 900]),
  'stopped for long': (setting) => stopped(setting, [2_000, 25_000]),
  partition: ({ cluster, chance, victims }) => {
    const { net } = cluster.world
    const side = chance.shuffled(victims).slice(0, chance.integer(1, Math.max(1, Math.floor(victims.length / 2))))
    const others = cluster.machines.filter((machine) => !side.includes(machine))
    eachPair(side, others, (a, b) => {
      net.cut(a, b)
      net.cut(b, a)
    })
    return {
      sentence: `the network is cut between ${names(side)} and the rest`,
      machines: side,
      lastsMs: chance.between(2_000, 45_000),
      heal: () =>
        eachPair(side, others, (a, b) => {
          net.mend(a, b)
          net.mend(b, a)
        }),
    }
  },
  'one-way partition': ({ cluster, chance, victims }) => {
    const { net } = cluster.world
    const side = chance.shuffled(victims).slice(0, chance.integer(1, Math.max(1, Math.floor(victims.length / 2))))
    const others = cluster.machines.filter((machine) => !side.includes(machine))
    eachPair(side, others, (a, b) => net.cut(a, b))
    return {
      sentence: `nothing from ${names(side)} reaches the rest`,
      machines: side,
      lastsMs: chance.between(2_000, 45_000),
      heal: () => eachPair(side, others, (a, b) => net.mend(a, b)),
    }
  },
  'clogged links': ({ cluster, chance, victims }) => {
    const { net, time } = cluster.world
    const pairs = Array.from({ length: chance.integer(1, 4 * victims.length) }, () => {
      return [chance.pick(cluster.machines), chance.pick(cluster.machines)] as const
    }).filter(([a, b]) => a !== b)
    const lastsMs = chance.between(2_000, 20_000)
    // One by one, and freed in another order.
    for (const [a, b] of pairs) time.quietly(chance.between(0, lastsMs / 4), () => net.clog(a, b))
    for (const [a, b] of chance.shuffled(pairs))
      time.quietly(chance.between(lastsMs / 2, lastsMs), () => net.unclog(a, b))
    const sentence = `${pairs.length} links clog one by one`
    return { sentence, machines: pairs.map(([a]) => a), lastsMs: lastsMs + 10, heal: () => net.freeAll() }
  },
  'gossip lost': ({ cluster, chance }) => {
    const { net } = cluster.world
    const before = net.gossipLoss
    net.gossipLoss = chance.between(0.1, 0.6)
    const sentence = `${Math.round(net.gossipLoss * 100)} % of gossip is lost`
    return {
      sentence,
      machines: [],
      lastsMs: chance.between(5_000, 30_000),
      heal() {
        net.gossipLoss = before
      },
    }
  },
  'slow network': ({ cluster, chance }) => {
    const { net } = cluster.world
    const before = net.delayMs
    net.delayMs = [5, chance.between(20, 120)]
    const sentence = `messages take up to ${Math.round(net.delayMs[1])} ms`
    const heal = () => {
      net.delayMs = before
    }
    return { sentence, machines: [], lastsMs: chance.between(5_000, 30_000), heal }
  },
  'slow programs': ({ chance, victims }) => {
    const machine = chance.pick(victims)
    machine.slowness = chance.between(5, 40)
    const sentence = `programs of ${machine.name} start ${Math.round(machine.slowness)} times slower`
    return {
      sentence,
      machines: [machine],
      lastsMs: chance.between(5_000, 60_000),
      heal() {
        machine.slowness = 1
      },
    }
  },
  'program removed': ({ chance, victims }) => {
    const machine = chance.pick(victims)
    machine.missing.add('web')
    const sentence = `program web is gone from ${machine.name}`
    return {
      sentence,
      machines: [machine],
      lastsMs: chance.between(10_000, 60_000),
      heal: () => void machine.missing.delete('web'),
    }
  },
  'disk full': ({ chance, victims }) => {
    const machine = chance.pick(victims)
    machine.disk.full = true
    const sentence = `the disk of ${machine.name} is full`
    return {
      sentence,
      machines: [machine],
      lastsMs: chance.between(5_000, 40_000),
      heal() {
        machine.disk.full = false
      },
    }
  },
  'disk slow': ({ chance, victims }) => {
    const machine = chance.pick(victims)
    machine.disk.slowness = chance.between(20, 400)
    const sentence = `the disk of ${machine.name} is ${Math.round(machine.disk.slowness)} times slower`
    return {
      sentence,
      machines: [machine],
      lastsMs: chance.between(5_000, 40_000),
      heal() {
        machine.disk.slowness = 1
      },
    }
  },
  'clock steps': ({ chance, victims }) => {
    const machine = chance.pick(victims)
    const byMs = chance.pick([-1, 1]) * chance.between(500, chance.one(0.3) ? 90_000 : 8_000)
    machine.stepClock(byMs)
    const sentence = `the clock of ${machine.name} steps by ${(byMs / 1000).toFixed(1)} s`
    return {
      sentence,
      machines: [machine],
      lastsMs: chance.between(5_000, 60_000),
      heal: () => machine.stepClock(-byMs),
    }
  },
  'task killed': ({ chance, victims }) => {
    const machine = chance.pick(victims)
    const running = [...machine.programs.values()].filter((program) => program.running)
    const program = running.length === 0 ? undefined : chance.pick(running)
    if (program !== undefined) killProgram(program)
    const sentence =
      program === undefined ? 'a kill that met nobody' : `${program.plan.name} on ${machine.name} is killed`
    return { sentence, machines: [machine], lastsMs: 0, heal() {} }
  },
  'data directory copied': ({ cluster, chance, victims }) => {
    const machine = chance.pick(victims)
    const copy = cluster.addNode({ off: true })
    copy.disk.restore(machine.disk.image())
    cluster.start(copy)
    return {
      sentence: `${copy.name} starts with a copy of the data directory of ${machine.name}`,
      machines: [machine, copy],
      lastsMs: chance.between(10_000, 30_000),
      heal() {
        // Whoever ended on meeting the other stays away; the machine that was copied from comes back.
        copy.powerOff({ keepsWrites: true })
        bringBack(cluster, machine)
      },
    }
  },
} as const satisfies Readonly<Record<string, Maker>>

/** Nothing harms for ever: agents that ended by themselves are started again, as a supervisor would. */
export function bringBack(cluster: Cluster, machine: Machine): void {
  machine.powerOn()
  const agent = cluster.agentOn(machine)
  if (agent === undefined) cluster.start(machine)
}

function killed({ cluster, chance, victims }: Setting, tasks: 'live' | 'end'): Fault {
  const machine = chance.pick(victims)
  cluster.kill(machine, { tasks })
  return {
    sentence: `the agent of ${machine.name} is killed${tasks === 'end' ? ' with its tasks' : ', its tasks live on'}`,
    machines: [machine],
    lastsMs: chance.between(200, 40_000),
    heal: () => bringBack(cluster, machine),
  }
}

/** What only one journal holds is lost with it, whatever the software does: such a machine keeps its writes (seed 91: three journals gone in 15 s). */
function powerCut(setting: Setting, wished: 'kept' | 'lost' | 'torn' | 'journal gone' | 'older journal'): Fault {
  const { cluster, chance, victims, backups } = setting
  const machine = chance.pick(victims)
  const backup = backups.get(machine)
  const takesCopy = wished === 'journal gone' || wished === 'older journal'
  const disk = takesCopy && !isHeldElsewhere(cluster, machine) ? 'kept' : wished
  if (disk === 'torn') machine.disk.crash('torn')
  machine.powerOff({ keepsWrites: disk === 'kept' })
  if (disk === 'journal gone') machine.disk.keepOnly((name) => !name.startsWith('state.'))
  if (disk === 'older journal' && backup !== undefined) machine.disk.restore(backup)
  return {
    sentence: `${machine.name} loses power (${disk === 'kept' || disk === 'lost' ? `writes ${disk}` : disk})`,
    machines: [machine],
    lastsMs: chance.between(3_000, 60_000),
    heal: () => bringBack(cluster, machine),
  }
}

/** Another agent that takes part holds all that the one on this machine does. */
function isHeldElsewhere(cluster: Cluster, machine: Machine): boolean {
  const own = [...(cluster.agentOn(machine)?.node?.view.digest('cluster') ?? [])]
  return cluster.taking().some((agent) => {
    const theirs = agent.node!.view.digest('cluster')
    const holds = ([author, { covered }]: (typeof own)[number]) =>
      subtract(covered, theirs.get(author)?.covered ?? noRanges).length === 0
    return agent.machine !== machine && own.every(holds)
  })
}

function stopped({ cluster, chance, victims }: Setting, [least, most]: readonly [number, number]): Fault {
  const machine = chance.pick(victims)
  const lastsMs = chance.between(least, most)
  const process = cluster.agentOn(machine)?.process
  process?.stop()
  return {
    sentence: `the agent of ${machine.name} stands still for ${(lastsMs / 1000).toFixed(1)} s`,
    machines: [machine],
    lastsMs,
    heal: () => process?.continue(),
  }
}

function eachPair(side: readonly Machine[], others: readonly Machine[], act: (a: Machine, b: Machine) => void): void {
  for (const a of side) for (const b of others) act(a, b)
}

function names(machines: readonly Machine[]): string {
  return machines.map(({ name }) => name).join(', ')
}
