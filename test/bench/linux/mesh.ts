/**
 * A published port to a task on another machine, by the kernel: beside one DNAT rule, haproxy and nginx that lead to the same task, and beside the whole
 * way made by hand.
 *
 * Six machines on one switch: n1 and n2 run agents, the port is asked of n1 and the task is on n2; the peers with the same task are on n1 too. n3 and n4
 * are a bare way with a backend of its own, n5 and n6 one that does the same job (hand.ts). The client is wrk at the switch, the backend one nginx.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Machine } from '../../e2e/machines.ts'
import type { Figure, Row } from '../figure.ts'
import { told } from '../figure.ts'
import { haproxyText } from '../haproxy.ts'
import { atBackend, bare, port, ruleTo, sameJob } from './hand.ts'
import { agentTicks, idlePercent, inLab, type LinuxLab, startAgents, taskOn, works } from './lab.ts'
import { type Hits, ruleHits } from './rule-hits.ts'
import { type Asked, compared, interleaved, type Kind, kinds, wrk } from './wrk.ts'

const seconds = 2
const haproxyPort = 8001
const nginxPort = 8002
const rulePort = 8003
/** 10 s: an agent's idle figure of 1 % is then ten ticks. */
const idleMs = 10_000
/** Percent of a core beyond what it takes when idle: a busy machine makes its own rounds dearer, traffic adds nothing. */
const agentPercentMore = 1

type Way = 'grapevine' | 'rule' | 'same job' | 'bare' | 'haproxy' | 'nginx'
const peers: Readonly<
  Record<Exclude<Way, 'grapevine'>, { readonly name: string; readonly least: Record<Kind, number> }>
> = {
  rule: { name: 'one DNAT rule to the same task', least: { 'keep-alive': 0.9, 'a connection a request': 0.85 } },
  'same job': { name: 'the same job by hand', least: { 'keep-alive': 0.9, 'a connection a request': 0.85 } },
  // Only told: at its far end nothing is routed, tracked or kept apart.
  bare: { name: 'a bare way by hand', least: { 'keep-alive': 0, 'a connection a request': 0 } },
  haproxy: { name: 'haproxy (tcp)', least: { 'keep-alive': 1, 'a connection a request': 1 } },
  nginx: { name: 'nginx stream', least: { 'keep-alive': 1, 'a connection a request': 1 } },
}

interface One extends Asked {
  /** Of both agents, while `grapevine` was asked. */
  readonly agentTicks: number
}

export const linuxMesh: Figure = {
  name: 'linux-mesh',
  title: `A published port to a task on another machine in the kernel, wrk, 9 interleaved rounds of ${seconds} s each`,
  tools: ['wrk', 'haproxy', 'nginx', 'nft', 'curl'],
  measure: (say) =>
    inLab(async (lab) => {
      const [n1, n2] = (await startAgents(lab, 2)) as readonly [Machine, Machine]
      await n1.ok(
        `vine service create --quiet --name web --constraint node.hostname==n2 --publish ${port}:80 nginx -c ${lab.nginx('task')}`,
      )
      const [n3, n4, n5, n6] = [await lab.spare(), await lab.spare(), await lab.spare(), await lab.spare()]
      await bare({ entry: n3, far: n4 })
      await sameJob({ entry: n5, far: n6 })
      n4.begin(`${atBackend} nginx -c ${lab.nginx('bare')}`, () => {})
      n6.begin(`${atBackend} nginx -c ${lab.nginx('same')}`, () => {})
      const { addresses } = await taskOn(n2, 'web')
      const task = addresses.filter((address) => !address.includes(':')).at(-1)!
      await ruleTo(task, { entry: n1, port: rulePort })
      n1.begin(`haproxy -f ${haproxy(lab, n1, task)}`, () => {})
      n1.begin(`nginx -c ${nginxStream(lab, n1, task)}`, () => {})
      const urls: Readonly<Record<Way, string>> = {
        grapevine: `http://${n1.address}:${port}/`,
        rule: `http://${n1.address}:${rulePort}/`,
        'same job': `http://${n5.address}:${port}/`,
        bare: `http://${n3.address}:${port}/`,
        haproxy: `http://${n1.address}:${haproxyPort}/`,
        nginx: `http://${n1.address}:${nginxPort}/`,
      }
      const ways = Object.keys(urls) as readonly Way[]
      for (const way of ways) await works(lab.lan.outside, `curl -sSf -m 2 ${urls[way]}`)
      const agents = [n1, n2]
      const idle = await idlePercent(agents, idleMs)
      const raw: Record<string, unknown> = { idle }
      const rows: Row[] = []
      let [ticks, asked] = [0, 0]
      for (const kind of Object.keys(kinds) as readonly Kind[]) {
        const done = await interleaved(ways, async (way): Promise<One> => {
          const before = way === 'grapevine' ? await ticksOf(agents) : 0
          const one = await wrk(lab.lan.outside, `wrk ${kinds[kind]} -d${seconds}s ${urls[way]}`)
          return { ...one, agentTicks: way === 'grapevine' ? (await ticksOf(agents)) - before : 0 }
        })
        raw[kind] = done
        rows.push(...rowsOf(kind, done))
        say(
          rows
            .slice(-Object.keys(peers).length)
            .map(({ what, measured }) => `${what}: ${measured}`)
            .join('\n  '),
        )
        for (const { grapevine } of done) ticks += grapevine.agentTicks
        asked += done.length * seconds
      }
      // Of two agents, in hundredths of a second.
      const percent = ticks / 2 / asked
      const hits = await hitsOf(lab, urls, agents)
      return { raw: { ...raw, percent, hits }, rows: [...rows, agentRow(percent, idle), hitsRow(hits)] }
    }),
}

