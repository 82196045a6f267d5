// What `npm test` runs: the form of the code, then the layers of tests from the quick to the slow. Stages that do not compete
// for a clock, or mostly wait, run side by side, the others one after another. It ends with one plain line,
// `N passed, N failed[, N skipped]`, the sum over all stages, whatever happened: a stage that crashes or takes too long counts as a
// failure. `npm test -- unit e2e` runs the stages named, `e2e` for both of its lanes.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { addTallies, type Tally, tallyOfReport } from './tally.ts'

interface Stage {
  readonly name: string
  readonly asks: string
  readonly command: readonly string[]
  /** Where vitest leaves its report; a stage without one is one test, passed or failed by its exit code. */
  readonly report?: string
}

/**
 * 9.5 min: `npm test` promises to end within 10, and ending processes takes some seconds. In CI 75 min: its machine is shared, and there a
 * late answer is worth more than none; `.ci/run` has 90.
 */
const TOTAL_MAX_MS = process.env.CI === 'true' ? 4_500_000 : 570_000
/** 5 s between asking a stage to stop and ending it with all its children. */
const STOP_GRACE_MS = 5_000

const root = join(import.meta.dirname, '..')
const bin = join(root, 'node_modules', '.bin')
const reports = mkdtempSync(join(tmpdir(), 'grapevine-test-'))
/** A stage cannot see our terminal while its output is kept, and some colour a pipe when CI is set: say which it is. */
const colour = process.stdout.isTTY && !process.env.NO_COLOR ? { FORCE_COLOR: '1' } : { NO_COLOR: '1' }
const running = new Set<(why: string) => void>()
/** Why everything was told to stop; from then on no stage begins. */
let ending: string | undefined

/** Groups run one after another, the stages of a group side by side. */
const groups: readonly (readonly Stage[])[] = [
  [
    { name: 'types', asks: 'do the types hold?', command: ['tsc', '-p', '.'] },
    {
      name: 'form',
      asks: 'is it formatted and free of known slips?',
      command: ['biome', 'check', '--error-on-warnings'],
    },
    layer('tidy', 'is the form kept?'),
  ],
  [layer('unit', 'is the decision right?')],
  [layer('contract', 'do the real and the simulated part behave alike?')],
  [layer('sim', 'does a cluster keep its promises?')],
  ...lanes(),
]

process.exitCode = await main(process.argv.slice(2))

async function main(names: readonly string[]): Promise<number> {
  const known = groups.flat().map((stage) => stage.name)
  const unknown = names.filter((name) => !known.some((stage) => isOf(stage, name)))
  if (unknown.length > 0) {
    say(`There is no stage ${unknown.join(', ')}. Stages: ${known.join(', ')}`)
    return closing(oneFailure('no such stage'))
  }
  const stopAll = (why: string) => {
    ending ??= why
    for (const stop of running) stop(why)
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stopAll(`stopped by ${signal}`))
  const alarm = setTimeout(
    () => stopAll(`stopped: npm test may take ${Math.ceil(TOTAL_MAX_MS / 60_000)} min in all`),
    TOTAL_MAX_MS,
  )
  const tallies: Tally[] = []
  try {
    for (const group of groups) {
      const [first, ...others] = group.filter(
        (stage) => names.length === 0 || names.some((name) => isOf(stage.name, name)),
      )
      if (first === undefined) continue
      const shown = run(first)
      tallies.push(...(await Promise.all([shown, ...others.map((stage) => run(stage, shown))])))
    }
  } finally {
    clearTimeout(alarm)
    rmSync(reports, { recursive: true, force: true })
  }
  return closing(addTallies(tallies))
}

/** `e2e` names both `e2e-machines` and `e2e-loopback`. */
function isOf(stage: string, name: string): boolean {
  return stage === name || stage.startsWith(`${name}-`)
}

/**
 * Runs one stage. Of stages side by side the first is shown while it runs; the output of another is kept until it and the one shown have
 * ended, so that lines of two stages never mix.
 */
