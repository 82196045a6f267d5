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
      const { status, stdout, stderr } = spawnSync(
        process.execPath,
        [join(tree, 'test', 'soak.ts'), '--seed', String(seed), ...words],
        { encoding: 'utf8', timeout: 300_000 },
      )
      if (status === 0) continue
      const [, promise] = /^Broken: (.*)\.$/m.exec(stdout) ?? []
      console.log(`seen    ${rule}: "${promise ?? firstLine(stderr)}" after ${seed} ${seed === 1 ? 'seed' : 'seeds'}`)
      return true
    }
    console.log(`MISSED  ${rule}: nobody saw it in ${seedsMax} seeds`)
    return false
  } finally {
    rmSync(tree, { recursive: true, force: true })
  }
}

function read(name: string): Sabotage {
  const file = join(import.meta.dirname, name)
  const text = readFileSync(file, 'utf8')
  const head = (word: string) => new RegExp(`^${word}: (.*)$`, 'm').exec(text)?.[1] ?? ''
  const words = head('Seeds').match(/'[^']*'|\S+/g) ?? []
  return { file, rule: head('Rule'), words: words.map((word) => word.replaceAll("'", '')) }
}

function firstLine(text: string): string {
  return text.split('\n').find((line) => /Error|invariant/.test(line)) ?? text.slice(0, 120)
}
