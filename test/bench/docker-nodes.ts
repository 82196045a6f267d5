/**
 * Three machines with a Docker engine and an agent each, and a service with a container on every one: for the figures of what is lost there.
 *
 * Observed by `docker events`, and by curl.
 */
import { startEngine, type TestEngine } from '../e2e/engines.ts'
import { joinLine, type Lan, type Machine } from '../e2e/machines.ts'
import { until } from '../until.ts'
import { quantile, told } from './figure.ts'
import { agentFlags } from './linux/lab.ts'

const starts = 9
const flags = `--runtime docker ${agentFlags}`
const web = `sh -c 'mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 80 -h /www'`

export interface Node {
  readonly machine: Machine
  readonly engine: TestEngine
  /** When containers of the service started there, by the engine's own word as it came. */
  readonly startedMs: number[]
}

export async function openNodes(lan: Lan): Promise<readonly [Node, ...Node[]]> {
  const nodes: Node[] = []
  for (let i = 0; i < 3; i++) {
    const machine = await lan.add()
    const node = { machine, engine: await startEngine(machine), startedMs: [] }
    await machine.start(nodes[0] === undefined ? `vine agent ${flags}` : `${await joinLine(nodes[0].machine)} ${flags}`)
    listen(node)
    nodes.push(node)
  }
  return nodes as [Node, ...Node[]]
}

/** Engine and agent of one that was lost. */
export async function bringBack(node: Node): Promise<void> {
  await node.machine.run('rm -f /run/docker.pid')
  await node.engine.start()
  listen(node)
  await node.machine.start(`vine agent ${flags}`)
}

/** The service `web`, published on port 8000. `options`: more words for `vine service create`. */
export async function serveOnAll({ machine }: Node, options = ''): Promise<void> {
  await machine.ok('vine network create -d overlay net')
  await machine.ok(
    `vine service create --quiet --name web --network net --replicas 3 --stop-signal SIGKILL --publish 8000:80 ${options} box:1 ${web}`,
  )
}

/** A task on each node, and each answers. */
export async function everywhere(nodes: readonly Node[]): Promise<void> {
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

/** When the next container of the service starts on one of them. Ask before it can. */
export async function nextStart(nodes: readonly Node[], cause: () => Promise<unknown>): Promise<number> {
  for (const { startedMs } of nodes) startedMs.length = 0
  await cause()
  return await until(
    () => {
      const all = nodes.flatMap(({ startedMs }) => startedMs)
      return all.length > 0 && Math.min(...all)
    },
    { deadlineMs: 60_000, everyMs: 5, what: 'the replacement to start' },
  )
}

/** What Docker's own client takes until the program of a container runs, several times, in ms; told by its p95. */
export async function dockerRun({ machine }: Node, say: (line: string) => void) {
  const raw: number[] = []
  for (let i = 0; i < starts; i++) {
    const atMs = performance.now()
    await machine.ok('docker -H unix:///run/docker.sock run --detach --network none --name bare box:1 sleep 1000')
    raw.push(performance.now() - atMs)
    await machine.ok('docker -H unix:///run/docker.sock rm --force bare')
  }
  const p95 = quantile(raw, 0.95)
  say(`docker run takes p95 ${told(p95)} ms`)
  return { raw, p95 }
}

function listen({ machine, startedMs }: Node): void {
  const filter = '--filter event=start --filter label=com.docker.swarm.service.name=web'
  machine.begin(`docker -H unix:///run/docker.sock events ${filter} --format x`, () =>
    startedMs.push(performance.now()),
  )
}
