/**
 * Which of two writes of one key stays: a total order, so that every node ends with the same one whatever the order of arrival.
 *
 * The newer version wins; a delete of an id is final for kinds whose ids are drawn (design.md 3), so a late create never revives it.
 * `isAncestor` tells an ordinary update from a spec that a concurrent one pushed out.
 */
import { compareVersions, type Version } from './hlc.ts'
import type { Kind, ServiceValue, StateRecord } from './model.ts'

/** Positive when `a` wins over `b`, 0 only for the same write. Both are writes of one key. */
export function compareWrites(a: StateRecord, b: StateRecord): number {
  if (isDeleteFinal(a.kind) && (a.value === null) !== (b.value === null)) return a.value === null ? 1 : -1
  return (
    compareVersions(a.version, b.version) ||
    compareText(a.author.node, b.author.node) ||
    compareText(a.author.log, b.author.log) ||
    a.seq - b.seq
  )
}

/** Ids of these kinds are random and never used again; names, which are, live in the values. */
export function isDeleteFinal(kind: Kind): boolean {
  return kind === 'service' || kind === 'network' || kind === 'task' || kind === 'token' || kind === 'guest'
}

/** Whether the spec written as `version` is one that `value` was made from. Beyond the 16 kept ancestors it is taken for one. */
export function isAncestor(version: Version, value: ServiceValue): boolean {
  const ancestors = value.parent === undefined ? value.ancestors : [value.parent, ...value.ancestors]
  if (ancestors.some((ancestor) => compareVersions(ancestor, version) === 0)) return true
  const oldest = value.ancestors.at(-1)
  return value.ancestors.length === 16 && oldest !== undefined && compareVersions(version, oldest) < 0
}

/** Paths, two levels deep, at which two values differ: what a person wants to know of a lost spec. Sorted, at most 64. */
export function differingFields(a: unknown, b: unknown, depth = 2): readonly string[] {
  const names = [...new Set([...fieldsOf(a), ...fieldsOf(b)])].sort()
  const differing = names.flatMap((name) => {
    const left = fieldOf(a, name)
    const right = fieldOf(b, name)
    if (sameValue(left, right)) return []
    const below = depth > 1 && isObject(left) && isObject(right) ? differingFields(left, right, depth - 1) : []
    return below.length === 0 ? [name] : below.map((path) => `${name}.${path}`)
  })
  return differing.slice(0, 64)
}

/** Equality of decoded values, whatever the order of their fields. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (!isObject(a) || !isObject(b) || Array.isArray(a) !== Array.isArray(b)) return false
  const names = Object.keys(a)
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && sameValue(a[name], b[name]))
  )
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

function fieldsOf(value: unknown): readonly string[] {
  return isObject(value) ? Object.keys(value) : []
}

function fieldOf(value: unknown, name: string): unknown {
  return isObject(value) ? value[name] : undefined
}
