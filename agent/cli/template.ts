/**
 * The part of Go's templates that `--format` is used with: field paths, `json`, `len`, `range … end`, trimmed blanks.
 *
 * Anything else is refused with a pointer to --json: half a template language that guesses is worse than none.
 */
import { usage } from './usage.ts'

export type Template = readonly Part[]

type Part =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'print'; readonly how: 'plain' | 'json' | 'len'; readonly path: readonly string[] }
  | { readonly kind: 'range'; readonly path: readonly string[]; readonly body: Template }

/** Throws a UsageFault for what is not supported. */
export function parseTemplate(source: string): Template {
  const tokens = split(source.replaceAll('\\t', '\t').replaceAll('\\n', '\n'))
  const { parts, rest } = parseParts(tokens, source)
  if (rest.length > 0) throw refuse(source, 'an {{end}} without its {{range}}')
  return parts
}

/** `missing` is called for a field that is not there, and says what to print, or throws. */
export function renderTemplate(template: Template, data: unknown, missing = noValue): string {
  return template
    .map((part) => {
      if (part.kind === 'text') return part.text
      const value = follow(data, part.path, missing)
      if (part.kind === 'range')
        return items(value)
          .map((item) => renderTemplate(part.body, item, missing))
          .join('')
      if (part.how === 'json') return JSON.stringify(value === absent ? null : value)
      if (part.how === 'len') return String(length(value))
      return show(value)
    })
    .join('')
}

const absent = Symbol('absent')

function noValue(_field: string): unknown {
  return absent
}

type Token = { readonly text: string } | { readonly action: string }

function split(source: string): readonly Token[] {
  const tokens: Token[] = []
  let from = 0
  for (const match of source.matchAll(/\{\{(- )?(.*?)( -)?\}\}/gs)) {
    let before = source.slice(from, match.index)
    if (match[1] !== undefined) before = before.trimEnd()
    tokens.push({ text: before }, { action: (match[2] ?? '').trim() })
    from = match.index + match[0].length
    if (match[3] !== undefined) while (/\s/.test(source[from] ?? '')) from++
  }
  const tail = source.slice(from)
  if (/\{\{|\}\}/.test(tail)) throw refuse(source, 'an action that is not closed')
  return [...tokens, { text: tail }]
}

function parseParts(tokens: readonly Token[], source: string): { parts: Template; rest: readonly Token[] } {
  const parts: Part[] = []
  let rest = tokens
  while (rest[0] !== undefined) {
    const token = rest[0]
    if ('text' in token) {
      if (token.text !== '') parts.push({ kind: 'text', text: token.text })
      rest = rest.slice(1)
      continue
    }
    if (token.action === 'end') return { parts, rest }
    const [word = '', ...others] = token.action.split(/\s+/)
    if (word === 'range' && others.length === 1) {
      const inner = parseParts(rest.slice(1), source)
      if (inner.rest.length === 0) throw refuse(source, 'a {{range}} without its {{end}}')
      parts.push({ kind: 'range', path: parsePath(others[0] ?? '', source), body: inner.parts })
      rest = inner.rest.slice(1)
    } else if ((word === 'json' || word === 'len') && others.length === 1) {
      parts.push({ kind: 'print', how: word, path: parsePath(others[0] ?? '', source) })
      rest = rest.slice(1)
    } else {
      parts.push({ kind: 'print', how: 'plain', path: parsePath(token.action, source) })
      rest = rest.slice(1)
    }
  }
  return { parts, rest }
}

function parsePath(text: string, source: string): readonly string[] {
  if (text === '.') return []
  if (!/^(\.[\w-]+)+$/.test(text)) throw refuse(source, `{{${text}}}`)
  return text.slice(1).split('.')
}

function refuse(source: string, what: string): Error {
  return usage(
    `--format "${source}" holds ${what}, which is not supported`,
    'Supported are field paths, json, range and len; for anything else take --json and a program such as jq',
  )
}

function follow(data: unknown, path: readonly string[], missing: (field: string) => unknown): unknown {
  let at = data
  for (const name of path) {
    if (typeof at === 'object' && at !== null && Object.hasOwn(at, name)) at = (at as Record<string, unknown>)[name]
    else return missing(name)
  }
  return at
}

function items(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value
  if (typeof value === 'object' && value !== null)
    return Object.keys(value)
      .sort()
      .map((key) => (value as Record<string, unknown>)[key])
  return []
}

function length(value: unknown): number {
  return typeof value === 'string' ? value.length : items(value).length
}

/** As Go prints: `[a b]`, `map[k:v]`. */
function show(value: unknown): string {
  if (value === absent || value === null || value === undefined) return '<no value>'
  if (Array.isArray(value)) return `[${value.map(show).join(' ')}]`
  if (typeof value === 'object')
    return `map[${Object.keys(value)
      .sort()
      .map((key) => `${key}:${show((value as Record<string, unknown>)[key])}`)
      .join(' ')}]`
  return String(value)
}
