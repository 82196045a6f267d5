// npm run soak: the long scenarios, bad input by the hundred thousand, and the 200 fixed seeds, each a cluster through ten virtual minutes of faults.
// Or only seeds: `--from A --to B` of the fixed ones, `--for 30m` of fresh ones, `--seed N` alone.
// `--nodes`, `--minutes`, `--fault KIND` and `--calm` narrow what a seed decides. One process a core; ends with a line of totals, and with exit code 1 when a promise was broken.
import { spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type FaultKind, makers } from './sim/faults.ts'
import { fixedMinutes, fixedSeeds } from './sim/fixed.ts'
import { runSeed } from './sim/seed.ts'
import { tell } from './sim/tell.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', multiple: true },
    from: { type: 'string' },
    to: { type: 'string' },
    for: { type: 'string' },
    minutes: { type: 'string' },
    nodes: { type: 'string' },
    fault: { type: 'string', multiple: true },
    jobs: { type: 'string' },
    calm: { type: 'boolean' },
  },
})

const { seed, from, to } = values
if (seed !== undefined) process.exitCode = await these(seed.map(Number))
else if ([from, to, values.for].some((bound) => bound !== undefined)) process.exitCode = await all()
else process.exitCode = Math.max(await vitest('soak'), await vitest('fuzz'), await all())

/** The long scenarios (test/vitest.soak.config.ts), or bad input (test/vitest.fuzz.config.ts). */
function vitest(config: 'soak' | 'fuzz'): Promise<number> {
  const root = join(import.meta.dirname, '..')
  const bin = join(root, 'node_modules', '.bin')
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH ?? ''}` }
  const words = ['run', '--config', `test/vitest.${config}.config.ts`]
  return new Promise((resolve) => {
    const child = spawn(join(bin, 'vitest'), words, { cwd: root, env, stdio: ['ignore', 'inherit', 'inherit'] })
    child.on('close', (code) => resolve(code ?? 1))
  })
}

/** In this process, one after the other. */
async function these(seeds: readonly number[]): Promise<number> {
  let broken = 0
  for (const seed of seeds) {
    const began = performance.now()
    const result = await runSeed({
      seed,
      ...(values.minutes === undefined ? {} : { minutes: Number(values.minutes) }),
      ...(values.nodes === undefined ? {} : { nodes: Number(values.nodes) }),
      ...(values.calm === true ? { calm: true } : {}),
      ...(values.fault === undefined ? {} : { faults: values.fault.map(kindOf) }),
    })
    if (result.kind === 'broken') broken++
    console.log(tell(result, performance.now() - began))
  }
  return broken === 0 ? 0 : 1
}

async function all(): Promise<number> {
  const endMs = values.for === undefined ? Number.POSITIVE_INFINITY : performance.now() + spanOf(values.for)
  const seeds = values.for === undefined ? fixed() : fresh(endMs)
  let kept = 0
  let broken = 0
  const worker = async () => {
    for (const seed of seeds) {
      const { code, output } = await child(seed)
      console.log(output.trimEnd())
      if (code === 0) kept++
      else broken++
    }
  }
  await Promise.all(Array.from({ length: Number(values.jobs ?? availableParallelism()) }, worker))
  console.log(`${kept} seeds kept, ${broken} broken`)
  return broken === 0 ? 0 : 1
}

function* fixed(): Generator<number> {
  const from = Number(values.from ?? fixedSeeds[0])
  const to = Number(values.to ?? fixedSeeds.at(-1))
  for (let seed = from; seed <= to; seed++) yield seed
}

/** Seeds that nobody has run, from the clock. */
function* fresh(endMs: number): Generator<number> {
  let seed = Math.floor(Date.now() / 1000) * 1000
  while (performance.now() < endMs) yield seed++
}

/** A large nursery: a tenth less CPU for a whole cluster in one heap. */
const roomy = ['--max-semi-space-size=64', '--min-semi-space-size=64']

/** A process of its own, so that a seed cannot disturb the next one and both cores work. */
function child(seed: number): Promise<{ readonly code: number; readonly output: string }> {
  const words = ['--seed', String(seed), '--minutes', values.minutes ?? String(fixedMinutes)]
  if (values.nodes !== undefined) words.push('--nodes', values.nodes)
  if (values.calm === true) words.push('--calm')
  for (const kind of values.fault ?? []) words.push('--fault', kind)
  return new Promise((resolve) => {
    const args = [...roomy, import.meta.filename, ...words]
    const process_ = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [process_.stdout, process_.stderr])
      stream.setEncoding('utf8').on('data', (text) => (output += text))
    process_.on('close', (code) => resolve({ code: code ?? 1, output }))
  })
}

function kindOf(text: string): FaultKind {
  if (Object.hasOwn(makers, text)) return text as FaultKind
  throw new Error(`no fault "${text}"; there are: ${Object.keys(makers).join(', ')}`)
}

/** `30m`, `90s`, `2h` in ms. */
function spanOf(text: string): number {
  const [, number, unit] = /^(\d+)(s|m|h)$/.exec(text) ?? []
  if (number === undefined) throw new Error(`--for takes 90s, 30m or 2h, not ${text}`)
  return Number(number) * { s: 1_000, m: 60_000, h: 3_600_000 }[unit as 's' | 'm' | 'h']
}
