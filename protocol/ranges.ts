/**
 * Sets of sequence numbers as sorted, disjoint, non-adjacent ranges: the arithmetic under digests.
 *
 * Values are immutable, so two holders may share one. Every function takes and gives the canonical form; `parseRanges` makes it of
 * what came from the net.
 */

/** From first to last, both included, from 1. */
export type Range = readonly [number, number]
export type Ranges = readonly Range[]

export const noRanges: Ranges = []

export function contains(ranges: Ranges, seq: number): boolean {
  const range = ranges[indexAtOrAfter(ranges, seq)]
  return range !== undefined && range[0] <= seq
}

/** With one more range. The common case, the number after the last one, costs one small copy. */
export function addRange(ranges: Ranges, from: number, to: number): Ranges {
  const last = ranges.at(-1)
  if (last === undefined) return [[from, to]]
  if (from > last[1] + 1) return [...ranges, [from, to]]
  if (from >= last[0]) return to <= last[1] ? ranges : [...ranges.slice(0, -1), [last[0], to]]
  return union(ranges, [[from, to]])
}

export function union(a: Ranges, b: Ranges): Ranges {
  if (a.length === 0) return b
  if (b.length === 0) return a
  const all = [...a, ...b].sort((x, y) => x[0] - y[0])
  const out: [number, number][] = []
  for (const [from, to] of all) {
    const last = out.at(-1)
    if (last !== undefined && from <= last[1] + 1) last[1] = Math.max(last[1], to)
    else out.push([from, to])
  }
  return out
}

/** What is in `a` and not in `b`. */
export function subtract(a: Ranges, b: Ranges): Ranges {
  if (a.length === 0 || b.length === 0) return a
  const out: Range[] = []
  for (const [from, to] of a) {
    let next = from
    for (let i = indexAtOrAfter(b, from); i < b.length; i++) {
      const [cutFrom, cutTo] = b[i]!
      if (cutFrom > to) break
      if (cutFrom > next) out.push([next, cutFrom - 1])
      next = cutTo + 1
    }
    if (next <= to) out.push([next, to])
  }
  return out
}

export function intersect(a: Ranges, b: Ranges): Ranges {
  return subtract(a, subtract(a, b))
}

/** How many numbers are in the set. */
export function countOf(ranges: Ranges): number {
  return ranges.reduce((sum, [from, to]) => sum + to - from + 1, 0)
}

export function highest(ranges: Ranges): number {
  return ranges.at(-1)?.[1] ?? 0
}

/**
 * At most `max` ranges, by forgetting the highest, which are the short ones. For sets where claiming less than is true is safe, as
 * coverage is: what is not claimed is sent once more.
 */
export function atMost(ranges: Ranges, max: number): Ranges {
  return ranges.length <= max ? ranges : ranges.slice(0, max)
}

/** `[from, to, from, to, …]`, as it travels. */
export function flatten(ranges: Ranges): number[] {
  return ranges.flat()
}

/** Undefined unless it is the canonical form of a set. */
export function parseRanges(flat: readonly number[]): Ranges | undefined {
  if (flat.length % 2 !== 0) return undefined
  const out: Range[] = []
  let before = -1
  for (let i = 0; i < flat.length; i += 2) {
    const from = flat[i]!
    const to = flat[i + 1]!
    if (from < 1 || from <= before + 1 || to < from || !Number.isSafeInteger(from) || !Number.isSafeInteger(to))
      return undefined
    out.push([from, to])
    before = to
  }
  return out
}

/** Index of the first range that ends at or after `seq`; `ranges.length` if none does. */
function indexAtOrAfter(ranges: Ranges, seq: number): number {
  let low = 0
  let high = ranges.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (ranges[middle]![1] < seq) low = middle + 1
    else high = middle
  }
  return low
}
