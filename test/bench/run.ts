/**
 * `npm run bench`: measures the figures that Grapevine promises, all or those named, and writes what came out.
 *
 *   npm run bench                  all, about half an hour
 *   npm run bench -- kill dns      these
 *
 * Raw runs lie in test/bench/runs/, RESULTS.md is made of them. Exit code 0 when every row holds. A machine that does other work gives worse
 * figures: its load is kept with the run.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus, getPriority, loadavg } from 'node:os'
import { join } from 'node:path'
import { reasonOf } from '../../agent/fault.ts'
import { needs } from '../needs.ts'
import { root } from '../tidy/source.ts'
import { agent } from './agent.ts'
import { dns } from './dns.ts'
import { dockerKill } from './docker-kill.ts'
import { dockerTask } from './docker-task.ts'
import { type Figure, median, type Row, type Run } from './figure.ts'
import { gossip } from './gossip.ts'
import { idle } from './idle.ts'
import { kill } from './kill.ts'
import { linuxKill, linuxPower } from './linux/failover.ts'
import { linuxMesh } from './linux/mesh.ts'
import { linuxProgrammed } from './linux/programmed.ts'
import { linuxVip } from './linux/vip.ts'
import { linuxVxlan } from './linux/vxlan.ts'
import { writeResults } from './results.ts'
import { silent } from './silent.ts'
import { stalled } from './stalled.ts'
import { task } from './task.ts'
import { tcp } from './tcp.ts'
import { udp } from './udp.ts'

const linux: readonly Figure[] = [linuxMesh, linuxVip, linuxVxlan, linuxKill, linuxPower, linuxProgrammed]
const figures: readonly Figure[] = [
  kill,
  silent,
  stalled,
  task,
  gossip,
  agent,
  idle,
  dns,
  tcp,
  udp,
  ...linux,
  dockerTask,
  dockerKill,
]
/** No figure takes half as long; one that hangs must not keep the others from being measured. */
const figureMsMax = 8 * 60_000
const runs = join(import.meta.dirname, 'runs')

// Where a program is missing needs() is to fail with its sentence, as in CI: there is no test that could be skipped.
process.env.CI = 'true'

process.exitCode = await main(process.argv.slice(2))

async function main(names: readonly string[]): Promise<number> {
  const unknown = names.filter((name) => !figures.some((figure) => figure.name === name))
  if (unknown.length > 0) {
    say(`No figure is called ${unknown.join(', ')}. There are: ${figures.map(({ name }) => name).join(' ')}`)
    return 2
  }
  mkdirSync(runs, { recursive: true })
  let misses = 0
  for (const figure of figures) {
    if (names.length > 0 && !names.includes(figure.name)) continue
    say(`\n${figure.name}: ${figure.title}`)
    try {
      const run = await measure(figure)
      writeFileSync(join(runs, `${figure.name}.json`), `${JSON.stringify(run, null, 1)}\n`)
      for (const row of run.rows) say(rowLine(row))
      misses += run.rows.filter(({ ok }) => !ok).length
    } catch (error) {
      say(`  could not be measured: ${error instanceof Error ? (error.stack ?? error.message) : reasonOf(error)}`)
      misses += 1
    }
    writeResults(import.meta.dirname, figures)
  }
  say(`\n${misses === 0 ? 'Every row holds' : `${misses} rows miss`}; see test/bench/RESULTS.md`)
  return misses === 0 ? 0 : 1
}

async function measure(figure: Figure): Promise<Run> {
  for (const tool of figure.tools) needs(tool)
  const startedMs = performance.now()
  const loadBefore = load()
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it took more than ${figureMsMax / 60_000} minutes`)), figureMsMax)
  })
  const measuring = figure.measure((line) => say(`  ${line}`))
  try {
    const { rows, raw } = await Promise.race([measuring, late])
    return {
      name: figure.name,
      title: figure.title,
      at: new Date().toISOString(),
      commit: commit(),
      machine: `${cpus().length} x ${cpus()[0]?.model ?? 'unknown CPU'}, Node ${process.version}, nice ${getPriority()}, an empty Node program in ${Math.round(emptyProgramMs())} ms`,
      load: [loadBefore, load()],
      seconds: Math.round((performance.now() - startedMs) / 1_000),
      rows,
      raw,
    }
  } finally {
    clearTimeout(timer)
  }
}

/** Ms from start to end of a Node program that does nothing, median of five: what this machine gives a process at this hour. */
function emptyProgramMs(): number {
  return median(
    Array.from({ length: 5 }, () => {
      const beganMs = performance.now()
      spawnSync(process.execPath, ['-e', '0'])
      return performance.now() - beganMs
    }),
  )
}

function load(): number {
  return Number((loadavg()[0] ?? 0).toFixed(2))
}

function commit(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty', '--exclude=*'], {
      cwd: root,
      encoding: 'utf8',
    }).trim()
  } catch {
    return 'unknown'
  }
}

function rowLine({ what, wanted, measured, ok }: Row): string {
  return `  ${ok ? 'hit ' : 'MISS'}  ${what}: ${measured}; wanted ${wanted}`
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
