/**
 * What the demo sets up and knows: machines, the web service on them, the client that asks, the watchers, and the fault under way.
 *
 * Uses agents the way any user does: their command line, API, published port and resolver. run.ts decides when what happens.
 */
import type { Machine, Machines } from './agents.ts'
import { createMachines, isFree, pause } from './agents.ts'
import { type Asked, askAll, type Requests } from './requests.ts'
import type { Shown } from './screen.ts'
import { allHave, type Fault, observe, returned, slowest, startTimeline, type Timeline } from './timeline.ts'
import { type Watch, watchAll } from './watch.ts'

export interface Stage {
  readonly machines: Machines
  readonly requests: Requests
  readonly port: number
  timeline(): Timeline | undefined
  rebalancedMs(): number | undefined
  kill(machine: Machine): void
  freeze(machine: Machine): void
  cut(): void
  bringBack(): Promise<void>
  shown(note: string): Shown
  /** Waits until it holds, or the time is over: then false. */
  until(condition: () => boolean, deadlineMs: number): Promise<boolean>
  close(): Promise<void>
}

const service = 'web'
const replicas = 3
const lookMs = 20

/** A real HTTP server of one line: who answers, where, and where its resolver is. */
const program = `const e = process.env
require('http').createServer((q, r) => r.end([e.GRAPEVINE_TASK, e.GRAPEVINE_NODE, e.GRAPEVINE_DNS].join(' ') + '\\n')).listen(e.PORT, e.GRAPEVINE_ADDRESS)`

export async function setStage(
  options: { readonly dir: string; readonly env: Readonly<Record<string, string | undefined>> },
  say: (line: string) => void,
): Promise<Stage> {
  const machines = await createMachines({ count: 3, ...options })
  try {
    say('Starting three agents; the first founds a cluster, the others join it by address')
    await machines.start()
    const port = await freePort(machines.all)
    const [first] = machines.all as [Machine]
    say(`Creating the network demo and the service web: ${replicas} replicas, published on port ${port} of every node`)
    await first.client.post('/networks/create', { Name: 'demo', Driver: 'overlay' })
    await first.client.post('/services/create', specOf(port))
    return await playStage(machines, port)
  } catch (error) {
    await machines.close()
    throw error
  }
}

async function playStage(machines: Machines, port: number): Promise<Stage> {
  const resolvers = new Map<string, string>()
  const watch = watchAll(machines.all, service, resolvers)
  const until = async (condition: () => boolean, deadlineMs: number) => {
    const endMs = performance.now() + deadlineMs
    while (!condition()) {
      if (performance.now() > endMs) return false
      await pause(lookMs)
    }
    return true
  }
  const settled = () => machines.all.every((m) => watch.last.get(m.name)?.running.size === replicas)
  if (!(await until(settled, 30_000))) throw new Error('the service did not come up within 30 s')
  return run({ machines, port, watch, resolvers, until })
}

interface Parts {
  readonly machines: Machines
  readonly port: number
  readonly watch: Watch
  readonly resolvers: Map<string, string>
  readonly until: Stage['until']
}

