/**
 * Puts values of the environment in place of `$NAME` and `${NAME…}` (Compose Specification, interpolation): `:-` and `-` give a default, `:?` and `?`
 * refuse, `:+` and `+` replace what is set; with the colon an empty value counts as unset. `$$` is a dollar. Pure.
 */
import { type Document, isMapping, type Path, pathText, refuseAt } from './document.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** All texts of a document; keys stay as they are, as Docker leaves them. */
export function interpolate(document: Document, env: Environment): Document {
  const walk = (value: unknown, path: Path): unknown => {
    if (typeof value === 'string') return substituteAt(document, path, value, env)
    if (Array.isArray(value)) return value.map((item, index) => walk(item, [...path, index]))
    if (!isMapping(value)) return value
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, walk(item, [...path, key])]))
  }
  return { ...document, data: walk(document.data, []) as Document['data'] }
}

function substituteAt(document: Document, path: Path, text: string, env: Environment): string {
  try {
    return substitute(text, env)
  } catch (error) {
    if (!(error instanceof BadTemplate)) throw error
    const sentence = `invalid interpolation format for ${pathText(path)}: "${error.message}"; you may need to escape any $ with another $`
    throw refuseAt(document, path, sentence)
  }
}

/** What cannot be filled in. Never leaves this file but to its tests. */
export class BadTemplate extends Error {}

const name = /[A-Za-z_][A-Za-z0-9_]*/y

/** One text. Throws a BadTemplate. */
export function substitute(text: string, env: Environment): string {
  let result = ''
  let index = 0
  while (index < text.length) {
    const dollar = text.indexOf('$', index)
    if (dollar < 0) return result + text.slice(index)
    result += text.slice(index, dollar)
    const next = text[dollar + 1]
    if (next === '$') {
      result += '$'
      index = dollar + 2
    } else if (next === '{') {
      const end = closing(text, dollar + 2)
      result += braced(text.slice(dollar + 2, end), text, env)
      index = end + 1
    } else {
      const word = wordAt(text, dollar + 1, text)
      result += env[word] ?? ''
      index = dollar + 1 + word.length
    }
  }
  return result
}

/** Index of the brace that ends an expression begun before `from`; expressions may stand in expressions. */
function closing(text: string, from: number): number {
  let depth = 1
  for (let index = from; index < text.length; index++) {
    if (text[index] === '$' && text[index + 1] === '{') depth++
    if (text[index] === '}' && --depth === 0) return index
  }
  throw new BadTemplate(text)
}

/** What stands between braces: a name, and perhaps an operator with a word of its own. */
function braced(inner: string, whole: string, env: Environment): string {
  const word = wordAt(inner, 0, whole)
  const value = env[word]
  const [, colon, operator, rest = ''] = /^(:?)([-?+])([\s\S]*)$/.exec(inner.slice(word.length)) ?? []
  if (operator === undefined) {
    if (word.length !== inner.length) throw new BadTemplate(whole)
    return value ?? ''
  }
  const isSet = value !== undefined && (colon === '' || value !== '')
  if (operator === '+') return isSet ? substitute(rest, env) : ''
  if (isSet) return value
  if (operator === '-') return substitute(rest, env)
  throw new BadTemplate(`required variable ${word} is missing a value: ${substitute(rest, env)}`)
}

function wordAt(text: string, index: number, whole: string): string {
  name.lastIndex = index
  const found = name.exec(text)?.[0]
  if (found === undefined) throw new BadTemplate(whole)
  return found
}
