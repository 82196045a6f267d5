/**
 * Digests: what a node has taken in of one scope, by author, and the form they travel in (design.md 3; Corrosion's bookkeeping).
 *
 * A digest is `author -> covered, refused`, two disjoint sets. Covered numbers are those whose write is held here or known to be replaced;
 * head and gaps are the two ends of the same ranges. Refused ones are not asked for again, but the node cannot speak for them to others.
 */
import { z } from 'zod'
import { atMost, countOf, flatten, noRanges, parseRanges, type Ranges, subtract, union } from './ranges.ts'
import { authorKey, authorOf } from './record.ts'

export interface Coverage {
  readonly covered: Ranges
  readonly refused: Ranges
}

/** By `authorKey`. */
export type Digest = ReadonlyMap<string, Coverage>
/** Numbers by `authorKey`: what is asked for, or what an answer speaks for. */
export type Dots = ReadonlyMap<string, Ranges>

const noCoverage: Coverage = { covered: noRanges, refused: noRanges }
/** 500 ranges of one author: what a node is after losing every other of 1000 messages. */
const rangesMax = 500
/** Logs of one scope: 1000 nodes that each lost their journal several times. A longer digest is refused whole. */
export const authorsMax = 8000

/** What `theirs` could give that `ours` lacks. */
export function missing(ours: Digest, theirs: Digest): Dots {
  const out = new Map<string, Ranges>()
  for (const [author, their] of theirs) {
    const our = ours.get(author) ?? noCoverage
    const lacking = subtract(subtract(their.covered, our.covered), our.refused)
    if (lacking.length > 0) out.set(author, lacking)
  }
  return out
}

export function countDots(dots: Dots): number {
  let sum = 0
  for (const ranges of dots.values()) sum += countOf(ranges)
  return sum
}

export function uniteDots(a: Dots, b: Dots): Dots {
  const out = new Map(a)
  for (const [author, ranges] of b) out.set(author, union(out.get(author) ?? noRanges, ranges))
  return out
}

export function subtractDots(a: Dots, b: Dots): Dots {
  const out = new Map<string, Ranges>()
  for (const [author, ranges] of a) {
    const rest = subtract(ranges, b.get(author) ?? noRanges)
    if (rest.length > 0) out.set(author, rest)
  }
  return out
}

/** What the node of this digest can speak for. */
export function spokenFor(digest: Digest): Dots {
  return new Map([...digest].map(([author, { covered }]) => [author, covered]))
}

const flatRanges = z
  .array(z.number())
  .max(2 * rangesMax)
  .transform((flat, context) => {
    const ranges = parseRanges(flat)
    if (ranges === undefined) context.addIssue('not a set of ranges')
    return ranges ?? noRanges
  })
const node = z.string().min(1).max(64)
const log = z.string().min(1).max(64)

export const digestSchema = z
  .array(z.tuple([node, log, flatRanges, flatRanges]))
  .max(authorsMax)
  .transform(
    (rows): Digest =>
      new Map(rows.map(([node, log, covered, refused]) => [authorKey({ node, log }), { covered, refused }])),
  )

export const dotsSchema = z
  .array(z.tuple([node, log, flatRanges]))
  .max(authorsMax)
  .transform((rows): Dots => new Map(rows.map(([node, log, ranges]) => [authorKey({ node, log }), ranges])))

export function digestToWire(digest: Digest): unknown {
  return [...digest].map(([key, { covered, refused }]) => {
    const author = authorOf(key)
    return [author.node, author.log, flatten(atMost(covered, rangesMax)), flatten(atMost(refused, rangesMax))]
  })
}

export function dotsToWire(dots: Dots): unknown {
  return [...dots].map(([key, ranges]) => {
    const author = authorOf(key)
    return [author.node, author.log, flatten(atMost(ranges, rangesMax))]
  })
}
