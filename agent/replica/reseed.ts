/**
 * What a node that was away beyond the limit must let go before it contributes (design.md 3, must re-seed). Decides only.
 */
import { type Digest, type Dots, spokenFor } from '../../protocol/digest.ts'
import type { Author, ServiceValue, StateRecord } from '../../protocol/model.ts'
import { contains, noRanges, type Ranges, subtract } from '../../protocol/ranges.ts'
import { authorKey, recordKey } from '../../protocol/record.ts'

/**
 * Keys that must go in a re-seed: what the holder knew and no longer has, and what was changed meanwhile though the holder knew it and no longer has
 * it. What was made while away, here or by others on this side, is kept and contributed.
 */
export function strayKeys(
  records: ReadonlyMap<string, StateRecord>,
  holder: { readonly theirs: Digest; readonly seen: readonly StateRecord[] },
): readonly string[] {
  const known = spokenFor(holder.theirs)
  const dots = new Set(holder.seen.map(dotOf))
  const keys = new Set(holder.seen.map(recordKey))
  const isKnown = (author: Author, seq: number) => contains(known.get(authorKey(author)) ?? noRanges, seq)
  return [...records]
    .filter(([key, record]) => {
      if (isKnown(record.author, record.seq)) return !dots.has(dotOf(record))
      const created = createdDotOf(record)
      return !keys.has(key) && created !== undefined && isKnown(created, created.seq)
    })
    .map(([key]) => key)
}

/**
 * Numbers taken in by a re-seed in which nothing is live: among them are the tombstones that the holder let go, and it cannot tell which. Who
 * lacks one of them may hold what it deleted.
 */
export function emptyDots(theirs: Digest, seen: readonly StateRecord[], before: Digest): Dots {
  const dots = new Map<string, Ranges>()
  for (const [author, known] of spokenFor(theirs)) {
    const live = seen.filter((record) => authorKey(record.author) === author).map(({ seq }) => seq)
    const taken = subtract(known, before.get(author)?.covered ?? noRanges)
    const empty = live.sort((a, b) => a - b).reduce<Ranges>((rest, seq) => subtract(rest, [[seq, seq]]), taken)
    if (empty.length > 0) dots.set(author, empty)
  }
  return dots
}

function dotOf(record: StateRecord): string {
  return `${authorKey(record.author)}#${record.seq}`
}

/** Of what was changed. Only services change after they were made; one that never did is told by its own dot. */
function createdDotOf({ kind, value }: StateRecord): ServiceValue['createdDot'] {
  return kind === 'service' && value !== null ? (value as ServiceValue).createdDot : undefined
}
