/**
 * Ten agents that have nothing to do: memory, CPU and bytes of each, for the presets local and lan.
 *
 * Runs itself in a network namespace of its own, so that what the loopback device counts is of these agents alone; memory and CPU come from
 * /proc. Bytes are what a node sends, headers and all; what it receives is as much, since each byte is some other's.
 */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { atMost, type Figure, pause, type Row, told } from './figure.ts'
import { openSwarm } from './swarm.ts'

const nodes = 10
/** Joining and the first exchanges are over by then. */
const calmMs = 20_000
const measuredMs = 30_000
/** Field 14 and 15 of /proc/<pid>/stat are in ticks of 10 ms (USER_HZ, fixed since Linux 2.6). */
const tickMs = 10

interface Idle {
  readonly rssMb: readonly number[]
  readonly cpuPercent: readonly number[]
  /** Sent by one node, kB/s. */
  readonly sentKb: number
}
type Preset = 'local' | 'lan'

export const idle: Figure = {
  name: 'idle',
  title: 'Ten idle agents in a network namespace of their own, 30 s',
  tools: ['unshare', 'ip'],
  async measure(say) {
    const local = await apart('local', say)
    const lan = await apart('lan', say)
    return {
      raw: { local, lan },
      rows: [...rowsOf('local', local, 8), ...rowsOf('lan', lan, 4)],
    }
  },
}

function rowsOf(preset: Preset, { rssMb, cpuPercent, sentKb }: Idle, most: number): readonly Row[] {
  return [
    atMost({ what: `memory of an agent (${preset})`, values: rssMb, unit: 'MB', most: { 0.5: 160 } }),
    atMost({ what: `CPU of an agent (${preset})`, values: cpuPercent, unit: '% of a core', most: { 0.5: 2 } }),
    {
      what: `sent by an agent (${preset})`,
      wanted: `<= ${most} kB/s`,
      measured: `${told(sentKb)} kB/s`,
      ok: sentKb <= most,
    },
  ]
}

function apart(preset: Preset, say: (line: string) => void): Promise<Idle> {
  const user = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user']
  const inside = `ip link set lo up && exec "$0" "$1" --preset "$2"`
  const child = spawn(
    'unshare',
    [...user, '--net', 'sh', '-c', inside, process.execPath, import.meta.filename, preset],
    { env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` }, stdio: ['ignore', 'pipe', 'inherit'] },
  )
  let out = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => {
      if (code !== 0) return reject(new Error(`measuring apart ended with ${code}`))
      const idle: Idle = JSON.parse(out)
      say(`${preset}: ${told(Math.max(...idle.rssMb))} MB at most, ${told(idle.sentKb)} kB/s`)
      resolve(idle)
    })
  })
}

async function measureHere(preset: Preset): Promise<Idle> {
  const swarm = await openSwarm({ nodes, preset })
  try {
    await pause(calmMs)
    const pids = swarm.machines.map(({ pid }) => pid ?? 0)
    const before = { bytes: sentBytes(), cpu: pids.map(cpuMs), atMs: performance.now() }
    await pause(measuredMs)
    const tookMs = performance.now() - before.atMs
    return {
      rssMb: pids.map(rssMb),
      cpuPercent: pids.map((pid, i) => ((cpuMs(pid) - before.cpu[i]!) / tookMs) * 100),
      sentKb: (sentBytes() - before.bytes) / tookMs / nodes,
    }
  } finally {
    await swarm.close()
  }
}

/** Megabytes of 10^6. */
export function rssMb(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return (Number(kib) * 1_024) / 1e6
}

export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * tickMs
}

/** Sent over this namespace's loopback device since it is up. */
function sentBytes(): number {
  const line = readFileSync('/proc/net/dev', 'utf8')
    .split('\n')
    .find((one) => one.trim().startsWith('lo:'))
  return Number(line?.trim().split(/\s+/)[9] ?? 0)
}

if (import.meta.main) {
  const preset = process.argv.at(-1) === 'lan' ? 'lan' : 'local'
  process.stdout.write(JSON.stringify(await measureHere(preset)))
}
