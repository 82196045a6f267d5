/** A service's virtual IP, asked by a task on the same machine, beside the address of the one task behind it: what the translation costs. */
import type { Machine } from '../../e2e/machines.ts'
import type { Figure, Row } from '../figure.ts'
import { inLab, startAgents, taskOn, works } from './lab.ts'
import { compared, interleaved, type Kind, kinds, wrk } from './wrk.ts'

const seconds = 2

export const linuxVip: Figure = {
  name: 'linux-vip',
  title: `A virtual IP from task to task on one machine, wrk, 9 interleaved rounds of ${seconds} s each`,
  tools: ['wrk', 'nginx', 'nft', 'curl'],
  measure: (say) =>
    inLab(async (lab) => {
      const [n1] = await startAgents(lab, 1)
      await n1.ok('vine network create -d overlay net')
      await n1.ok(`vine service create --quiet --name web --network net nginx -c ${lab.nginx('task')}`)
      await n1.ok('vine service create --quiet --name client --network net sleep 100000')
      const [web, client] = [await taskOn(n1, 'web'), await taskOn(n1, 'client')]
      const urls = { vip: `http://${await vipOf(n1, 'web')}/`, direct: `http://${web.addresses[0]}/` }
      const ways = Object.keys(urls) as readonly (keyof typeof urls)[]
      const run = (line: string) => n1.run(`${client.inside} ${line}`)
      for (const way of ways) await works(run, `curl -sSf -m 2 ${urls[way]}`)
      const raw: Record<string, unknown> = {}
      const rows: Row[] = []
      for (const kind of Object.keys(kinds) as readonly Kind[]) {
        const done = await interleaved(ways, (way) => wrk(run, `wrk ${kinds[kind]} -d${seconds}s ${urls[way]}`))
        raw[kind] = done
        rows.push(
          compared({
            what: kind,
            peer: 'the direct address',
            least: 0.9,
            unit: '/s',
            pairs: done.map(({ vip, direct }) => ({ ours: vip.perSecond, theirs: direct.perSecond })),
            errors: done.flatMap(({ vip }) => vip.errors),
          }),
        )
        say(`${kind}: ${rows.at(-1)!.measured}`)
      }
      return { raw, rows }
    }),
}

async function vipOf(machine: Machine, service: string): Promise<string> {
  const [{ Endpoint }] = JSON.parse(await machine.ok(`vine service inspect ${service}`))
  return Endpoint.VirtualIPs[0].Addr.split('/')[0]
}
