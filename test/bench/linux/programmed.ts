/**
 * 1,000 services with 5,000 endpoints in one node's kernel: what a change costs the node, and what their number costs a client.
 *
 * The node's data plane runs without its agent (test/e2e/firewall-node.ts), since 5,000 real tasks do not fit on this machine: what is measured is
 * devices and firewall, not how the routes come about. CPU time is what the kernel's scheduler counted for its process, and beside it for its nft, which
 * reads the names of all chains before it changes one.
 */
import type { Backend, Routes } from '../../../agent/core/routes/types.ts'
import { idOf, type Lab, startLab } from '../../e2e/firewall-lab.ts'
import type { Machine } from '../../e2e/machines.ts'
import { atMost, type Figure, median, told } from '../figure.ts'
import { inLab, works } from './lab.ts'
import { compared, interleaved, kinds, wrk } from './wrk.ts'

const services = 1_000
const endpointsEach = 5
const looks = 9
/** Changes between two looks at the process table: its clock is finer, but a look costs too. */
const changesInLook = 20
const seconds = 2
const [port, target] = [8_100, 81]

export const linuxProgrammed: Figure = {
  name: 'linux-programmed',
  title: `${services.toLocaleString('en-US')} services with ${(services * endpointsEach).toLocaleString('en-US')} endpoints programmed: ${looks} times ${changesInLook} changes; wrk, 9 interleaved pairs of ${seconds} s`,
  tools: ['nft', 'wrk', 'nginx', 'curl'],
  measure: (say) =>
    inLab(async (lab) => {
      const tables = await startLab(lab.lan)
      const [n1, n2] = tables.machines as [Machine, Machine]
      const local = tables.localOf(n1)
      n2.begin(tables.inTask(n2, `nginx -c ${lab.nginx('task', target)}`), () => {})
      const post = (path: string, body: unknown) => n1.client.post(path, body)

      const url = `http://${n1.address}:${port}/`
      const sizes = { ten: 10, thousand: services } as const
      const ways = Object.keys(sizes) as readonly (keyof typeof sizes)[]
      await post('/apply', { routes: withServices(tables, n1, { count: 10 }), local })
      await works(lab.lan.outside, `curl -sSf -m 2 ${url}`)
      const args = kinds['a connection a request']
      const asked = await interleaved(ways, async (way) => {
        await post('/apply', { routes: withServices(tables, n1, { count: sizes[way] }), local })
        return await wrk(lab.lan.outside, `wrk ${args} -d${seconds}s ${url}`)
      })
      const flat = compared({
        what: 'a connection a request with 1,000 services published',
        peer: 'the same with 10',
        least: 0.95,
        unit: '/s',
        pairs: asked.map(({ ten, thousand }) => ({ ours: thousand.perSecond, theirs: ten.perSecond })),
        errors: asked.flatMap(({ thousand }) => thousand.errors),
      })
      say(`${flat.what}: ${flat.measured}`)

      for (const change of [0, 1]) {
        await post('/remember', { routes: withServices(tables, n1, { count: services, change }), local })
      }
      await post('/alternate', { times: changesInLook })
      const spent: { readonly node: number; readonly nft: number }[] = []
      for (let look = 0; look < looks; look++) {
        const before = await spentMs(n1)
        await post('/alternate', { times: changesInLook })
        const after = await spentMs(n1)
        spent.push({
          node: (after.node - before.node) / changesInLook,
          nft: (after.nft - before.nft) / changesInLook,
        })
      }
      const ofNode = spent.map(({ node }) => node)
      const change = atMost({ what: "the node's CPU of one change", values: ofNode, unit: 'ms', most: { 0.5: 20 } })
      const measured = `${change.measured}; its nft ${told(median(spent.map(({ nft }) => nft)))} ms more`
      return { raw: { asked, spent }, rows: [{ ...change, measured }, flat] }
    }),
}

interface Wanted {
  readonly count: number
  /** Which endpoint of the service in the middle is unhealthy. */
  readonly change?: number
}

/** What the lab has, a port that nginx in n2's task serves, and as many services with a port and a VIP each. */
function withServices(lab: Lab, self: Machine, { count, change = 0 }: Wanted): Routes {
  const small = lab.routesFor(self, { serving: ['n2'] })
  const [published, service] = [small.published[0]!, small.services[0]!]
  const indices = Array.from({ length: count }, (_, index) => index)
  const backends = (index: number, block: string): readonly Backend[] =>
    Array.from({ length: endpointsEach }, (_, at) => {
      const number = index * endpointsEach + at
      return {
        ...{ node: 'n2', local: false, suspect: false, ports: [], task: idOf(`x${number}`) },
        host: `${block}.${128 + (number >> 8)}.${number & 255}`,
        healthy: index !== count / 2 || at !== change,
      }
    })
  return {
    ...small,
    published: [
      { ...published, port, target },
      ...indices.map((i) => ({ ...published, port: 20_000 + i, backends: backends(i, '10.255') })),
    ],
    services: indices.map((i) => ({
      ...service,
      service: `service${i}`.padEnd(25, '0'),
      vip: `10.8.${i >> 8}.${i & 255}`,
      backends: backends(i, '10.9'),
    })),
  }
}

/** Of all threads of such programs, from /proc/<pid>/task/<tid>/schedstat, whose first number is ns on a CPU. */
async function cpuMs(machine: Machine, pids: string): Promise<number> {
  const threads = await machine.ok(`cat $(for p in $(${pids}); do ls -d /proc/$p/task/*/schedstat; done)`)
  return threads.split('\n').reduce((sum, line) => sum + Number(line.split(' ')[0]) / 1e6, 0)
}

const programs = { node: 'pgrep -f "[f]irewall-node.ts"', nft: 'pgrep -x nft' } as const

async function spentMs(machine: Machine): Promise<Readonly<Record<keyof typeof programs, number>>> {
  return { node: await cpuMs(machine, programs.node), nft: await cpuMs(machine, programs.nft) }
}