async function run(stage: Stage, shown?: Promise<unknown>): Promise<Tally> {
  const began = performance.now()
  if (ending !== undefined) return crashed(stage, `not begun, ${ending}`)
  const heading = `\n== ${stage.name}: ${stage.asks}`
  const kept = shown !== undefined
  if (!kept) say(heading)
  const [command = '', ...args] = stage.command
  const child = spawn(join(bin, command), args, {
    cwd: root,
    env: { ...process.env, ...colour, PATH: `${bin}:${process.env.PATH ?? ''}` },
    // A group of its own, so that nothing a test started outlives a stage that had to be stopped.
    detached: true,
    stdio: ['ignore', kept ? 'pipe' : 'inherit', kept ? 'pipe' : 'inherit'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', (text) => (output += text))
  let stopped: string | undefined
  const stop = (why: string) => {
    stopped ??= why
    signalGroup(child.pid, 'SIGTERM')
    setTimeout(() => signalGroup(child.pid, 'SIGKILL'), STOP_GRACE_MS).unref()
  }
  running.add(stop)
  const end = await new Promise<string | undefined>((resolve) => {
    child.on('error', (error) => resolve(`could not be started: ${error.message}`))
    child.on('close', (code, signal) => resolve(code === 0 ? undefined : `ended with ${signal ?? `exit code ${code}`}`))
  })
  running.delete(stop)
  const seconds = ((performance.now() - began) / 1000).toFixed(1)
  await shown
  if (kept) say(heading)
  if (output.trim() !== '') say(output.trimEnd())
  say(`-- ${stage.name}: ${seconds} s`)
  if (stopped !== undefined) return crashed(stage, stopped)
  if (stage.report === undefined) {
    return end === undefined ? { passed: 1, failed: 0, skipped: 0, failures: [], needs: [] } : oneFailure(stage.name)
  }
  const tally = tallyOfReport(stage.report, root)
  if (tally === undefined) return crashed(stage, end ?? 'left no report')
  // Vitest also ends badly for what no test owns: an unhandled rejection, a file that does not load.
  return end !== undefined && tally.failed === 0 ? addTallies([tally, crashed(stage, end)]) : tally
}

function crashed(stage: Stage, why: string): Tally {
  say(`-- ${stage.name} ${why}`)
  return oneFailure(`${stage.name}: ${why}`)
}

function oneFailure(failure: string): Tally {
  return { passed: 0, failed: 1, skipped: 0, failures: [failure], needs: [] }
}

function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, signal)
  } catch {
    // The group has ended by itself.
  }
}

function layer(name: string, asks: string): Stage {
  return vitest({ name, asks, words: ['--config', 'test/vitest.config.ts', `test/${name}/`] })
}

/**
 * Side by side for a person, who waits. In CI one after the other: its long walks count every request of clients that failed, on two cores with ten
 * agents, and a lane beside it that floods other agents would take the time from them in which a task is told to be going.
 */
function lanes(): readonly (readonly Stage[])[] {
  const machines = lane('machines', 'does it work on machines and in their kernels?')
  const loopback = lane('loopback', 'does it work with real processes and sockets?')
  return process.env.CI === 'true' ? [[machines], [loopback]] : [[machines, loopback]]
}

/** Of the end-to-end layer, see test/vitest.e2e.config.ts. */
function lane(name: string, asks: string): Stage {
  return vitest({
    name: `e2e-${name}`,
    asks,
    words: ['--config', 'test/vitest.e2e.config.ts', '--project', name],
  })
}

interface Tests extends Pick<Stage, 'name' | 'asks'> {
  /** Which tests, as vitest is told. */
  readonly words: readonly string[]
}

function vitest({ name, asks, words }: Tests): Stage {
  const report = join(reports, `${name}.json`)
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
  return { name, asks, report, command: ['vitest', 'run', ...words, ...reporters] }
}

function closing(total: Tally): number {
  if (total.failures.length > 0) say(`\nFailed:\n${total.failures.map((failure) => `  ${failure}`).join('\n')}`)
  if (total.needs.length > 0) say(`\nSkipped here, run in CI:\n${total.needs.map((need) => `  ${need}`).join('\n')}`)
  if (process.env.CI !== 'true')
    say('\nThe long walks on machines (test/e2e/*.long.test.ts) run in CI and with `npm run soak`.')
  const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : ''
  say(`\n${total.passed} passed, ${total.failed} failed${skipped}`)
  return total.failed === 0 ? 0 : 1
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
