/**
 * What a node that was away beyond the limit must let go before it contributes (design.md 3, must re-seed). Decides only.
 */
import { type Digest, spokenFor } from '../../protocol/digest.ts'
import type { NodeId } from '../../protocol/ids.ts'
import type { StateRecord } from '../../protocol/model.ts'
import { contains, noRanges } from '../../protocol/ranges.ts'
import { authorKey, hasOneWriter, recordKey } from '../../protocol/record.ts'

/**
 * Keys that must go in a re-seed: what the holder knew and no longer has, and what was made elsewhere, changed here meanwhile, and is unknown
 * to the holder, who would have it if it had not been deleted. What this node made itself while away is kept and contributed.
 */
export function strayKeys(
  self: NodeId,
  records: ReadonlyMap<string, StateRecord>,
  holder: { readonly theirs: Digest; readonly seen: readonly StateRecord[] },
): readonly string[] {
  const known = spokenFor(holder.theirs)
  const dots = new Set(holder.seen.map(dotOf))
  const keys = new Set(holder.seen.map(recordKey))
  return [...records]
    .filter(([key, record]) => {
      if (contains(known.get(authorKey(record.author)) ?? noRanges, record.seq)) return !dots.has(dotOf(record))
      if (keys.has(key) || hasOneWriter(record.kind) || record.kind === 'removal') return false
      return creatorOf(record) !== self
    })
    .map(([key]) => key)
}

function dotOf(record: StateRecord): string {
  return `${authorKey(record.author)}#${record.seq}`
}

function creatorOf(record: StateRecord): NodeId | undefined {
  const value = record.value as { readonly created?: { readonly node: NodeId } } | null
  return value?.created?.node
}
