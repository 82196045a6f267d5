// Several set-ups in one checkout: one works at a time, and the dead hold nobody up.
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { root } from '../../tidy/source.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'grapevine-alone-'))
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

test('three at once work one after another, even where a dead one left its lock', async () => {
  const dead = spawnSync(process.execPath, ['--version']).pid
  writeFileSync(join(folder, 'lock'), JSON.stringify({ pid: dead, host: hostname(), born: '1' }))
  await Promise.all([worker(), worker(), worker()])
  expect(readFileSync(join(folder, 'diary'), 'utf8').trim().split('\n')).toEqual([
    ...['begin', 'end'],
    ...['begin', 'end'],
    ...['begin', 'end'],
  ])
  expect(readdirSync(folder)).toEqual(['diary'])
})

test('a lock whose pid now belongs to another process is dead', async () => {
  writeFileSync(join(folder, 'lock'), JSON.stringify({ pid: process.pid, host: hostname(), born: 'long ago' }))
  await worker()
  expect(readdirSync(folder)).toEqual(['diary'])
})

/** A process that notes when its work begins and ends, 30 ms apart: overlapping work would show. */
function worker(): Promise<void> {
  const script = `
    import { appendFileSync } from 'node:fs'
    import { alone } from ${JSON.stringify(join(root, '.ci', 'alone.mjs'))}
    await alone('lock', () => {}, async () => {
      appendFileSync('diary', 'begin\\n')
      await new Promise((resolve) => setTimeout(resolve, 30))
      appendFileSync('diary', 'end\\n')
    })`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], { cwd: folder, stdio: 'inherit' })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`ended with exit code ${code}`))))
  })
}
