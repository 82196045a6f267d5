/**
 * The `filters` parameter of Docker's lists: `{"name":["web"]}`, or the older `{"name":{"web":true}}`.
 *
 * Several values of one key are alternatives; several keys must all hold. A key that a list does not know is refused, as Docker does.
 */
import { fault } from '../fault.ts'

export type Filters = ReadonlyMap<string, readonly string[]>

/** Reads and checks a filter. `known` are the keys of that list. */
export function readFilters(text: string | null, known: readonly string[]): Filters {
  if (text === null || text === '') return new Map()
  const filters = new Map<string, readonly string[]>()
  for (const [key, values] of Object.entries(parse(text))) {
    if (!known.includes(key)) throw fault('invalid', `invalid filter '${key}'`, `Filters here: ${known.join(', ')}`)
    filters.set(key, valuesOf(key, values))
  }
  return filters
}

/** Whether one of the key's values holds; true when the filter does not ask for it. */
export function passes(filters: Filters, key: string, holds: (wanted: string) => boolean): boolean {
  const values = filters.get(key)
  return values === undefined || values.length === 0 || values.some(holds)
}

/** Label filters: `key` or `key=value`, and unlike the others all of them must hold. */
export function passesLabels(
  filters: Filters,
  key: string,
  labels: Readonly<Record<string, string>> | null | undefined,
): boolean {
  return (filters.get(key) ?? []).every((wanted) => {
    const at = wanted.indexOf('=')
    const name = at === -1 ? wanted : wanted.slice(0, at)
    const value = labels !== null && labels !== undefined && Object.hasOwn(labels, name) ? labels[name] : undefined
    return value !== undefined && (at === -1 || value === wanted.slice(at + 1))
  })
}

function parse(text: string): object {
  try {
    const data: unknown = JSON.parse(text)
    if (typeof data === 'object' && data !== null && !Array.isArray(data)) return data
  } catch {
    // Not JSON: the same answer as for JSON of another shape.
  }
  throw fault('invalid', 'invalid filter: it must be a JSON map of lists')
}

function valuesOf(key: string, values: unknown): readonly string[] {
  if (Array.isArray(values) && values.every((value) => typeof value === 'string')) return values
  if (typeof values === 'object' && values !== null && !Array.isArray(values)) return Object.keys(values)
  throw fault('invalid', `invalid filter '${key}': its values must be a list of texts`)
}
