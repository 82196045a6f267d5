/**
 * TCP through the mesh against haproxy (tcp, one thread), nginx behind both and wrk in front: to a task here, and to one on another node.
 *
 * Rounds are interleaved, ratios are of one round, medians are told. Both entries are published ports of the first node.
 */
import { execFile, spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { needs } from '../needs.ts'
import { until } from '../until.ts'
import { type Figure, median, type Row, told } from './figure.ts'
import { haproxyText } from './haproxy.ts'
import { cpuMs } from './idle.ts'
import { type Machine, openSwarm } from './swarm.ts'

const rounds = 9
const seconds = 2
const nginxPort = 18_090
const ports = { haproxy: 18_091, here: 18_092, there: 18_093 } as const
type Way = keyof typeof ports

/** Arguments of wrk, and the shares of haproxy's requests a second that are asked for. */
const kinds = {
  'keep-alive': { args: ['-t1', '-c64'], path: '/small', here: 0.85, there: 0.4 },
  'a connection a request': {
    args: ['-t1', '-c64', '-H', 'Connection: close'],
    path: '/small',
    here: 0.65,
    there: 0.3,
  },
  '1 MB bodies': { args: ['-t1', '-c16'], path: '/big', here: 1, there: 0.4 },
} as const

interface Round {
  readonly perSecond: Readonly<Record<Way, number>>
  /** CPU ms of a thousand requests: of haproxy, of the entry agent (here), and of both agents (there). */
  readonly cpuMs: Readonly<Record<Way, number>>
  readonly errors: readonly string[]
}

export const tcp: Figure = {
  name: 'tcp',
  title: 'TCP mesh beside haproxy (tcp, one thread), wrk and nginx, 9 rounds of 2 s each',
  tools: ['wrk', 'haproxy', 'nginx'],
  async measure(say) {
    const swarm = await openSwarm({ nodes: 2 })
    const [near, far] = swarm.machines as [Machine, Machine]
    writeServed(swarm.dir)
    for (const [name, machine] of [
      ['here', near],
      ['there', far],
    ] as const) {
      await swarm.vine(
        ...['service', 'create', '--name', name, '--constraint', `node.hostname==${machine.name}`],
        ...['--label', 'grapevine.port=fixed', '--publish', `${ports[name]}:${nginxPort}`],
        ...['nginx', '-c', writeNginx(swarm.dir, machine)],
      )
    }
    const haproxy = spawn(needs('haproxy'), ['-f', writeHaproxy(swarm.dir, near.address)], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    const hosts: Readonly<Record<Way, string>> = { haproxy: '127.0.0.1', here: near.address, there: near.address }
    const pids: Readonly<Record<Way, readonly number[]>> = {
      haproxy: [haproxy.pid ?? 0],
      here: [near.pid ?? 0],
      there: [near.pid ?? 0, far.pid ?? 0],
    }
    try {
      const ways = Object.keys(ports) as readonly Way[]
      for (const way of ways) {
        await until(() => accepts(hosts[way], ports[way]), { deadlineMs: 20_000, what: `port ${ports[way]}` })
      }
      const raw: Record<string, readonly Round[]> = {}
      for (const [kind, { args, path }] of Object.entries(kinds)) {
        const done: Round[] = []
        for (let i = 0; i < rounds; i++) {
          const runs = new Map<Way, Awaited<ReturnType<typeof wrk>>>()
          for (const way of ways) {
            runs.set(way, await wrk(`http://${hosts[way]}:${ports[way]}${path}`, args, pids[way]))
          }
          const of = (pick: (one: Awaited<ReturnType<typeof wrk>>) => number) =>
            Object.fromEntries([...runs].map(([way, one]) => [way, pick(one)])) as Record<Way, number>
          done.push({
            perSecond: of((one) => one.perSecond),
            cpuMs: of((one) => one.cpuMs),
            errors: [...runs.values()].flatMap((one) => one.errors),
          })
        }
        raw[kind] = done
        say(`${kind}: ${ways.map((way) => `${way} ${told(median(done.map((d) => d.perSecond[way])))}/s`).join(', ')}`)
      }
      return { raw, rows: Object.entries(raw).flatMap(([kind, done]) => rowsOf(kind as keyof typeof kinds, done)) }
    } finally {
      haproxy.kill()
      await swarm.close()
    }
  },
}

function rowsOf(kind: keyof typeof kinds, done: readonly Round[]): readonly Row[] {
  return (['here', 'there'] as const).map((way) => {
    const ratio = median(done.map(({ perSecond }) => perSecond[way] / perSecond.haproxy))
    const errors = done.flatMap((round) => round.errors)
    const cpu = (one: Way) => `${told(median(done.map((round) => round.cpuMs[one])))}`
    return {
      what: `${kind}, task ${way === 'here' ? 'here' : 'on another node'}`,
      wanted: `>= ${kinds[kind][way]} x haproxy`,
      measured: `${ratio.toFixed(2)} x (${told(median(done.map((d) => d.perSecond[way])))}/s; CPU ${cpu(way)} us a request, haproxy ${cpu('haproxy')})${errors.length > 0 ? `; ${errors[0]}` : ''}`,
      ok: ratio >= kinds[kind][way] && errors.length === 0,
    }
  })
}

async function wrk(url: string, args: readonly string[], pids: readonly number[]) {
  const cpu = () => pids.reduce((sum, pid) => sum + cpuMs(pid), 0)
  const before = cpu()
  const { stdout } = await promisify(execFile)(needs('wrk'), [...args, `-d${seconds}s`, url])
  const perSecond = Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1] ?? 0)
  const errors = /Non-2xx or 3xx responses: \d+|Socket errors: .*/.exec(stdout)
  return {
    perSecond,
    cpuMs: ((cpu() - before) / (perSecond * seconds)) * 1_000,
    errors: errors === null ? [] : [`${url}: ${errors[0]}`],
  }
}

function writeServed(dir: string): void {
  const www = join(dir, 'www')
  mkdirSync(www)
  writeFileSync(join(www, 'small'), 'hello, world\n')
  writeFileSync(join(www, 'big'), Buffer.alloc(1024 * 1024, 'x'))
}

function writeNginx(dir: string, { name, address }: Machine): string {
  const own = join(dir, `nginx-${name}`)
  mkdirSync(own)
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${own}/${kind};`)
    .join(' ')
  const path = join(own, 'nginx.conf')
  writeFileSync(
    path,
    `user root; worker_processes 1; daemon off; pid ${own}/nginx.pid; error_log stderr crit;
events { worker_connections 8192; }
http { access_log off; keepalive_requests 100000000; keepalive_timeout 3600; sendfile on; ${temporary}
  server { listen ${address}:${nginxPort} backlog=4096; root ${dir}/www; } }
`,
  )
  return path
}

function writeHaproxy(dir: string, backend: string): string {
  const path = join(dir, 'haproxy.cfg')
  writeFileSync(path, haproxyText({ listen: `127.0.0.1:${ports.haproxy}`, backend: `${backend}:${nginxPort}` }))
  return path
}

function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
