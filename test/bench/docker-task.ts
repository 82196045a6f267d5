/**
 * A container killed: its program gets SIGKILL. When no kernel leads to it any more, and when the next one runs: as for processes (task.ts), and the start
 * of a container.
 */
import { runningTasks } from '../e2e/clients.ts'
import { dockerRun, everywhere, type Node, nextStart, openNodes, serveOnAll } from './docker-nodes.ts'
import { atMost, type Figure, told } from './figure.ts'
import { KernelWatch } from './linux/kernel-watch.ts'
import { inLab } from './linux/lab.ts'

const rounds = 15
/** As in task.ts: what counts is that the replacement keeps to it. */
const delayMs = 2_000
/** From the end of the delay: claim and start of the program, as for processes. */
const startedWithinMs = 1_000

interface Killed {
  /** By name of the node; from the moment that the signal is sent. */
  readonly outMs: Readonly<Record<string, number>>
  readonly startedMs: number
}

export const dockerTask: Figure = {
  name: 'docker-task',
  title: `A container killed, 3 nodes, ${rounds} times (slowest node of each)`,
  tools: ['dockerd', 'docker', 'busybox', 'nft'],
  measure: (say) =>
    inLab(async ({ lan }) => {
      const nodes = await openNodes(lan)
      const bare = await dockerRun(nodes[0], say)
      await serveOnAll(nodes[0], `--restart-delay ${delayMs}ms`)
      await everywhere(nodes)
      const watches = new Map<string, KernelWatch>()
      for (const { machine } of nodes) watches.set(machine.name, await KernelWatch.open(machine))
      const raw: Killed[] = []
      for (let round = 0; round < rounds; round++) {
        await everywhere(nodes)
        raw.push(await killOne(nodes[round % nodes.length]!, nodes, watches))
        const { outMs, startedMs } = raw.at(-1)!
        say(`${round + 1}: out after ${told(Math.max(...Object.values(outMs)))}, replaced after ${told(startedMs)} ms`)
      }
      const out = raw.map(({ outMs }) => Math.max(...Object.values(outMs)))
      const started = raw.map(({ startedMs }) => startedMs)
      const most = { 0.95: delayMs + startedWithinMs + bare.p95 }
      const row = atMost({
        what: `replaced after its restart delay of ${delayMs / 1_000} s`,
        values: started,
        unit: 'ms',
        most,
      })
      return {
        raw: { dockerRunMs: bare.raw, delayMs, rounds: raw },
        rows: [
          atMost({ what: 'out of every kernel', values: out, unit: 'ms', most: { 0.95: 150 } }),
          {
            ...row,
            wanted: `p95 <= ${told(delayMs + startedWithinMs)} ms + docker run (${told(bare.p95)})`,
            ok: row.ok && Math.min(...started) >= delayMs,
          },
        ],
      }
    }),
}

async function killOne(
  { machine }: Node,
  nodes: readonly Node[],
  watches: ReadonlyMap<string, KernelWatch>,
): Promise<Killed> {
  const [victim] = (await runningTasks(machine, 'web')).filter(({ node }) => node === machine.name)
  const addresses = victim!.addresses.map((address) => address.split('/')[0]!)
  const watched = [...watches].map(([name, watch]) => [name, watch.without(addresses)] as const)
  const atMs = performance.now()
  const startedMs = (await nextStart(nodes, () => machine.ok(`kill -KILL ${victim!.pid}`))) - atMs
  const outMs: Record<string, number> = {}
  for (const [name, out] of watched) outMs[name] = (await out) - atMs
  return { outMs, startedMs }
}
