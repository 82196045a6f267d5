/** A task killed: its program gets SIGKILL, 15 times; when no node picks it any more, and when the next one serves. */
import { isAlive } from '../e2e/processes.ts'
import { until } from '../until.ts'
import { atMost, type Figure, pause } from './figure.ts'
import { requestsRow } from './requests.ts'
import { type Machine, nodeStates, openSwarm } from './swarm.ts'
import { flowLog, judge, lastPickMs, notExcused, serveWeb, type Verdict, type Web } from './web.ts'

const rounds = 15
/** Short, so that the bench is; what counts is that the replacement keeps to it. */
const delayMs = 2_000
/** From the end of the delay: claim, start of the program, first accepted connection, gossip. */
const startedWithinMs = 1_000

/** A look at /proc takes some 20 us, so half a second at most. */
const deathLooksMax = 25_000

interface Killed {
  readonly task: string
  readonly pickedMs: number
  /** Of the nodes whose tasks could ask all the time; null when there was none. */
  readonly droppedMs: number | null
  readonly replacedMs: number
  readonly failures: readonly Verdict[]
}

export const task: Figure = {
  name: 'task',
  title: 'A task killed, 3 nodes, 3 tasks, 15 times (slowest node of each)',
  tools: [],
  async measure(say) {
    const swarm = await openSwarm({ nodes: 3 })
    let web: Web | undefined
    try {
      web = await serveWeb(swarm, { replicas: 3, everyMs: 10, restartDelayMs: delayMs })
      const done: Killed[] = []
      for (let i = 0; i < rounds; i++) {
        await web.settled()
        await pause(1_500)
        const killed = await killOne(swarm.machines, web, i)
        done.push(killed)
        say(
          `${i + 1}: last picked ${killed.pickedMs}, replaced ${killed.replacedMs} ms; ${killed.failures.length} requests failed`,
        )
      }
      return {
        raw: { requests: web.counts.requests, delayMs, rounds: done },
        rows: [
          atMost({ what: 'out of picks', values: done.map((d) => d.pickedMs), unit: 'ms', most: { 0.95: 150 } }),
          {
            ...atMost({
              what: `replaced after its restart delay of ${delayMs / 1_000} s`,
              values: done.map((d) => d.replacedMs),
              unit: 'ms',
              most: { 0.95: delayMs + startedWithinMs },
            }),
            ok: done.every((d) => d.replacedMs >= delayMs && d.replacedMs <= delayMs + startedWithinMs),
          },
          requestsRow(
            web.counts.requests,
            done.flatMap(({ failures }) => failures),
          ),
        ],
      }
    } finally {
      web?.stop()
      await swarm.close()
    }
  },
}

interface ApiTask {
  readonly ID: string
  readonly NodeID: string
  readonly Slot: number
  readonly DesiredState: string
  readonly Status: { readonly State: string; readonly ContainerStatus?: { readonly PID?: number } }
}

async function killOne(machines: readonly Machine[], web: Web, i: number): Promise<Killed> {
  const { client } = machines[0]!
  const running = async () =>
    (await client.get<readonly ApiTask[]>('/tasks'))
      .filter((one) => one.DesiredState === 'running' && one.Status.State === 'running')
      .sort((a, b) => a.Slot - b.Slot)
  const victim = (await running())[i % web.replicas]!
  const home = (await nodeStates(machines[0]!)).get(victim.NodeID)?.name
  const asks = machines.filter(({ name }) => name !== home)
  const addresses = new Map(asks.map((machine) => [machine, web.watch.addressOf(machine, String(victim.Slot))]))
  const dropped = new Map<string, number>()
  const before = web.takeFailures().map(notExcused)
  let moment = { atMs: Number.POSITIVE_INFINITY, wallMs: 0 }
  let over = false
  web.watch.onNames((machine, told, atMs) => {
    const address = addresses.get(machine)
    if (over || address === undefined || atMs < moment.atMs || dropped.has(machine.name)) return
    if (!told.has(address)) dropped.set(machine.name, Math.round(atMs - moment.atMs))
  })
  const pid = victim.Status.ContainerStatus?.PID ?? 0
  process.kill(pid, 'SIGKILL')
  // Until the kernel has taken it down, its socket still accepts: the fault is when it is gone.
  for (let looks = 0; isAlive(pid) && looks < deathLooksMax; looks++);
  moment = { atMs: performance.now(), wallMs: Date.now() }
  await until(
    async () => {
      const now = await running()
      return now.length === web.replicas && now.every(({ ID }) => ID !== victim.ID)
    },
    { deadlineMs: 20_000, everyMs: 10, what: 'the task to be replaced' },
  )
  const replacedMs = Math.round(performance.now() - moment.atMs)
  over = true
  await pause(200)
  const logs = new Map(
    await Promise.all(machines.map(async (m) => [m.name, await flowLog(m, moment.wallMs - 10_000)] as const)),
  )
  const lost = { task: victim.ID }
  return {
    task: victim.ID,
    pickedMs: Math.max(...[...logs.values()].map((log) => lastPickMs(log, lost, moment.wallMs))),
    droppedMs: dropped.size === 0 ? null : Math.max(...dropped.values()),
    replacedMs,
    failures: [...before, ...web.takeFailures().map((asked) => judge(asked, logs.get(asked.via)!, lost, moment))],
  }
}
