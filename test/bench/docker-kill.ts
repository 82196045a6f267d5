/**
 * A node killed whose tasks are containers: SIGKILL to its agent, its engine and its containers, three machines with an engine each. What a replacement
 * takes is what it takes for processes, and the start of a container, which is measured beside it by Docker's own client.
 */
import { until } from '../until.ts'
import { bringBack, dockerRun, everywhere, nextStart, openNodes, serveOnAll } from './docker-nodes.ts'
import { atMost, type Figure, told } from './figure.ts'
import { inLab } from './linux/lab.ts'

const rounds = 9

export const dockerKill: Figure = {
  name: 'docker-kill',
  title: `A node killed with its engine and containers, 3 nodes, ${rounds} times`,
  tools: ['dockerd', 'docker', 'busybox'],
  measure: (say) =>
    inLab(async ({ lan }) => {
      const nodes = await openNodes(lan)
      const bare = await dockerRun(nodes[0], say)
      await serveOnAll(nodes[0])
      const replaced: number[] = []
      for (let round = 0; round < rounds; round++) {
        await everywhere(nodes)
        const victim = nodes[round % nodes.length]!
        const survivors = nodes.filter((node) => node !== victim)
        const atMs = performance.now()
        replaced.push((await nextStart(survivors, () => victim.machine.run('kill -KILL -1'))) - atMs)
        say(`${victim.machine.name}: replacement started after ${told(replaced.at(-1)!)} ms`)
        await bringBack(victim)
        // So that the next loss has a task to lose.
        await until(async () => (await victim.machine.run('vine service update --quiet --force web')).code === 0, {
          deadlineMs: 60_000,
          everyMs: 500,
          what: 'the tasks to be spread again',
        })
      }
      const most = { 0.95: 1_500 + bare.p95 }
      return {
        raw: { dockerRunMs: bare.raw, replacedMs: replaced },
        rows: [
          {
            ...atMost({ what: 'replacement started', values: replaced, unit: 'ms', most }),
            wanted: `p95 <= 1,500 ms + docker run (${told(bare.p95)})`,
          },
        ],
      }
    }),
}
