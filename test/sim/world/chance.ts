// Chance from a seed. Each part of the world draws from a stream of its own, so that one more draw in one part does not change all others.
import type { Random } from '../../../agent/world.ts'

export interface Chance extends Random {
  /** A number in [from, to). */
  between(from: number, to: number): number
  /** An integer in [from, to]. */
  integer(from: number, to: number): number
  one(probability: number): boolean
  pick<T>(items: readonly T[]): T
  shuffled<T>(items: readonly T[]): readonly T[]
  /** Another stream, told apart by its name. */
  stream(name: string): Chance
}

export function createChance(seed: number): Chance {
  let state = mix(seed)

  /** Mulberry32: 32 bits of state are enough for worlds that live for an hour. */
  function next(): number {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }

  const integer = (from: number, to: number) => from + Math.floor(next() * (to - from + 1))

  return {
    next,
    bytes: (length) => Uint8Array.from({ length }, () => integer(0, 255)),
    between: (from, to) => from + next() * (to - from),
    integer,
    one: (probability) => next() < probability,
    pick: (items) => items[integer(0, items.length - 1)]!,
    shuffled(items) {
      const out = [...items]
      for (let i = out.length - 1; i > 0; i--) {
        const j = integer(0, i)
        const item = out[i]!
        out[i] = out[j]!
        out[j] = item
      }
      return out
    },
    stream: (name) => createChance(hash(name) ^ seed),
  }
}

function mix(seed: number): number {
  return Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ (seed >>> 13)
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193)
  return value
}
