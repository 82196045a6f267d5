/**
 * Turns what a client sent into a spec, or into a sentence that names the field that is wrong.
 *
 * Go clients write `null` for what is absent, and Docker's daemon reads field names in any case; of the latter only `HealthCheck` is in
 * use (swagger.yaml spells it so, Docker's own client `Healthcheck`). Both are evened out here, so specs are stored in one form.
 */
import type { z } from 'zod'
import { type Fault, fault } from '../../fault.ts'

/** Docker's specs nest 6 deep; 40 leaves room, and keeps hostile bodies from exhausting the stack. */
const depthMax = 40

export function readSpec<S extends z.ZodType>(schema: S, what: string, raw: unknown): z.infer<S> | Fault {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) return invalid(`the ${what} must be a JSON object`)
  const clean = withoutNulls(raw, 0)
  if (clean === tooDeep) return invalid(`the ${what} is nested deeper than ${depthMax} levels`)
  const parsed = schema.safeParse(clean)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const field = issue === undefined || issue.path.length === 0 ? what : issue.path.join('.')
  return invalid(`${field} is not valid: ${issue?.message ?? 'wrong type'}`)
}

/** A fault of the request itself: 400. */
export function invalid(sentence: string, fix?: string): Fault {
  return fault('invalid', sentence, fix)
}

const tooDeep = Symbol('too deep')

function withoutNulls(data: unknown, depth: number): unknown {
  if (typeof data !== 'object' || data === null) return data
  if (depth > depthMax) return tooDeep
  if (Array.isArray(data)) {
    const items = data.map((item) => withoutNulls(item, depth + 1))
    return items.includes(tooDeep) ? tooDeep : items
  }
  const entries: [string, unknown][] = []
  for (const [key, value] of Object.entries(data)) {
    if (value === null) continue
    const clean = withoutNulls(value, depth + 1)
    if (clean === tooDeep) return tooDeep
    entries.push([key === 'HealthCheck' ? 'Healthcheck' : key, clean])
  }
  return Object.fromEntries(entries)
}
