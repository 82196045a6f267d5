/**
 * All records of one scope at one node, with the books about them: the part of replication that must be exactly right.
 *
 * Invariant: for every covered number that is not refused, this node holds, under the key of the write with that number, that write or one
 * that wins over it, or the key is void or a collected tombstone. So equal digests mean equal records. Holds no clock and does no IO; who may
 * write, and which clocks are believed, is decided before `merge`.
 */
import { packedLength } from './codec.ts'
import { authorsMax, type Coverage, type Digest, type Dots } from './digest.ts'
import type { NodeId } from './ids.ts'
import { compareWrites } from './merge.ts'
import type { Author, Scope, StateRecord } from './model.ts'
import { addRange, contains, intersect, noRanges, type Ranges, subtract, union } from './ranges.ts'
import { authorKey, authorOf, recordKey, toWire } from './record.ts'

export type Merged =
  | { readonly kind: 'won'; readonly before: StateRecord | undefined }
  | { readonly kind: 'lost'; readonly to: StateRecord }
  /** Its number was covered: seen, replaced or collected before. */
  | { readonly kind: 'known' }
  /** The author's log has too many holes here to remember one more; sync brings it in order. Or there are too many logs. */
  | { readonly kind: 'scattered' }

/** Records, and the numbers that these records speak for: in them nothing else is live. */
export interface Chunk {
  readonly records: readonly StateRecord[]
  readonly covered: Dots
}

interface AuthorBooks {
  covered: Ranges
  refused: Ranges
  /** Tombstones let go: who lacks one of these numbers may hold what it deleted, and must re-seed. */
  collected: Ranges
  /** Key of the record that carries each number. */
  readonly live: Map<number, string>
}

/** 4096 holes of one author: no honest loss comes near, and a hostile member gets no memory for more. */
const holesMax = 4096
/**
 * A log of which anything is covered is never forgotten, not even one that ended and in which nothing is live: whoever comes back with a record of
 * it, from a long absence or a backup, is told by its coverage here that the record is old. Forgotten, it would pass for new, and what was deleted
 * would return (reseed.ts). So a digest grows by one row, some 45 bytes, with each node that ever wrote and each journal that is lost: a power cut
 * that tears it, a disk, a copied directory. Foreign logs beyond this are not taken in, because a digest beyond `authorsMax` is read by nobody; the
 * rest is room for this node's own.
 */
const foreignLogsMax = authorsMax - 100
/**
 * Of one foreign node. A machine whose disk is set back at every start begins a log each time: beyond three years of daily starts it is no longer heard,
 * and takes nobody's room but its own.
 */
const logsPerNodeMax = 1000
/** Refusals open no log beyond half of the room: what is only refused is asked for again, what has no room is not heard. */
const refusedLogsMax = foreignLogsMax / 2

export interface ScopeState {
  readonly scope: Scope
  /** By `recordKey`; tombstones too. */
  readonly records: ReadonlyMap<string, StateRecord>
  merge(record: StateRecord): Merged
  cover(author: string, ranges: Ranges): void
  refuse(author: Author, seq: number): boolean
  /** Makes refused numbers missing again, to be asked for once more. Returns how many authors had some. */
  retryRefused(): number
  /** Forgets that numbers above `seq` of this log were seen, because they will come again with another content. */
  uncover(author: string, above: number): void
  covers(author: string, seq: number): boolean
  digest(): Digest
  /** Live records among `wants`, lowest numbers first, at most about `bytesMax` of them but at least one. */
  delta(wants: Dots, bytesMax: number): Chunk
  /** Takes a record out; its number stays covered. */
  discard(key: string): StateRecord | undefined
  /** Lets a tombstone go. */
  collect(key: string): void
  collected(): Dots
  addCollected(author: string, ranges: Ranges): void
}

