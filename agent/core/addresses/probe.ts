/**
 * Candidates in a fixed order from a hash: what makes two nodes try the same address, port or block first (design.md 6).
 *
 * Open addressing by an odd step in a range of any size: every candidate comes exactly once, and two keys that meet once part again.
 */
import { hash32 } from '../placement/hash.ts'

/** The numbers 0..size-1, each once, in an order that the key decides. */
export function* probe(key: string, size: number): Generator<number> {
  if (size <= 0) return
  const start = hash32(key) % size
  const step = stepFor(hash32(`${key}/step`), size)
  for (let i = 0; i < size; i++) yield (start + i * step) % size
}

/** A step without a common divisor with the size reaches everything. */
function stepFor(hash: number, size: number): number {
  let step = 1 + (hash % size)
  while (divisor(step, size) !== 1) step++
  return step
}

function divisor(a: number, b: number): number {
  return b === 0 ? a : divisor(b, a % b)
}
