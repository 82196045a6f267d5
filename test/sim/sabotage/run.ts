// npm run sabotage: breaks one rule at a time in a copy of the tree, by the patches beside this file, and runs seeds until a checker sees it. A rule
// whose breach nobody sees is not watched: that fails. The head of a patch says what is broken and how the seeds are to be run.
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

interface Sabotage {
  readonly file: string
  readonly rule: string
  /** Words for test/soak.ts, such as `--fault partition`. */
  readonly words: readonly string[]
}

const root = join(import.meta.dirname, '..', '..', '..')
/** A rule that is not seen broken in so many seeds is as good as not watched. */
const seedsMax = 25
/** 10 min: twenty times what the longest takes on an idle machine. */
const seedMaxMs = 600_000

const only = process.argv.slice(2)
const patches = readdirSync(import.meta.dirname)
  .filter((name) => name.endsWith('.patch') && (only.length === 0 || only.some((word) => name.includes(word))))
  .sort()
let survivors = 0
for (const name of patches) if (!saw(read(name))) survivors++
console.log(`${patches.length - survivors} of ${patches.length} sabotages were seen`)
process.exitCode = survivors === 0 ? 0 : 1

/** Whether a checker saw it; says which, after how many seeds. */
function saw({ file, rule, words }: Sabotage): boolean {
  const tree = mkdtempSync(join(tmpdir(), 'grapevine-sabotage-'))
  try {
    for (const part of ['agent', 'protocol', 'test', 'package.json'])
      cpSync(join(root, part), join(tree, part), { recursive: true })
    symlinkSync(join(root, 'node_modules'), join(tree, 'node_modules'))
    execFileSync('git', ['apply', '-C1', '--whitespace=nowarn', file], {
      cwd: tree,
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    for (let seed = 1; seed <= seedsMax; seed++) {
      const seen = breachOf(tree, seed, words)
      if (seen === undefined) continue
      // What the code as it is breaks as well was not broken by the patch.
      const anyway = breachOf(root, seed, words)
      if (anyway !== undefined) {
        console.log(`MISSED  ${rule}: seed ${seed} breaks without the patch too: "${anyway}"`)
        return false
      }
      console.log(`seen    ${rule}: "${seen}" after ${seed} ${seed === 1 ? 'seed' : 'seeds'}`)
      return true
    }
    console.log(`MISSED  ${rule}: nobody saw it in ${seedsMax} seeds`)
    return false
  } finally {
    rmSync(tree, { recursive: true, force: true })
  }
}

/** The promise that a checker saw broken; undefined when the seed was kept. Anything else that ends a run is no sight of a checker. */
function breachOf(tree: string, seed: number, words: readonly string[]): string | undefined {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(tree, 'test', 'soak.ts'), '--seed', String(seed), ...words],
    { encoding: 'utf8', timeout: seedMaxMs },
  )
  if (status === 0) return undefined
  if (status === null) throw new Error(`seed ${seed} did not end within ${seedMaxMs / 1000} s`)
  const [, promise] = /^Broken: (.*)\.$/m.exec(stdout) ?? []
  if (promise === undefined) throw new Error(`seed ${seed} failed, and no checker saw why:\n${stderr.slice(0, 2_000)}`)
  return promise
}

function read(name: string): Sabotage {
  const file = join(import.meta.dirname, name)
  const text = readFileSync(file, 'utf8')
  const head = (word: string) => new RegExp(`^${word}: (.*)$`, 'm').exec(text)?.[1] ?? ''
  const words = head('Seeds').match(/'[^']*'|\S+/g) ?? []
  return { file, rule: head('Rule'), words: words.map((word) => word.replaceAll("'", '')) }
}
