// The form of the files, and that each rule sees its breach.
import { expect, test } from 'vitest'
import { headed, honestTests, namedAfterIdeas, nothingLeftOpen, pureDecisions } from './form.ts'
import { sources } from './source.ts'

const program = sources(['protocol', 'agent'])
/** The samples of bad form below are no breach themselves. */
const tests = sources(['test']).filter(({ path }) => !path.startsWith('test/tidy/'))
/** The one place that pauses, the one place that skips, and benches, which have to wait for the load they make. */
const layers = tests.filter(({ path }) => !/^test\/(until\.ts|needs\.ts|run\.ts|bench\/)/.test(path))

test('decisions name no clock, no chance and no IO', () => {
  expect(pureDecisions(program)).toEqual([])
})

test.for([
  'const now = Date.now()',
  'const now = new Date()',
  'const now = performance.now()',
  'const chance = Math.random()',
  'setTimeout(tick, 5)',
  'setInterval(tick, 5)',
  'setImmediate(tick)',
  'const id = crypto.randomUUID()',
  "import { readFileSync } from 'node:fs'",
  'const text = `${Date.now()}`',
])('a decision may not say %s', (line) => {
  expect(pureDecisions([{ path: 'agent/core/place.ts', text: line }])).toHaveLength(1)
  expect(pureDecisions([{ path: 'agent/dns/server.ts', text: line }])).toEqual([])
})

test('a decision may speak of the clock in prose', () => {
  const text = "// never Date.now() here\nconst told = 'a Date from setTimeout'\n"
  expect(pureDecisions([{ path: 'protocol/hlc.ts', text }])).toEqual([])
})

test('files are named after ideas', () => {
  expect(namedAfterIdeas([...program, ...tests])).toEqual([])
})

test.for([
  'agent/core/index.ts',
  'agent/utils.ts',
  'agent/lib/x.ts',
  'test/helpers/y.ts',
  'protocol/common.ts',
  'agent/misc.ts',
])('a file may not be called %s', (path) => {
  expect(namedAfterIdeas([{ path, text: '' }])).toHaveLength(1)
})

test('every file of the program has a header, and a long one says why', () => {
  expect(headed(program)).toEqual([])
})

test('a missing header and an unexplained length are seen', () => {
  const long = 'x\n'.repeat(401)
  expect(headed([{ path: 'a.ts', text: 'const a = 1\n' }])).toHaveLength(1)
  expect(headed([{ path: 'a.ts', text: `// Owns a.\n${long}` }])).toHaveLength(1)
  expect(headed([{ path: 'a.ts', text: `// Owns a.\n// Long because it is one table.\n${long}` }])).toEqual([])
  expect(headed([{ path: 'a.ts', text: '/** Owns a. */\nconst a = 1\n' }])).toEqual([])
})

test('nothing is left open in the code', () => {
  expect(nothingLeftOpen([...program, ...tests])).toEqual([])
})

test.for(['// TODO later', '// FIXME', '// XXX', '// HACK', "throw new Error('not implemented')", 'const stub = 1'])(
  'code may not say %s',
  (text) => {
    expect(nothingLeftOpen([{ path: 'agent/a.ts', text }])).toHaveLength(1)
  },
)

test('tests leave nothing out, never try again, never sleep, and assert something', () => {
  expect(honestTests(layers)).toEqual([])
})

test.for([
  "test.only('a', () => {})",
  "describe.skip('a', () => {})",
  "test.skipIf(late)('a', () => {})",
  "it.todo('a')",
  'context.skip()',
  "test('a', { retry: 3 }, () => {})",
  'await new Promise((resolve) => setTimeout(resolve, 100))',
  'await setTimeout(100)',
  "import { setTimeout } from 'node:timers/promises'",
  'expect(true).toBe(true)',
])('a test may not say %s', (text) => {
  expect(honestTests([{ path: 'test/unit/a.test.ts', text }]).length).toBeGreaterThan(0)
})

test('a test may bound what it waits for', () => {
  const text = "const timer = setTimeout(() => child.kill(), 5_000)\nexpect(answer.kind).toBe('nodata')\n"
  expect(honestTests([{ path: 'test/e2e/a.test.ts', text }])).toEqual([])
})
