/**
 * Maglev's table: maps a client to one of several endpoints, alike on every node that knows the same endpoints.
 *
 * When one endpoint goes, its clients are spread over the others and nearly all other clients stay (Eisenbud et al., "Maglev", NSDI 2016,
 * section 3.4). The table depends on the names alone, not on their order.
 */

import { clientPlace } from './client-place.ts'

/**
 * Places for each endpoint, at least: then at most 4 % of the other clients move on average when one endpoint goes, and 10 % in the worst case seen
 * (lessons.md 2.7, test/unit/routes/maglev.test.ts). More would move fewer, but every place is an element in every node's kernel: 6 us of nft's CPU for each, whenever the table is written whole.
 */
const placesEach = 50
/** Primes. The steps are wide, since nearly all clients move when the size does: with the 11th, 41st, 164th and 655th endpoint. */
const sizes = [509, 2_039, 8_191, 32_749, 131_071]

export interface MaglevTable {
  /** Sorted. */
  readonly names: readonly string[]
  /** Index into `names` by place. Empty without names. */
  readonly places: Uint16Array
}

/** At most 2,621 names keep their places; beyond that the spread is coarser, never wrong. */
export function maglevTable(unsorted: readonly string[]): MaglevTable {
  const names = [...new Set(unsorted)].sort()
  if (names.length === 0) return { names, places: new Uint16Array(0) }
  const size = sizes.find((prime) => prime >= names.length * placesEach) ?? sizes.at(-1)!
  const places = new Uint16Array(size)
  const taken = new Uint8Array(size)
  const offset = names.map((name) => hash32(`offset ${name}`) % size)
  const skip = names.map((name) => (hash32(`skip ${name}`) % (size - 1)) + 1)
  const at = [...offset]
  for (let filled = 0; filled < size; ) {
    for (let index = 0; index < names.length && filled < size; index++) {
      while (taken[at[index]!] === 1) at[index] = (at[index]! + skip[index]!) % size
      const place = at[index]!
      taken[place] = 1
      places[place] = index
      filled++
    }
  }
  return { names, places }
}

/**
 * The names in the order in which this client should try them: its own place, then the places behind it. `accepts` says which may be used
 * now; undefined when none may.
 */
export function maglevPick(table: MaglevTable, client: string, accepts: (name: string) => boolean): string | undefined {
  const { names, places } = table
  const refused = new Set<number>()
  const start = clientPlace(client, places.length) ?? hash32(client) % Math.max(places.length, 1)
  for (let step = 0; step < places.length && refused.size < names.length; step++) {
    const index = places[(start + step) % places.length]!
    if (refused.has(index)) continue
    if (accepts(names[index]!)) return names[index]
    refused.add(index)
  }
  return undefined
}

/** FNV-1a, 32 bits, with Murmur3's final mix: FNV alone keeps neighbouring addresses neighbours. */
export function hash32(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
