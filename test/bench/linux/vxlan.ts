/** Throughput from task to task across machines, beside a VXLAN that is made by hand (hand.ts): iperf3, one stream of TCP. */
import type { Ran } from '../../e2e/cluster.ts'
import type { Machine } from '../../e2e/machines.ts'
import type { Figure } from '../figure.ts'
import { atBackend, backend, link } from './hand.ts'
import { inLab, startAgents, taskOn, works } from './lab.ts'
import { compared, interleaved } from './wrk.ts'

const seconds = 2

export const linuxVxlan: Figure = {
  name: 'linux-vxlan',
  title: `Throughput from task to task on two machines, iperf3, 9 interleaved pairs of ${seconds} s each`,
  tools: ['iperf3', 'nft'],
  measure: (say) =>
    inLab(async (lab) => {
      const [n1, n2] = (await startAgents(lab, 2)) as readonly [Machine, Machine]
      await n1.ok('vine network create -d overlay net')
      const create = 'vine service create --quiet --network net'
      await n1.ok(`${create} --name server --constraint node.hostname==n2 iperf3 -s`)
      await n1.ok(`${create} --name client --constraint node.hostname==n1 sleep 100000`)
      const [server, client] = [await taskOn(n2, 'server'), await taskOn(n1, 'client')]
      const [n3, n4] = [await lab.spare(), await lab.spare()]
      await link({ entry: n3, far: n4 })
      n4.begin(`${atBackend} iperf3 -s`, () => {})
      const runs = {
        grapevine: (line: string) => n1.run(`${client.inside} iperf3 -J -c ${server.addresses[0]} ${line}`),
        hand: (line: string) => n3.run(`${atBackend} iperf3 -J -c ${backend} ${line}`),
      }
      const ways = Object.keys(runs) as readonly (keyof typeof runs)[]
      for (const way of ways) await works(runs[way], '-n 1M')
      const done = await interleaved(ways, async (way) => gigabits(await runs[way](`-t ${seconds}`)))
      const row = compared({
        what: 'TCP, one stream',
        peer: 'a VXLAN by hand',
        least: 0.95,
        unit: 'Gbit/s',
        pairs: done.map(({ grapevine, hand }) => ({ ours: grapevine, theirs: hand })),
        errors: [],
      })
      say(row.measured)
      return { raw: done, rows: [row] }
    }),
}

function gigabits({ out, err }: Ran): number {
  const { end, error } = JSON.parse(out === '' ? '{}' : out)
  if (end?.sum_received === undefined) throw new Error(`iperf3 failed: ${error ?? err}`)
  return end.sum_received.bits_per_second / 1e9
}
