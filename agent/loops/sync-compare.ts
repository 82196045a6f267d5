/** What one side of an exchange makes of the other's digest, and of what it was sent (sync.ts). Decides only. */
import { type Digest, type Dots, spokenFor, subtractDots } from '../../protocol/digest.ts'
import type { Scope, StateRecord } from '../../protocol/model.ts'
import { contains, noRanges } from '../../protocol/ranges.ts'
import { authorKey } from '../../protocol/record.ts'
import type { ReplicatedView } from '../view.ts'

/** Whether the other lacks tombstones that are gone here: it may hold what they deleted, and must re-seed. */
export function lacksCollected(view: ReplicatedView, scope: Scope, theirs: Digest): boolean {
  return subtractDots(view.collected(scope), spokenFor(theirs)).size > 0
}

/**
 * Whether the other refuses a delete that is held here, as one whose clock is wrong does: it may still hold what was deleted, and change it
 * (seed 6 of the soak).
 */
export function refusesDelete(view: ReplicatedView, scope: Scope, theirs: Digest): boolean {
  return view.tombstones(scope).some(({ record }) => {
    const refused = theirs.get(authorKey(record.author))?.refused ?? noRanges
    return contains(refused, record.seq)
  })
}

/** Whether all of these is held here, or known to be replaced: none was refused, and for none was there no room. */
export function hasTaken(view: ReplicatedView, scope: Scope, records: readonly StateRecord[]): boolean {
  const digest = view.digest(scope)
  return records.every(({ author, seq }) => contains(digest.get(authorKey(author))?.covered ?? noRanges, seq))
}

/** What of an answer was asked for: a member may not speak for more. */
export function within(spoken: Dots, asked: Dots): Dots {
  return subtractDots(asked, subtractDots(asked, spoken))
}