/** `self`: whose logs are always taken in. */
export function createScopeState(scope: Scope, self?: NodeId): ScopeState {
  const records = new Map<string, StateRecord>()
  const authors = new Map<string, AuthorBooks>()
  const logsOf = new Map<NodeId, number>()

  /** Undefined for one log too many. */
  function books(author: string, logsMax = foreignLogsMax): AuthorBooks | undefined {
    const found = authors.get(author)
    if (found !== undefined) return found
    const { node } = authorOf(author)
    const logs = logsOf.get(node) ?? 0
    if (node !== self && (authors.size >= logsMax || logs >= logsPerNodeMax)) return undefined
    const opened = { covered: noRanges, refused: noRanges, collected: noRanges, live: new Map() }
    authors.set(author, opened)
    logsOf.set(node, logs + 1)
    return opened
  }

  /** Books in which nothing stands say what no books say. */
  function closeEmpty(author: string, { covered, refused, collected, live }: AuthorBooks): void {
    if (covered.length + refused.length + collected.length + live.size > 0) return
    authors.delete(author)
    const { node } = authorOf(author)
    const left = (logsOf.get(node) ?? 0) - 1
    if (left > 0) logsOf.set(node, left)
    else logsOf.delete(node)
  }

  function merge(record: StateRecord): Merged {
    const author = authorKey(record.author)
    const own = books(author)
    if (own === undefined) return { kind: 'scattered' }
    if (contains(own.covered, record.seq)) return { kind: 'known' }
    if (own.covered.length >= holesMax && !isAdjacent(own.covered, record.seq)) return { kind: 'scattered' }
    own.covered = addRange(own.covered, record.seq, record.seq)
    own.refused = subtract(own.refused, [[record.seq, record.seq]])
    const key = recordKey(record)
    const held = records.get(key)
    if (held !== undefined && compareWrites(record, held) < 0) return { kind: 'lost', to: held }
    if (held !== undefined) authors.get(authorKey(held.author))?.live.delete(held.seq)
    records.set(key, record)
    own.live.set(record.seq, key)
    return { kind: 'won', before: held }
  }

  function discard(key: string): StateRecord | undefined {
    const held = records.get(key)
    if (held === undefined) return undefined
    authors.get(authorKey(held.author))?.live.delete(held.seq)
    records.delete(key)
    return held
  }

  return {
    scope,
    records,
    merge,
    discard,
    cover(author, ranges) {
      const own = books(author)
      if (own === undefined) return
      own.covered = union(own.covered, ranges)
      own.refused = subtract(own.refused, ranges)
    },
    refuse(author, seq) {
      const own = books(authorKey(author), refusedLogsMax)
      if (
        own === undefined ||
        contains(own.covered, seq) ||
        contains(own.refused, seq) ||
        own.refused.length >= holesMax
      )
        return false
      own.refused = addRange(own.refused, seq, seq)
      return true
    },
    retryRefused() {
      let retried = 0
      for (const [author, own] of authors) {
        if (own.refused.length > 0) retried++
        own.refused = noRanges
        closeEmpty(author, own)
      }
      return retried
    },
    uncover(author, above) {
      const own = authors.get(author)
      if (own === undefined) return
      const gone: Ranges = [[above + 1, Number.MAX_SAFE_INTEGER]]
      own.covered = subtract(own.covered, gone)
      for (const [seq, key] of own.live) {
        if (seq > above) discard(key)
      }
      closeEmpty(author, own)
    },
    covers(author, seq) {
      return contains(authors.get(author)?.covered ?? noRanges, seq)
    },
    digest() {
      const out = new Map<string, Coverage>()
      for (const [author, { covered, refused }] of [...authors].sort(byName)) {
        if (covered.length + refused.length > 0) out.set(author, { covered, refused })
      }
      return out
    },
    delta(wants, bytesMax) {
      return cut(wants, bytesMax, records, authors)
    },
    collect(key) {
      const held = discard(key)
      if (held === undefined) return
      const own = books(authorKey(held.author)) as AuthorBooks
      own.collected = addRange(own.collected, held.seq, held.seq)
    },
    collected() {
      const out = new Map<string, Ranges>()
      for (const [author, own] of [...authors].sort(byName)) {
        if (own.collected.length > 0) out.set(author, own.collected)
      }
      return out
    },
    addCollected(author, ranges) {
      const own = books(author)
      if (own !== undefined) own.collected = union(own.collected, ranges)
    },
  }
}

function cut(
  wants: Dots,
  bytesMax: number,
  records: ReadonlyMap<string, StateRecord>,
  authors: ReadonlyMap<string, AuthorBooks>,
): Chunk {
  const taken: StateRecord[] = []
  const covered = new Map<string, Ranges>()
  let bytes = 0
  for (const [author, wanted] of [...wants].sort(byName)) {
    const own = authors.get(author)
    if (own === undefined) continue
    const speakable = intersect(wanted, own.covered)
    for (const seq of liveIn(own, speakable)) {
      const record = records.get(own.live.get(seq) as string) as StateRecord
      const length = packedLength(toWire(record))
      if (bytes > 0 && bytes + length > bytesMax) {
        const before = intersect(speakable, [[1, seq - 1]])
        if (before.length > 0) covered.set(author, before)
        return { records: taken, covered }
      }
      bytes += length
      taken.push(record)
    }
    if (speakable.length > 0) covered.set(author, speakable)
  }
  return { records: taken, covered }
}

/** Numbers in `ranges` that a record carries, ascending: by number where the ranges are short, by record where they are long. */
function liveIn(own: AuthorBooks, ranges: Ranges): readonly number[] {
  const span = ranges.reduce((sum, [from, to]) => sum + to - from + 1, 0)
  if (span > own.live.size) return [...own.live.keys()].filter((seq) => contains(ranges, seq)).sort((a, b) => a - b)
  const out: number[] = []
  for (const [from, to] of ranges) {
    for (let seq = from; seq <= to; seq++) if (own.live.has(seq)) out.push(seq)
  }
  return out
}

function isAdjacent(ranges: Ranges, seq: number): boolean {
  return contains(ranges, seq - 1) || contains(ranges, seq + 1)
}

function byName(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0
}
