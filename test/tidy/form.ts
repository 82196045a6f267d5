// The rules about the form of a file: what decisions may not name, how files are called and headed, how long they are, what must
// not be left in them, and what a test may not do. Prose in comments and strings is free, except where a rule says otherwise.
import { type Breach, codeOf, importsOf, lineOf, type Source } from './source.ts'

/** Clock, chance and IO have no place where decisions are made: they come in as arguments (style.md, core and shell). */
const PURE = /^(protocol\/|agent\/core\/|agent\/loops\/|agent\/(view|presets|fault)\.ts$)/
const IMPURE =
  /(?<!\.)\b(?:Date|performance|process)\b(?!\s*\??:)|\b(?:globalThis|setTimeout|setInterval|setImmediate|queueMicrotask|randomUUID|getRandomValues)\b|\bMath\.random\b/g

export function pureDecisions(files: readonly Source[]): readonly Breach[] {
  return files
    .filter((file) => PURE.test(file.path))
    .flatMap((file) => [
      ...found(file, codeOf(file.text), IMPURE, 'is not for decisions: take it as an argument'),
      ...importsOf(file.text)
        .filter(({ from }) => from.startsWith('node:'))
        .map(({ from }) => `${file.path} imports ${from}: decisions know no IO`),
    ])
}

const VAGUE = /(^|\/)(index\.[a-z]+|(utils?|helpers?|lib|common|misc|shared)(\.[a-z.]+|\/.*))$/

export function namedAfterIdeas(files: readonly Source[]): readonly Breach[] {
  return files
    .filter((file) => VAGUE.test(file.path))
    .map((file) => `${file.path}: name it after the idea it holds; no barrels, no second home for rules`)
}

/** 400: beyond this a file holds two ideas, or says in its header why not. */
const LINES_MAX = 400

export function headed(files: readonly Source[]): readonly Breach[] {
  return files.flatMap((file) => {
    const header = headerOf(file.text)
    if (header === '') return [`${file.path} begins without a header: what it owns, what it must never do`]
    const lines = file.text.trimEnd().split('\n').length
    if (lines > LINES_MAX && !/\bLong because\b/.test(header)) {
      return [`${file.path} has ${lines} lines: split it, or begin a sentence of its header with "Long because"`]
    }
    return []
  })
}

function headerOf(text: string): string {
  const body = text.replace(/^#![^\n]*\n/, '')
  return /^(\/\*[\s\S]*?\*\/|(\/\/[^\n]*\n)+)/.exec(body)?.[0] ?? ''
}

const LEFT_OPEN = /\b(TODO|FIXME|XXX|HACK)\b|\b[Nn]ot implemented\b|\b[Ss]tub\b/g

export function nothingLeftOpen(files: readonly Source[]): readonly Breach[] {
  return files.flatMap((file) =>
    found(file, file.text, LEFT_OPEN, 'says that something is missing: finish it or leave it out'),
  )
}

/** What makes a test say less than it seems to. The third finds `new Promise((done) => setTimeout(done, 100))`. */
const WEAK_TESTS: readonly (readonly [RegExp, string])[] = [
  [
    /\b(?:describe|test|it|suite|bench)\b[\w.]*\.(?:only|skip|skipIf|runIf|todo|fails)\b|\.skip\(/g,
    'leaves tests out; a missing program is for needs()',
  ],
  [/\bretry\s*:/g, 'tries again until it is green'],
  [
    /\bsetTimeout\(\s*\w+\s*[,)]|\bawait\s+(?:setTimeout|sleep|delay|pause)\(|\bsetTimeout\(\s*\d/g,
    'sleeps; wait with until()',
  ],
  [/\bexpect\(\s*(?:true|false|1)\s*\)/g, 'asserts nothing'],
]

export function honestTests(files: readonly Source[]): readonly Breach[] {
  return files.flatMap((file) => {
    const code = codeOf(file.text)
    const sleeps = importsOf(file.text).filter(
      ({ from }) => from === 'node:timers/promises' || from === 'timers/promises',
    )
    return [
      ...WEAK_TESTS.flatMap(([pattern, why]) => found(file, code, pattern, why)),
      ...sleeps.map(({ from }) => `${file.path} imports ${from}: wait with until()`),
    ]
  })
}

function found(file: Source, text: string, pattern: RegExp, why: string): readonly Breach[] {
  return Array.from(text.matchAll(pattern), (hit) => `${file.path}:${lineOf(text, hit.index)} ${hit[0].trim()} ${why}`)
}
