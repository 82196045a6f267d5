/**
 * A node killed whose tasks are containers: SIGKILL to its agent, its engine and its containers, three machines with an engine each. What a replacement
 * takes is what it takes for processes, and the start of a container, which is measured beside it by Docker's own client.
 *
 * Observed by `docker events` and a client of the survivors.
 */
import { startEngine, type TestEngine } from '../e2e/engines.ts'
import { joinLine, type Machine } from '../e2e/machines.ts'
import { until } from '../until.ts'
import { atMost, type Figure, quantile, told } from './figure.ts'
import { agentFlags, inLab } from './linux/lab.ts'

const rounds = 9
const starts = 9
const flags = `--runtime docker ${agentFlags}`
const web = `sh -c 'mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 80 -h /www'`

interface Node {
  readonly machine: Machine
  readonly engine: TestEngine
  /** When containers of the service started there, by the engine's own word as it came. */
  readonly startedMs: number[]
}

export const dockerKill: Figure = {
  name: 'docker-kill',
  title: `A node killed with its engine and containers, 3 nodes, ${rounds} times`,
  tools: ['dockerd', 'docker', 'busybox'],
  measure: (say) =>
    inLab(async ({ lan }) => {
      const nodes: Node[] = []
      for (let i = 0; i < 3; i++) {
        const machine = await lan.add()
        const node = { machine, engine: await startEngine(machine), startedMs: [] }
        await machine.start(
          nodes[0] === undefined ? `vine agent ${flags}` : `${await joinLine(nodes[0].machine)} ${flags}`,
        )
        listen(node)
        nodes.push(node)
      }
      const [first] = nodes as [Node, ...Node[]]
      const bare: number[] = []
      for (let i = 0; i < starts; i++) bare.push(await runBare(first.machine))
      const startMs = quantile(bare, 0.95)
      say(`docker run takes p95 ${told(startMs)} ms`)
      await first.machine.ok('vine network create -d overlay net')
      await first.machine.ok(
        `vine service create --quiet --name web --network net --replicas 3 --stop-signal SIGKILL --publish 8000:80 box:1 ${web}`,
      )
      const replaced: number[] = []
      for (let round = 0; round < rounds; round++) {
        await everywhere(nodes)
        const victim = nodes[round % nodes.length]!
        replaced.push(
          await loseOne(
            victim,
            nodes.filter((node) => node !== victim),
          ),
        )
        say(`${victim.machine.name}: replacement started after ${told(replaced.at(-1)!)} ms`)
        await victim.machine.run('rm -f /run/docker.pid')
        await victim.engine.start()
        listen(victim)
        await victim.machine.start(`vine agent ${flags}`)
        // So that the next loss has a task to lose.
        await until(async () => (await victim.machine.run('vine service update --quiet --force web')).code === 0, {
          deadlineMs: 60_000,
          everyMs: 500,
          what: 'the tasks to be spread again',
        })
      }
      return {
        raw: { dockerRunMs: bare, replacedMs: replaced },
        rows: [
          {
            ...atMost({ what: 'replacement started', values: replaced, unit: 'ms', most: { 0.95: 1_500 + startMs } }),
            wanted: `p95 <= 1,500 ms + docker run (${told(startMs)})`,
          },
        ],
      }
    }),
}

function listen({ machine, startedMs }: Node): void {
  const filter = '--filter event=start --filter label=com.docker.swarm.service.name=web'
  machine.begin(`docker -H unix:///run/docker.sock events ${filter} --format x`, () =>
    startedMs.push(performance.now()),
  )
}

/** What Docker's client takes until the program of a container runs. */
async function runBare(machine: Machine): Promise<number> {
  const atMs = performance.now()
  await machine.ok('docker -H unix:///run/docker.sock run --detach --network none --name bare box:1 sleep 1000')
  const tookMs = performance.now() - atMs
  await machine.ok('docker -H unix:///run/docker.sock rm --force bare')
  return tookMs
}

/** A task on each node, and each answers. */
async function everywhere(nodes: readonly Node[]): Promise<void> {
  const count = async ({ engine }: Node) =>
    (await engine.docker.listContainers({ filters: { label: ['com.docker.swarm.service.name=web'] } })).length
  await until(async () => (await Promise.all(nodes.map(count))).every((running) => running === 1), {
    deadlineMs: 60_000,
    everyMs: 200,
    what: 'a task on each node',
  })
  for (const { machine } of nodes)
    await until(async () => (await machine.run(`curl -sS -m 2 http://${machine.address}:8000/`)).code === 0, {
      deadlineMs: 20_000,
      everyMs: 100,
      what: `an answer through ${machine.name}`,
    })
}

async function loseOne(victim: Node, survivors: readonly Node[]): Promise<number> {
  for (const { startedMs } of survivors) startedMs.length = 0
  const atMs = performance.now()
  await victim.machine.run('kill -KILL -1')
  const firstMs = await until(
    () => {
      const all = survivors.flatMap(({ startedMs }) => startedMs)
      return all.length > 0 && Math.min(...all)
    },
    { deadlineMs: 60_000, everyMs: 5, what: 'the replacement to start' },
  )
  return firstMs - atMs
}
