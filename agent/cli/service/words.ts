/**
 * Reads the small languages inside flag values: `key=value`, environment files, command lines, amounts of memory, networks.
 *
 * All of it is pure; the text of a file is handed in.
 */
import { raise, usage } from '../usage.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** `k=v`; a bare `k` has the empty value. The first of several `=` divides. */
export function parsePairs(texts: readonly string[], flag: string): Readonly<Record<string, string>> {
  const pairs: Record<string, string> = {}
  for (const text of texts) {
    const at = text.indexOf('=')
    const key = at < 0 ? text : text.slice(0, at)
    if (key.trim() === '') throw usage(`invalid value "${text}" for ${flag}: the key is empty`, 'Write it as key=value')
    pairs[key] = at < 0 ? '' : text.slice(at + 1)
  }
  return pairs
}

/** `K=V` as it is; a bare `K` takes its value from here, and is left out where there is none (Docker's rule). */
export function parseEnv(texts: readonly string[], here: Environment, flag = '--env'): readonly string[] {
  return texts.flatMap((text) => {
    const at = text.indexOf('=')
    if (at === 0 || text === '')
      throw usage(`invalid value "${text}" for ${flag}: the name is empty`, 'Write it as NAME=value')
    if (at > 0) return [text]
    const value = here[text]
    return value === undefined ? [] : [`${text}=${value}`]
  })
}

/** Lines of an `--env-file`: empty ones and those that begin with # are skipped. */
export function parseEnvFile(content: string, here: Environment, path: string): readonly string[] {
  const lines = content
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .map((line) => line.trimStart())
    .filter((line) => line !== '' && !line.startsWith('#'))
  for (const line of lines)
    if (/\s/.test(line.split('=')[0] ?? ''))
      throw usage(`${path}: the name in "${line}" holds a blank`, 'Write one NAME=value a line')
  return parseEnv(lines, here, `--env-file ${path}`)
}

/** Later values of a name replace earlier ones, in the place of the first. */
export function mergeEnv(before: readonly string[], after: readonly string[]): readonly string[] {
  const byName = new Map<string, string>()
  for (const entry of [...before, ...after]) byName.set(entry.split('=')[0] ?? '', entry)
  return [...byName.values()]
}

/** Splits a command line as a shell does: blanks, quotes, backslashes; nothing is expanded. */
export function splitCommand(text: string, flag: string): readonly string[] {
  const words: string[] = []
  let word: string | undefined
  let quote = ''
  for (let i = 0; i < text.length; i++) {
    const c = text[i] ?? ''
    if (quote === "'" || (quote === '"' && c !== '\\')) {
      if (c === quote) quote = ''
      else word = (word ?? '') + c
    } else if (c === '\\' && i + 1 < text.length) {
      const next = text[++i] ?? ''
      word = (word ?? '') + (quote === '"' && !'"\\$`'.includes(next) ? `\\${next}` : next)
    } else if (c === '"' || c === "'") {
      quote = c
      word ??= ''
    } else if (/\s/.test(c)) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else word = (word ?? '') + c
  }
  if (quote !== '') throw usage(`${flag} holds a quote ${quote} that is not closed`)
  return word === undefined ? words : [...words, word]
}

/** `512m`, `2g`, `4096`: bytes, with units of 1024. */
export function parseBytes(text: string, flag: string): number {
  const match = /^(\d+\.?\d*|\.\d+) ?(?:([kmgtp])(?:i?b)?|b)?$/i.exec(text)
  if (match === null) throw usage(`invalid amount "${text}" for ${flag}`, 'Write for instance 512m or 2g')
  return Math.floor(Number(match[1]) * 1024 ** ['', 'k', 'm', 'g', 't', 'p'].indexOf((match[2] ?? '').toLowerCase()))
}

/** `0.5`, `1e-3` or `1/4` CPUs as Docker's billionths, of which there must be a whole number. */
export function parseCpus(text: string, flag: string): number {
  const bad = (what: string) => usage(`invalid number "${text}" for ${flag}${what}`, 'Write for instance 0.5 or 2')
  const [, whole = '', part = '', exponent = '0', divisor = '1'] =
    /^\+?(?=\.?\d)(\d*)(?:(?:\.(\d*))?(?:e([+-]?\d{1,2}))?|\/(\d+))$/i.exec(text) ?? raise(bad(''))
  // As integers: a fraction such as 0.1 has no exact binary form.
  const shift = 9 + Number(exponent) - part.length
  const above = BigInt(whole + part) * 10n ** BigInt(Math.max(shift, 0))
  const below = BigInt(divisor) * 10n ** BigInt(Math.max(-shift, 0))
  if (below === 0n) throw bad('')
  if (above % below !== 0n) throw bad(': value is too precise')
  return Number(above / below)
}

/** Docker's NetworkAttachmentConfig. */
export type NetworkWish = {
  readonly Target: string
  readonly Aliases?: string[]
  readonly DriverOpts?: Record<string, string>
}

/** `backend`, or `name=backend,alias=db,alias=pg`. */
export function parseNetwork(text: string, flag = '--network'): NetworkWish {
  if (!text.includes('=')) return { Target: text }
  let target: string | undefined
  const aliases: string[] = []
  const driverOpts: Record<string, string> = {}
  for (const field of text.split(',')) {
    const at = field.indexOf('=')
    const [key, value] = [field.slice(0, at), field.slice(at + 1)]
    if (key === 'name') target = value
    else if (key === 'alias') aliases.push(value)
    else if (key === 'driver-opt') Object.assign(driverOpts, parsePairs([value], `${flag} driver-opt`))
    else throw usage(`${flag} "${text}" holds the unknown key "${key}"`, 'Its keys are name, alias and driver-opt')
  }
  if (!target) throw usage(`${flag} "${text}" names no network`, 'Write it as name=backend,alias=db')
  return {
    Target: target,
    ...(aliases.length > 0 ? { Aliases: aliases } : {}),
    ...(Object.keys(driverOpts).length > 0 ? { DriverOpts: driverOpts } : {}),
  }
}

/** `spread=node.labels.zone`. */
export function parsePreference(
  text: string,
  flag = '--placement-pref',
): { readonly Spread: { readonly SpreadDescriptor: string } } {
  const [key, value] = text.split('=', 2)
  if (key !== 'spread' || !value)
    throw usage(`invalid value "${text}" for ${flag}`, 'Write it as spread=node.labels.zone')
  return { Spread: { SpreadDescriptor: value } }
}
