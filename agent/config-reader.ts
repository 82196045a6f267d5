/** Reads single settings from the first source that has them, and gathers what is wrong with any. */
import type { Check } from './config-values.ts'

/** Flag names without dashes -> value or values. The YAML file has the same keys. */
export type RawSettings = Readonly<Record<string, unknown>>

/** Where a value came from, for the message. */
export interface Source {
  readonly values: RawSettings
  readonly called: (key: string) => string
}

export interface Reader {
  one(key: string, check?: Check): string | undefined
  list(key: string, check?: Check): readonly string[]
  whole(key: string, min: number, max: number): number | undefined
  choice<T extends string>(key: string, of: readonly T[]): T | undefined
  /** What is wrong with several settings together. */
  problem(sentence: string): void
}

/** Reads a key from the first source that has it. A wrong value is reported and counts as absent. */
export function createReader(from: readonly Source[], problems: string[]): Reader {
  const find = (key: string) => from.find(({ values }) => values[key] !== undefined && values[key] !== null)
  const list = (key: string, check: Check = () => undefined): readonly string[] => {
    const source = find(key)
    if (source === undefined) return []
    return texts(source.values[key]).filter((value) => {
      const wrong = check(value)
      if (wrong !== undefined) problems.push(`${source.called(key)} "${value}" ${wrong}`)
      return wrong === undefined
    })
  }
  const one = (key: string, check?: Check) => list(key, check).at(-1)
  return {
    one,
    list,
    problem: (sentence) => void problems.push(sentence),
    whole(key, min, max) {
      const value = one(key, (text) =>
        /^\d+$/.test(text) && Number(text) >= min && Number(text) <= max
          ? undefined
          : `must be a whole number from ${min} to ${max}`,
      )
      return value === undefined ? undefined : Number(value)
    },
    choice<T extends string>(key: string, of: readonly T[]) {
      return one(key, (text) => (of.some((item) => item === text) ? undefined : `must be one of ${of.join(', ')}`)) as
        | T
        | undefined
    },
  }
}

/** A YAML list, a YAML map of labels, a flag given several times, or words with commas in an environment variable. */
function texts(value: unknown): readonly string[] {
  if (Array.isArray(value)) return value.map(String)
  if (typeof value === 'object' && value !== null) return Object.entries(value).map(([key, item]) => `${key}=${item}`)
  return String(value)
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}
