// How vine is started: from a clone through links and from elsewhere, and from an unpacked archive where there is no Node.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { root } from '../tidy/source.ts'
import { mallocArenas, nodeFlags } from './cluster.ts'

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'grapevine launch '))
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

test('vine starts from any folder, through links to links, with no Node on the PATH', () => {
  mkdirSync(join(folder, 'a'))
  symlinkSync(join(root, 'bin', 'vine'), join(folder, 'a', 'first'))
  symlinkSync('a/first', join(folder, 'vine'))
  expect(say(join(folder, 'vine'))).toContain(version)
})

test('agents of tests run under the flags that bin/vine gives to everybody', () => {
  const launcher = readFileSync(join(root, 'bin', 'vine'), 'utf8')
  expect(launcher).toContain(`exec "$node" ${nodeFlags.join(' ')} "$main"`)
  expect(launcher).toContain(`MALLOC_ARENA_MAX:-${mallocArenas}`)
})

test('an archive from npm run package runs wherever it is unpacked, with nothing installed', () => {
  const dist = join(folder, 'dist')
  execFileSync(process.execPath, [join(root, '.ci', 'package.ts'), dist], { stdio: 'pipe' })
  const [archive = ''] = readdirSync(dist)
  expect(archive).toMatch(/^grapevine-[\d.]+-linux-(x64|arm64)\.tar\.gz$/)
  execFileSync('tar', ['-C', folder, '-xzf', join(dist, archive)])
  expect(say(join(folder, archive.replace('.tar.gz', ''), 'bin', 'vine'))).toContain(version)
})

/** Runs `vine --version` with a PATH that holds readlink and nothing else. */
function say(vine: string): string {
  const path = join(folder, 'path')
  mkdirSync(path, { recursive: true })
  symlinkSync('/usr/bin/readlink', join(path, 'readlink'))
  return execFileSync(vine, ['--version'], { cwd: folder, encoding: 'utf8', env: { PATH: path, HOME: folder } })
}
