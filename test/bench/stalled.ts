/** What must not matter: a node stalled for 1 s, 20 times, and all cores busy for 60 s. No task moves, nobody is declared dead. */
import { type ChildProcess, spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { readEvents } from './events.ts'
import { type Figure, pause, type Row } from './figure.ts'
import { requestsRow } from './requests.ts'
import { type Machine, openSwarm, type Swarm } from './swarm.ts'
import { flowLog, judge, notExcused, serveWeb, type Verdict, type Web } from './web.ts'

const stalls = 20
const stallMs = 1_000
/** Between two stalls: the others have forgotten the last one. */
const calmMs = 1_500
const busyMs = 60_000

export const stalled: Figure = {
  name: 'stalled',
  title: 'A node stalled for 1 s, 20 times; then all cores busy for 60 s (5 nodes, 10 tasks)',
  tools: [],
  async measure(say) {
    const swarm = await openSwarm({ nodes: 5 })
    let web: Web | undefined
    const dead: string[] = []
    const ends = swarm.machines.map((machine) =>
      readEvents(machine, (event) => {
        if (event.type === 'node' && event.action === 'dead') dead.push(`${machine.name}: ${event.sentence}`)
      }),
    )
    try {
      web = await serveWeb(swarm, { replicas: 10, everyMs: 20 })
      const parts = { swarm, web, dead, say }
      const stall = await during(parts, () => stallInTurn(parts))
      const busy = await during(parts, () => allBusy(parts))
      return {
        raw: { stall, busy },
        rows: [
          movedRow('stalled 1 s, 20 times', stall),
          movedRow('all cores busy, 60 s', busy),
          requestsRow(web.counts.requests, [...stall.failures, ...busy.failures]),
        ],
      }
    } finally {
      for (const end of ends) end()
      web?.stop()
      await swarm.close()
    }
  },
}

interface Parts {
  readonly swarm: Swarm
  readonly web: Web
  readonly dead: string[]
  readonly say: (line: string) => void
}

interface Kept {
  readonly before: readonly string[]
  readonly after: readonly string[]
  readonly dead: readonly string[]
  readonly failures: readonly Verdict[]
}

async function during({ swarm, web, dead, say }: Parts, what: () => Promise<void>): Promise<Kept> {
  await web.settled()
  const before = await tasks(swarm.first)
  dead.length = 0
  const failures: Verdict[] = web.takeFailures().map(notExcused)
  const began = { atMs: performance.now(), wallMs: Date.now() }
  await what()
  await pause(calmMs)
  await web.settled()
  const after = await tasks(swarm.first)
  for (const asked of web.takeFailures()) {
    const machine = swarm.machines.find(({ name }) => name === asked.via)!
    failures.push(judge(asked, await flowLog(machine, began.wallMs), { node: 'none was lost' }, began))
  }
  const moved = before.filter((task) => !after.includes(task)).length
  say(`${moved} tasks moved, ${dead.length} declared dead, ${failures.length} requests failed`)
  return { before, after, dead: [...dead], failures }
}

async function stallInTurn({ swarm, say }: Parts): Promise<void> {
  for (let i = 0; i < stalls; i++) {
    const machine = swarm.machines[i % swarm.machines.length]!
    machine.freeze()
    await pause(stallMs)
    machine.thaw()
    await pause(calmMs)
    if (i % 5 === 4) say(`${i + 1} stalls`)
  }
}

async function allBusy({ say }: Parts): Promise<void> {
  const loops: ChildProcess[] = Array.from({ length: availableParallelism() }, () =>
    spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }),
  )
  say(`${loops.length} busy loops run`)
  try {
    await pause(busyMs)
  } finally {
    for (const loop of loops) loop.kill('SIGKILL')
  }
}

interface ApiTask {
  readonly ID: string
  readonly NodeID?: string
  readonly DesiredState: string
}

async function tasks({ client }: Machine): Promise<readonly string[]> {
  const all = await client.get<readonly ApiTask[]>('/tasks')
  return all
    .filter(({ DesiredState }) => DesiredState === 'running')
    .map(({ ID, NodeID }) => `${ID}@${NodeID}`)
    .sort()
}

function movedRow(what: string, { before, after, dead }: Kept): Row {
  const moved = before.filter((task) => !after.includes(task)).length
  return {
    what,
    wanted: 'no task moved, none declared dead',
    measured: `${moved} of ${before.length} tasks moved, ${dead.length} declared dead${dead.length > 0 ? ` (${dead[0]})` : ''}`,
    ok: moved === 0 && dead.length === 0 && before.length === after.length,
  }
}
