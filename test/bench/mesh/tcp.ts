// TCP forwarding against haproxy (tcp, one thread), nginx behind both, wrk in front: task here, and task on another node.
// node test/bench/mesh/tcp.ts [--seconds 2] [--rounds 5]. Runs of one kind are interleaved, ratios are per round, medians are told. The CPU
// time of a request (us, of haproxy, of the one agent, of entry and hosting agent) is steadier than requests/s on a shared machine.
import { type ChildProcess, execFile, type SpawnOptions, spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { until } from '../../until.ts'
import { benchAgents, publish } from './agents.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '5' },
    /** Only kinds whose name holds this. */
    only: { type: 'string', default: '' },
  },
})
const ways = { haproxy: 18_091, local: 18_092, remote: 18_093 } as const
const kinds = {
  'keep-alive': ['-t1', '-c64', '/small'],
  'connection a request': ['-t1', '-c64', '-H', 'Connection: close', '/small'],
  '1 MB bodies': ['-t1', '-c16', '/big'],
} as const
/** The figures: of haproxy's requests a second. */
const asked: Readonly<Record<string, readonly [number, number]>> = {
  'keep-alive': [0.85, 0.4],
  'connection a request': [0.65, 0.3],
  '1 MB bodies': [1, 0.4],
}

const dir = mkdtempSync(join(tmpdir(), 'gv-bench-'))
// nginx serves as another user.
chmodSync(dir, 0o755)
const children: ChildProcess[] = []
const agents = await benchAgents(2)
try {
  await startServers()
  await publish(agents, [
    { port: ways.local, agent: 0, actual: 18_090, protocol: 'tcp' },
    { port: ways.remote, agent: 1, actual: 18_090, protocol: 'tcp' },
  ])
  for (const port of Object.values(ways)) {
    await until(() => answers(port), { deadlineMs: 5_000, what: `port ${port}` })
  }
  for (const [kind, args] of Object.entries(kinds)) if (kind.includes(values.only)) await compare(kind, args)
} finally {
  for (const agent of agents) agent.stop()
  for (const child of children) child.kill()
  rmSync(dir, { recursive: true })
}

interface Run {
  readonly perSecond: number
  /** CPU time a request, us: haproxy's, or each agent's. */
  readonly cpuUs: readonly number[]
}

async function compare(kind: string, args: readonly string[]): Promise<void> {
  const rounds: Record<keyof typeof ways, Run>[] = []
  for (let round = 0; round < Number(values.rounds); round++) {
    rounds.push({
      haproxy: await run(ways.haproxy, args),
      local: await run(ways.local, args),
      remote: await run(ways.remote, args),
    })
  }
  const ratio = (way: keyof typeof ways) => median(rounds.map((r) => r[way].perSecond / r.haproxy.perSecond))
  const cpu = (way: keyof typeof ways, index: number) => Math.round(median(rounds.map((r) => r[way].cpuUs[index]!)))
  const [localAsked, remoteAsked] = asked[kind]!
  console.log(
    JSON.stringify({
      kind,
      haproxy: Math.round(median(rounds.map((r) => r.haproxy.perSecond))),
      local: Number(ratio('local').toFixed(2)),
      remote: Number(ratio('remote').toFixed(2)),
      ok: ratio('local') >= localAsked && ratio('remote') >= remoteAsked,
      cpuUs: { haproxy: cpu('haproxy', 0), local: cpu('local', 1), entry: cpu('remote', 1), host: cpu('remote', 2) },
    }),
  )
}

async function run(port: number, args: readonly string[]): Promise<Run> {
  const before = await cpuTimesUs()
  const perSecond = await wrk(port, args)
  const after = await cpuTimesUs()
  const requests = perSecond * Number(values.seconds)
  return { perSecond, cpuUs: after.map((us, index) => (us - before[index]!) / requests) }
}

/** Of haproxy and both agents. */
async function cpuTimesUs(): Promise<readonly number[]> {
  const reports = await Promise.all(agents.map((agent) => agent.report()))
  const stat = readFileSync(`/proc/${children[1]!.pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  // Fields 14 and 15 (utime, stime), in clock ticks of 10 ms.
  return [(Number(stat[11]) + Number(stat[12])) * 10_000, ...reports.map(({ cpu }) => cpu.user + cpu.system)]
}

async function wrk(port: number, args: readonly string[]): Promise<number> {
  const path = args.at(-1)!
  const { stdout } = await promisify(execFile)('wrk', [
    ...args.slice(0, -1),
    `-d${values.seconds}s`,
    `http://127.0.0.1:${port}${path}`,
  ])
  const errors = /Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)/.exec(stdout)
  if (errors !== null) console.error(`port ${port}: ${errors[0]}`)
  return Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1] ?? 0)
}

async function startServers(): Promise<void> {
  const www = join(dir, 'www')
  mkdirSync(www)
  writeFileSync(join(www, 'small'), 'hello, world\n')
  writeFileSync(join(www, 'big'), Buffer.alloc(1024 * 1024, 'x'))
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${dir}/${name};`)
    .join(' ')
  writeFileSync(
    join(dir, 'nginx.conf'),
    `worker_processes 1; daemon off; pid ${dir}/nginx.pid; error_log stderr crit;
events { worker_connections 8192; }
http { access_log off; keepalive_requests 100000000; keepalive_timeout 3600; sendfile on; ${temporary}
  server { listen 127.0.0.1:18090 backlog=4096; root ${www}; } }
`,
  )
  writeFileSync(
    join(dir, 'haproxy.cfg'),
    `global
  nbthread 1
  maxconn 8000
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen bench
  bind 127.0.0.1:${ways.haproxy}
  server nginx 127.0.0.1:18090
`,
  )
  const quiet: SpawnOptions = { stdio: ['ignore', 'ignore', 'inherit'] }
  children.push(spawn('nginx', ['-c', join(dir, 'nginx.conf'), '-p', dir], quiet))
  children.push(spawn('haproxy', ['-f', join(dir, 'haproxy.cfg')], quiet))
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0
}