function run({ machines, port, watch, resolvers, until }: Parts): Stage {
  const asking = askAll(machines.all, port)
  const faults: Fault[] = []
  let timeline: Timeline | undefined
  let rebalancedMs: number | undefined
  let isCut = false
  asking.onAnswer(() => {
    for (const [node, resolver] of asking.resolvers) resolvers.set(node, resolver)
  })
  watch.onSeen((seen) => {
    if (timeline === undefined) return
    timeline = observe(timeline, seen)
    const { returnedMs, fault } = timeline
    if (returnedMs !== undefined && rebalancedMs === undefined && allHave(timeline, 'rejoinedMs')) {
      if ([...seen.running.values()].includes(fault.node)) rebalancedMs = seen.atMs - returnedMs
    }
  })

  function begin(node: string, kind: Fault['kind'], atMs: number): void {
    const others = machines.all.filter((m) => m.name !== node && m.state === 'up').map((m) => m.name)
    const mine = [...(watch.last.get(others[0] ?? '')?.running ?? [])]
      .filter(([, at]) => at === node)
      .map(([slot]) => slot)
    const addresses = new Map(
      others.map((by) => [by, new Set(mine.flatMap((slot) => watch.slotAddresses.get(`${by}/${slot}`) ?? []))]),
    )
    const fault: Fault = { node, kind, atMs, slots: replicas, addresses }
    faults.push(fault)
    rebalancedMs = undefined
    timeline = startTimeline(fault, others)
  }

  return {
    machines,
    requests: asking,
    port,
    until,
    timeline: () => timeline,
    rebalancedMs: () => rebalancedMs,
    kill: (machine) => begin(machine.name, 'killed', machines.kill(machine)),
    freeze: (machine) => begin(machine.name, 'frozen', machines.freeze(machine)),
    cut() {
      isCut = true
      begin((machines.all[0] as Machine).name, 'cut off', machines.cut())
    },
    async bringBack() {
      if (isCut) machines.mend()
      isCut = false
      const atMs = performance.now()
      await Promise.all(machines.all.filter((m) => m.state !== 'up').map((m) => machines.bringBack(m)))
      if (timeline !== undefined) timeline = returned(timeline, atMs)
    },
    shown(note) {
      const latest = [...watch.last.values()].filter(
        (seen) => machines.all.find((m) => m.name === seen.by)?.state === 'up',
      )
      latest.sort((a, b) => b.atMs - a.atMs)
      const running = latest[0]?.running ?? new Map<string, string>()
      return {
        machines: machines.all.map((m) => ({
          name: m.name,
          address: m.address,
          state: m.state,
          tasks: [...running.values()].filter((node) => node === m.name).length,
          calledBy: latest
            .filter((seen) => seen.by !== m.name)
            .map((seen) => `${seen.by}: ${seen.nodes.get(m.name) ?? '?'}`)
            .sort()
            .join('  '),
        })),
        service: {
          running: running.size,
          wanted: replicas,
          url: `http://${machines.all.find((m) => m.state === 'up')?.address}:${port}`,
        },
        requests: asking.counts.requests,
        failed: asking.counts.failed,
        rate: asking.rate(),
        failures: asking.failures.map((failure) => ({ ...failure, cause: causeOf(failure, faults) })),
        timeline,
        rebalancedMs,
        cut: isCut,
        note,
        paste: pasteLines(machines, port),
      }
    },
    async close() {
      asking.stop()
      watch.stop()
      await machines.close()
    },
  }
}

/** A request that was under way when a node was lost may have been open on it; one that began later may not fail. */
function causeOf(failure: Asked, faults: readonly Fault[]): string {
  const during = faults.find((f) => f.atMs >= failure.startedMs && f.atMs <= failure.endedMs)
  if (during !== undefined) return `it was open when ${during.node} was ${during.kind}`
  const before = faults.findLast((f) => f.atMs < failure.startedMs)
  if (before === undefined) return 'no fault was under way'
  return `it began ${Math.round(failure.startedMs - before.atMs)} ms after ${before.node} was ${before.kind}`
}

function pasteLines(machines: Machines, port: number): readonly string[] {
  const up = machines.all.find((m) => m.state === 'up') ?? (machines.all[0] as Machine)
  const vine = `vine --socket ${up.client.socket}`
  return [
    `curl http://${up.address}:${port}`,
    `${vine} service ps ${service}`,
    `${vine} resolve tasks.${service} --from ${service}.1`,
  ]
}

/** The figures of the last line: the slowest survivor's, in ms. */
export function figures(stage: Stage): Readonly<Record<string, number | null>> {
  const timeline = stage.timeline()
  const of = (mark: 'avoidedMs' | 'droppedMs' | 'replacedMs' | 'rejoinedMs') =>
    (timeline === undefined ? undefined : slowest(timeline, mark)) ?? null
  return {
    nodes: stage.machines.all.length,
    requests: stage.requests.counts.requests,
    failed: stage.requests.counts.failed,
    avoid_ms: of('avoidedMs'),
    dns_ms: of('droppedMs'),
    replaced_ms: of('replacedMs'),
    rejoined_ms: of('rejoinedMs'),
  }
}

function specOf(port: number) {
  return {
    Name: service,
    TaskTemplate: {
      ContainerSpec: { Image: 'node', Args: ['-e', program] },
      Networks: [{ Target: 'demo' }],
    },
    Mode: { Replicated: { Replicas: replicas } },
    EndpointSpec: {
      Mode: 'vip',
      Ports: [{ Protocol: 'tcp', TargetPort: 80, PublishedPort: port, PublishMode: 'ingress' }],
    },
  }
}

/** 8080, or the next port that is free on every machine's address. */
async function freePort(machines: readonly Machine[]): Promise<number> {
  for (let port = 8080; port < 8180; port++) {
    const free = await Promise.all(machines.map((m) => isFree(m.address, port)))
    if (free.every(Boolean)) return port
  }
  throw new Error('no port from 8080 to 8179 is free')
}
