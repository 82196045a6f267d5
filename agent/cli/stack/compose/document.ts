/**
 * Reads the text of a Compose file into plain data and remembers where things stand in it, so that every refusal names file and line.
 *
 * YAML as Docker's reader has it: version 1.2 with merge keys (`<<`) and with 0440 for an octal number. Pure; the text is handed in.
 */
import { isMap, isNode, isScalar, LineCounter, type Node, type Pair, parseDocument } from 'yaml'
import { type Fault, fault } from '../../../fault.ts'

export type Path = readonly (string | number)[]
export type Mapping = { readonly [key: string]: unknown }

export interface Document {
  /** As the user named it. */
  readonly file: string
  readonly data: Mapping
  /** `compose.yaml:12`, of the nearest thing that stands in the file itself (an alias does not). */
  where(path: Path): string
}

/** YAML 1.1, and Go's reader: a leading zero makes it octal. Modes of secrets are written so. */
const octal = {
  tag: 'tag:yaml.org,2002:int',
  default: true,
  test: /^0[0-7]+$/,
  resolve: (text: string) => Number.parseInt(text, 8),
} as const

export function readDocument(file: string, text: string): Document {
  const lines = new LineCounter()
  const parsed = parseDocument(text, {
    lineCounter: lines,
    merge: true,
    customTags: (tags) => [octal, ...tags],
    prettyErrors: false,
  })
  const lineAt = (offset: number) => `${file}:${lines.linePos(offset).line}`
  const [error] = parsed.errors
  if (error !== undefined) throw fault('invalid', `${lineAt(error.pos[0])}: ${error.message}`)
  const data: unknown = parsed.toJS({ maxAliasCount: aliasesMax })
  if (!isMapping(data)) throw fault('invalid', `${file}: top-level object must be a mapping`)
  const root = parsed.contents
  return { file, data, where: (path) => lineAt(offsetOf(root, path)) }
}

/** 1,000: more than any file needs, and short of what a bomb of aliases makes of a page. */
const aliasesMax = 1_000

export function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** `services.web.ports.0`, as Docker writes where something is. */
export function pathText(path: Path): string {
  return path.length === 0 ? '(root)' : path.join('.')
}

/** A refusal with its place: `compose.yaml:4: services.web.image must be a string`. */
export function refuseAt(document: Document, path: Path, sentence: string): Fault {
  return fault('invalid', `${document.where(path)}: ${sentence}`)
}

function offsetOf(root: Node | null, path: Path): number {
  let at: unknown = root
  let offset = startOf(root)
  for (const step of path) {
    const pair = isMap(at) ? at.items.find((item) => keyOf(item) === String(step)) : undefined
    if (pair !== undefined) offset = startOf(pair.key) || offset
    const next = pair?.value ?? (isNode(at) && 'items' in at && typeof step === 'number' ? at.items[step] : undefined)
    if (next === undefined || next === null) break
    if (pair === undefined) offset = startOf(next) || offset
    at = next
  }
  return offset
}

function keyOf({ key }: Pair): string {
  return isScalar(key) ? String(key.value) : ''
}

function startOf(node: unknown): number {
  return isNode(node) ? (node.range?.[0] ?? 0) : 0
}
