// The rules that `npm run sabotage` breaks stand where its patches look for them; it runs too long for each change.
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '..', '..')
const folder = join(root, 'test', 'sim', 'sabotage')

/** What git says against a patch; empty when it applies, as test/sim/sabotage/run.ts applies it. */
function refusal(patch: string): string {
  const { stderr } = spawnSync('git', ['apply', '-C1', '--whitespace=nowarn', '--check', '-'], {
    cwd: root,
    input: patch,
    encoding: 'utf8',
  })
  return stderr
}

const patches = readdirSync(folder).filter((name) => name.endsWith('.patch'))

test.for(patches)('%s applies', (name) => {
  expect(refusal(readFileSync(join(folder, name), 'utf8'))).toBe('')
})

test('a patch whose rule has moved does not', () => {
  const patch = readFileSync(join(folder, patches[0] ?? ''), 'utf8')
  expect(refusal(patch.replaceAll(/^([- ].*)$/gm, '$1 moved'))).toMatch(/patch (failed|does not apply)|No such file/)
})
