// What lies beside the code, and that each rule sees its breach.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { exactVersions, namesExist, shorterThan, topLevel } from './documents.ts'
import { root, type Source, sources } from './source.ts'

const files = [
  ...sources(['protocol', 'agent', 'test']),
  ...sources(['.ci'], '.mjs'),
  ...sources(['.ci'], '.ts'),
  ...sources(['test', 'agent', '.ci'], '.json'),
  ...sources(['test', 'agent'], '.sh'),
]

test('the top level holds only what a reader starts with', () => {
  expect(topLevel(readdirSync(root))).toEqual([])
  expect(topLevel(['agent', 'dist', '.ci', 'scripts'])).toHaveLength(1)
})

test('bin holds the launcher only', () => {
  expect(readdirSync(join(root, 'bin'))).toEqual(['vine'])
})

test('every dependency has one exact version', () => {
  expect(exactVersions(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')))).toEqual([])
  expect(exactVersions({ dependencies: { a: '^1.2.3', b: '1.2.3' }, overrides: { c: '1.x' } })).toHaveLength(2)
})

test('ARCHITECTURE.md is short, and every file and function that it names exists', () => {
  for (const document of documents('ARCHITECTURE.md')) {
    expect(namesExist(document, files)).toEqual([])
    expect(shorterThan(document, 500)).toEqual([])
  }
})

test('README.md is short, and every file that it names exists', () => {
  for (const document of documents('README.md')) {
    expect(namesExist(document, files)).toEqual([])
    expect(shorterThan(document, 250)).toEqual([])
  }
})

test('a name that is gone is seen', () => {
  const text =
    'export function place(view: View) {}\nexport interface Clock {\n  now(): number\n}\n// function gone()\n'
  const known = [{ path: 'agent/core/place.ts', text }]
  const about = (reference: string) => namesExist({ path: 'ARCHITECTURE.md', text: `see \`${reference}\`.` }, known)
  expect(about('agent/core/place.ts')).toEqual([])
  expect(about('agent/core/place.ts:place')).toEqual([])
  expect(about('agent/core/place.ts:now')).toEqual([])
  expect(about('agent/core/place.ts:gone')).toHaveLength(1)
  expect(about('agent/core/gone.ts')).toHaveLength(1)
})

test('a long document is seen', () => {
  expect(shorterThan({ path: 'README.md', text: 'x\n'.repeat(250) }, 250)).toHaveLength(1)
})

/** The document, or nothing as long as it is not written. */
function documents(path: string): readonly Source[] {
  const file = join(root, path)
  return existsSync(file) ? [{ path, text: readFileSync(file, 'utf8') }] : []
}
