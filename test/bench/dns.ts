/** DNS of one agent against dnsmasq in the same run: dnsperf asks for a name of three addresses, both answer from what they know. */
import { execFile, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { resolve } from '../../agent/demo/watch.ts'
import { needs } from '../needs.ts'
import { until } from '../until.ts'
import { type Figure, median, told } from './figure.ts'
import { openSwarm, type Swarm } from './swarm.ts'

const rounds = 7
const seconds = 3
const peerPort = 18_353
/** What Docker's resolver answers on such a machine (lessons.md). */
const dockerPerSecond = 42_000

export const dns: Figure = {
  name: 'dns',
  title: 'Queries a second for a name of three addresses, beside dnsmasq, 7 rounds of 3 s each',
  tools: ['dnsperf', 'dnsmasq'],
  async measure(say) {
    const swarm = await openSwarm({ nodes: 1 })
    const peer = startDnsmasq(swarm.dir)
    try {
      const ours = await startTasks(swarm)
      const { dir } = swarm
      writeFileSync(join(dir, 'ours'), 'tasks.web A\n')
      writeFileSync(join(dir, 'theirs'), 'web A\n')
      await answersThree(`127.0.0.1:${peerPort}`, 'web')
      await answersThree(ours, 'tasks.web')
      const done: { readonly ours: number; readonly dnsmasq: number }[] = []
      for (let i = 0; i < rounds; i++) {
        const dnsmasq = await dnsperf(`127.0.0.1:${peerPort}`, join(dir, 'theirs'))
        const own = await dnsperf(ours, join(dir, 'ours'))
        done.push({ ours: own, dnsmasq })
        say(`${told(own)}/s, dnsmasq ${told(dnsmasq)}/s`)
      }
      const perSecond = median(done.map((round) => round.ours))
      const ratio = median(done.map((round) => round.ours / round.dnsmasq))
      return {
        raw: { rounds: done },
        rows: [
          row('queries a second', '>= 55,000, and ahead of Docker (42,000)', told(perSecond), perSecond >= 55_000),
          row(
            'against dnsmasq',
            '>= 0.75 x',
            `${ratio.toFixed(2)} x (${told(perSecond / dockerPerSecond)} x Docker)`,
            ratio >= 0.75,
          ),
        ],
      }
    } finally {
      peer.kill()
      await swarm.close()
    }
  },
}

function row(what: string, wanted: string, measured: string, ok: boolean) {
  return { what, wanted, measured, ok }
}

function startDnsmasq(dir: string) {
  const hosts = join(dir, 'hosts')
  writeFileSync(hosts, ['10.0.0.1', '10.0.0.2', '10.0.0.3'].map((address) => `${address} web\n`).join(''))
  const flags = ['--keep-in-foreground', '--no-resolv', '--no-hosts', `--addn-hosts=${hosts}`, '--conf-file=/dev/null']
  const place = [`--port=${peerPort}`, '--listen-address=127.0.0.1', '--bind-interfaces', '--user=', '--pid-file=']
  return spawn(needs('dnsmasq'), [...flags, ...place], { stdio: ['ignore', 'ignore', 'inherit'] })
}

/** Three tasks on one network; returns the resolver of one of them. */
async function startTasks(swarm: Swarm): Promise<string> {
  const report = `echo resolver=$GRAPEVINE_DNS; exec sleep 100000`
  await swarm.vine('network', 'create', 'bench')
  await swarm.vine(
    'service',
    'create',
    '--detach',
    '--name',
    'web',
    '--replicas',
    '3',
    '--network',
    'bench',
    'sh',
    '-c',
    report,
  )
  return until(async () => /resolver=(\S+)/.exec(await swarm.vine('service', 'logs', 'web'))?.[1], {
    deadlineMs: 20_000,
    everyMs: 200,
    what: 'a task to name its resolver',
  })
}

async function answersThree(resolver: string, name: string): Promise<void> {
  await until(async () => (await resolve(resolver, name))?.length === 3, {
    deadlineMs: 20_000,
    what: `three addresses of ${name} at ${resolver}`,
  })
}

async function dnsperf(resolver: string, queries: string): Promise<number> {
  const at = resolver.lastIndexOf(':')
  const { stdout } = await promisify(execFile)(needs('dnsperf'), [
    ...['-s', resolver.slice(0, at), '-p', resolver.slice(at + 1), '-d', queries],
    ...['-l', String(seconds), '-c', '8', '-q', '100'],
  ])
  const lost = Number(/Queries lost:\s+(\d+)/.exec(stdout)?.[1] ?? 0)
  if (lost > 0) throw new Error(`dnsperf lost ${lost} queries at ${resolver}`)
  return Number(/Queries per second:\s+([\d.]+)/.exec(stdout)?.[1] ?? 0)
}
