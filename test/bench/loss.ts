/**
 * One node of five is lost again and again, killed or frozen with its tasks, while clients ask the others: what each survivor did, and when.
 *
 * Shared by the figures `kill` and `silent`.
 */
import { until } from '../until.ts'
import { pastEvents } from './events.ts'
import { pause } from './figure.ts'
import { type Machine, nodeIds, openSwarm } from './swarm.ts'
import { flowLog, judge, lastPickMs, notExcused, serveWeb, type Verdict, type Web } from './web.ts'

/** Ms after the fault, as seen at one survivor; undefined: never, within the bound. */
export interface Survivor {
  /** An endpoint of the lost node was picked here for the last time; 0: before the fault. */
  readonly pickedMs: number
  /** No address of the lost node is told to tasks here any more; null where no task runs that could ask. */
  readonly droppedMs: number | null | undefined
  /** It lists every slot as running on nodes that are ready. */
  readonly replacedMs: number | undefined
}

export interface Round {
  readonly lost: string
  readonly slots: number
  readonly survivors: Readonly<Record<string, Survivor>>
  /** What the survivors tell of it, from the end of the round before on. */
  readonly events: Readonly<Record<string, readonly string[]>>
  readonly failures: readonly Verdict[]
}

export interface Losses {
  readonly rounds: readonly Round[]
  readonly requests: number
}

export interface LossOptions {
  readonly how: 'kill' | 'freeze'
  readonly rounds: number
  readonly say: (line: string) => void
}

/** Two a node: a lost node leaves more than one slot to fill. */
const replicas = 10
/** 50 requests a second and node: each survivor picks a lost endpoint every 100 ms if it may. */
const everyMs = 20
/** Before each fault, so that every watcher has learnt the addresses of all slots (once a second). */
const calmMs = 1_500
const deadlineMs = 30_000

export async function loseNodes({ how, rounds, say }: LossOptions): Promise<Losses> {
  const swarm = await openSwarm({ nodes: 5 })
  let web: Web | undefined
  try {
    web = await serveWeb(swarm, { replicas, everyMs })
    const ids = await nodeIds(swarm.first)
    const done: Round[] = []
    let sinceMs = Date.now()
    for (let i = 0; i < rounds; i++) {
      await web.settled()
      await pause(calmMs)
      const lost = nextToLose(swarm.machines, web, i)
      const round = await loseOne({ lost, web, how, machines: swarm.machines, id: ids.get(lost.name) ?? '', sinceMs })
      sinceMs = Date.now()
      done.push(round)
      say(line(i + 1, round))
    }
    return { rounds: done, requests: web.counts.requests }
  } finally {
    web?.stop()
    await swarm.close()
  }
}

/** In turn, and always one that runs something. */
function nextToLose(machines: readonly Machine[], web: Web, i: number): Machine {
  const running = new Set([...(web.watch.last(machines[0]!)?.running.values() ?? [])].map(({ node }) => node))
  const turn = [...machines.slice(i % machines.length), ...machines.slice(0, i % machines.length)]
  return turn.find(({ name }) => running.has(name)) ?? turn[0]!
}

interface Losing {
  readonly lost: Machine
  readonly id: string
  readonly web: Web
  readonly how: 'kill' | 'freeze'
  readonly machines: readonly Machine[]
  /** Wall ms of the end of the round before. */
  readonly sinceMs: number
}

async function loseOne({ lost, id, web, how, machines, sinceMs }: Losing): Promise<Round> {
  const { watch } = web
  const others = machines.filter((machine) => machine !== lost)
  const slots = [...(watch.last(others[0]!)?.running ?? [])]
    .filter(([, { node }]) => node === lost.name)
    .map(([slot]) => slot)
  const theirs = new Map(others.map((m) => [m.name, slots.flatMap((slot) => watch.addressOf(m, slot) ?? [])]))
  const asks = others.filter(
    (machine) => watch.canResolve(machine) && theirs.get(machine.name)!.length === slots.length,
  )
  const [dropped, replaced] = [new Map<string, number>(), new Map<string, number>()]
  let moment = { atMs: Number.POSITIVE_INFINITY, wallMs: 0 }
  let over = false
  const since = (atMs: number) => Math.round(atMs - moment.atMs)
  watch.onNames((machine, addresses, atMs) => {
    const gone = theirs.get(machine.name)
    if (over || gone === undefined || atMs < moment.atMs || gone.some((address) => addresses.has(address))) return
    if (!dropped.has(machine.name)) dropped.set(machine.name, since(atMs))
  })
  watch.onSeen(({ name }, { running, ready, atMs }) => {
    if (over || atMs < moment.atMs || ready.has(lost.name) || running.size < web.replicas) return
    if (!replaced.has(name)) replaced.set(name, since(atMs))
  })
  const before = web.takeFailures().map(notExcused)
  moment = how === 'kill' ? lost.kill() : lost.freeze()
  await until(() => asks.every(({ name }) => dropped.has(name)) && others.every(({ name }) => replaced.has(name)), {
    deadlineMs,
    what: `the survivors of ${lost.name} to drop and replace it`,
  }).catch(() => undefined)
  over = true
  // A request that met the lost node at the last moment has ended by now.
  await pause(500)
  const logs = new Map(
    await Promise.all(others.map(async (m) => [m.name, await flowLog(m, moment.wallMs - 10_000)] as const)),
  )
  const told = others.map(async (m) => [m.name, await pastEvents(m, sinceMs, Date.now())] as const)
  const events = Object.fromEntries(await Promise.all(told))
  const survivors = Object.fromEntries(
    others.map((machine) => {
      const { name } = machine
      const droppedMs = asks.includes(machine) ? dropped.get(name) : null
      const pickedMs = lastPickMs(logs.get(name)!, { node: id }, moment.wallMs)
      return [name, { pickedMs, droppedMs, replacedMs: replaced.get(name) }]
    }),
  )
  const during = web.takeFailures().map((asked) => judge(asked, logs.get(asked.via)!, { node: id }, moment))
  watch.forget(lost)
  if (how === 'kill') await lost.start()
  else lost.thaw()
  return { lost: lost.name, slots: slots.length, survivors, events, failures: [...before, ...during] }
}

/** The slowest survivor of a round; one that never got there counts as never. */
export function slowest(round: Round, mark: keyof Survivor): number {
  return Math.max(
    ...Object.values(round.survivors).flatMap((marks) =>
      marks[mark] === null ? [] : [marks[mark] ?? Number.POSITIVE_INFINITY],
    ),
  )
}

/** Out of the names that tasks resolve, and of the picks. */
export function outMs(round: Round): number {
  return Math.max(slowest(round, 'droppedMs'), slowest(round, 'pickedMs'))
}

function line(number: number, round: Round): string {
  const at = (mark: keyof Survivor) => `${slowest(round, mark)}`
  const broken = round.failures.filter(({ excused }) => !excused).length
  return `${number}: ${round.lost} with ${round.slots} slots; last picked ${at('pickedMs')}, out of DNS ${at('droppedMs')}, replaced ${at('replacedMs')} ms; ${round.failures.length} requests failed, ${broken} without excuse`
}
