// The text that the tidy rules look at: which files there are, and what of a file is code rather than comment or string.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export const root = join(import.meta.dirname, '..', '..')

export interface Source {
  /** From the top of the repository, with slashes: `agent/core/placement/place.ts`. */
  readonly path: string
  readonly text: string
}

/** A breach of a rule, as a person reads it: the file first, then what is wrong. */
export type Breach = string

/** All sources below the folders, sorted by path. */
export function sources(folders: readonly string[], extension = '.ts'): readonly Source[] {
  return folders
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && entry.name.endsWith(extension))
        .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1)),
    )
    .sort()
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }))
}

/** The text with comments, and the insides of strings and regular expressions, replaced by blanks. Lines stay where they are. */
export function codeOf(text: string): string {
  return blank(text, true)
}

/** The text with only comments replaced by blanks: what imports are read from. */
export function uncommented(text: string): string {
  return blank(text, false)
}

/** What each import, export-from and dynamic import names. `types` is true for `import type` and `export type`. */
export function importsOf(text: string): readonly { readonly from: string; readonly types: boolean }[] {
  const code = uncommented(text)
  const declared = /^[ \t]*(?:import|export)\b(\s+type\b)?(?:[^'";()=]*?\bfrom\s*|\s*)['"]([^'"\n]+)['"]/gm
  const called = /\b(?:import|require)\(\s*['"]([^'"\n]+)['"]/g
  return [
    ...Array.from(code.matchAll(declared), (match) => ({ from: match[2] ?? '', types: match[1] !== undefined })),
    ...Array.from(code.matchAll(called), (match) => ({ from: match[1] ?? '', types: false })),
  ]
}

export function lineOf(text: string, index: number): number {
  return text.slice(0, index).split('\n').length
}

const LINE_COMMENT = /\/\/[^\n]*/y
const BLOCK_COMMENT = /\/\*[\s\S]*?\*\//y
const QUOTED = /'(?:[^'\\\n]|\\[\s\S])*'|"(?:[^"\\\n]|\\[\s\S])*"/y
/** A stretch of a template from its backtick, or from the brace that ends an expression in it, to its end or next expression. */
const TEMPLATE = /[`}](?:[^`\\$]|\\[\s\S]|\$(?!\{))*(?:`|\$\{)/y
const REGEXP = /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y
/** After one of these, or at the start, a slash begins a regular expression and does not divide. */
const BEFORE_REGEXP = /(?:^|[(,=:[!&|?{};+\-*%~^<>]|\b(?:return|typeof|case|in|of|yield|await|else|do|void))\s*$/

function blank(text: string, strings: boolean): string {
  let result = ''
  let at = 0
  /** For each template that is open, how many braces of the expression in it are. */
  const templates: number[] = []
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at
    return pattern.exec(text)?.[0]
  }
  while (at < text.length) {
    const char = text[at]
    const inTemplate = templates.at(-1)
    const comment = char === '/' ? (take(LINE_COMMENT) ?? take(BLOCK_COMMENT)) : undefined
    const endsExpression = char === '}' && inTemplate === 0
    const template = char === '`' || endsExpression ? take(TEMPLATE) : undefined
    if (template !== undefined) {
      if (endsExpression) templates.pop()
      if (template.endsWith('${')) templates.push(0)
    } else if (inTemplate !== undefined && char === '{') templates[templates.length - 1] = inTemplate + 1
    else if (inTemplate !== undefined && char === '}') templates[templates.length - 1] = inTemplate - 1
    const quoted = char === "'" || char === '"' ? take(QUOTED) : undefined
    const isRegExp = char === '/' && comment === undefined && BEFORE_REGEXP.test(result.slice(-40))
    const literal = template ?? quoted ?? (isRegExp ? take(REGEXP) : undefined)
    const token = comment ?? literal ?? char ?? ''
    if (comment !== undefined) result += token.replace(/[^\n]/g, ' ')
    else if (literal === undefined || !strings) result += token
    else result += token[0] + token.slice(1, -1).replace(/[^\n]/g, ' ') + (token.at(-1) ?? '')
    at += token.length
  }
  return result
}
