/**
 * Rebuilds the state from the journal's entries. The own journal is exempt from the clock rules, and from nothing else: a record that no
 * longer fits (an older agent reads a newer one's journal) is left out and not covered, so the members send it again after an upgrade.
 */
import type { NodeId } from '../../protocol/ids.ts'
import type { Scope } from '../../protocol/model.ts'
import { parseRanges, type Ranges } from '../../protocol/ranges.ts'
import { parseRecord } from '../../protocol/record.ts'
import type { Entry } from '../view.ts'
import type { Sequences } from './sequences.ts'
import type { Store } from './store.ts'

export interface ReplayOptions {
  readonly self: NodeId
  readonly store: Store
  readonly sequences: Sequences
}

/** Entries are this node's own words, behind a checksum: their forms are trusted, records are not. */
export function replay(entry: Entry, { self, store, sequences }: ReplayOptions): void {
  const [what, scope, ...rest] = entry as readonly [string, Scope, ...unknown[]]
  switch (what) {
    case 'log':
      sequences.restart(scope)
      return
    case 'seq':
      sequences.restore(scope, rest[0] as number)
      return
    case 'hold':
      store.hold(scope)
      return
    case 'drop':
      store.drop(scope)
      return
    case 'rec': {
      const parsed = parseRecord(scope, rest[0])
      if (parsed.kind !== 'record') return
      const { author, seq } = parsed.record
      if (author.node === self && author.log === sequences.log && seq > sequences.issued(scope))
        sequences.restore(scope, seq)
      store.take(parsed.record)
      return
    }
    case 'cov':
      store.cover(scope, new Map([[rest[0] as string, rangesOf(rest[1])]]))
      return
    case 'gone':
      store.discard(scope, rest[0] as readonly string[])
      return
    case 'uncover':
      store.uncover(scope, rest[0] as string, rest[1] as number)
      return
    case 'collect':
      store.collect(scope, rest[0] as readonly string[])
      return
    case 'deleted':
      store.rememberDeleted(rest[0] as readonly string[])
      return
    case 'collected':
      store.scopes.get(scope)?.addCollected(rest[0] as string, rangesOf(rest[1]))
  }
}

function rangesOf(flat: unknown): Ranges {
  return parseRanges(flat as readonly number[]) ?? []
}