function rowsOf(kind: Kind, done: readonly Readonly<Record<Way, One>>[]): readonly Row[] {
  return Object.entries(peers).map(([way, { name, least }]) =>
    compared({
      what: kind,
      peer: name,
      least: least[kind],
      unit: '/s',
      pairs: done.map((round) => ({ ours: round.grapevine.perSecond, theirs: round[way as Way].perSecond })),
      errors: done.flatMap((round) => round.grapevine.errors),
    }),
  )
}

async function ticksOf(agents: readonly Machine[]): Promise<number> {
  const ticks = await Promise.all(agents.map(agentTicks))
  return ticks.reduce((sum, one) => sum + one, 0)
}

function agentRow(percent: number, idle: number): Row {
  return {
    what: 'CPU of an agent while its port is asked as fast as it goes',
    wanted: `<= ${agentPercentMore} % of a core more than idle (${told(idle)} %)`,
    measured: `${told(percent)} %`,
    ok: percent <= idle + agentPercentMore,
  }
}

interface HitsOfBoth {
  readonly ours: readonly Hits[]
  readonly theirs: readonly Hits[]
}

/** On the entry node, and on the task's. */
async function hitsOf(
  { lan }: LinuxLab,
  urls: Readonly<Record<Way, string>>,
  machines: readonly Machine[],
): Promise<HitsOfBoth> {
  const met = async (way: Way) => {
    const hits: Hits[] = []
    for (const machine of machines) {
      hits.push(
        await ruleHits(machine, [port, rulePort, 80], () =>
          lan.outside(`curl -sS ${urls[way]} ${urls[way]} ${urls[way]}`),
        ),
      )
    }
    return hits
  }
  return { ours: await met('grapevine'), theirs: await met('rule') }
}

function hitsRow({ ours, theirs }: HitsOfBoth): Row {
  const shown = (hits: readonly Hits[]) =>
    `${hits.map(({ there }) => told(there)).join(' + ')} there, ${hits.map(({ back }) => told(back)).join(' + ')} back`
  const sum = (hits: readonly Hits[]) => hits.reduce((all, { there, back }) => all + there + back, 0)
  return {
    what: "rules met by a packet of an established connection, on the entry node + on the task's",
    wanted: `no more than with one DNAT rule to the same task: ${shown(theirs)}`,
    measured: shown(ours),
    ok: sum(ours) > 0 && sum(ours) <= sum(theirs),
  }
}

/** With the node's address as source: that of the way to the task is the gateway, which every node has. */
function haproxy({ dir }: LinuxLab, { address }: Machine, task: string): string {
  const path = join(dir, 'haproxy.cfg')
  writeFileSync(path, haproxyText({ listen: `${address}:${haproxyPort}`, backend: `${task}:80 source ${address}` }))
  return path
}

/** Debian's module lies beside its nginx. */
function nginxStream({ dir }: LinuxLab, { address }: Machine, task: string): string {
  const path = join(dir, 'stream.conf')
  writeFileSync(
    path,
    `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
user root; worker_processes 1; daemon off; pid ${dir}/stream.pid; error_log stderr crit;
events { worker_connections 8192; }
stream { server { listen ${address}:${nginxPort} backlog=4096; proxy_pass ${task}:80; proxy_bind ${address}; } }
`,
  )
  return path
}
