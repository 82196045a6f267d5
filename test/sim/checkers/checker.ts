// What a checker is: one promise of design.md, watched from outside. A checker knows the truth of the world and what nodes show; it repeats no
// decision of theirs, or it would repeat their mistakes.
import type { Cluster } from '../cluster.ts'
import type { Operator } from '../operator.ts'
import type { Truth } from '../truth.ts'
import type { Machine } from '../world/machine.ts'
import type { Told } from '../world/world.ts'

export interface Watched {
  readonly cluster: Cluster
  readonly truth: Truth
  readonly operator: Operator
}

export interface Breach {
  /** The promise, as a sentence. */
  readonly promise: string
  /** What was seen instead. */
  readonly seen: string
  readonly machines: readonly Machine[]
}

export interface Checker {
  readonly promise: string
  /** At each happening: must hold always. */
  onTold?(told: Told): void
  /** Every 250 ms of virtual time: must hold always. */
  always?(): Finding | undefined
  /** After healing: must come to hold, and then all at once with those of the others. */
  finally?(): Finding | undefined
}

export interface Finding {
  readonly seen: string
  readonly machines: readonly Machine[]
}

export function finding(seen: string, machines: readonly (Machine | undefined)[] = []): Finding {
  return { seen, machines: machines.flatMap((machine) => machine ?? []) }
}

/** Thrown by a checker's `onTold`. */
export class Broken extends Error {
  readonly breach: Breach

  constructor(breach: Breach) {
    super(`${breach.promise}: ${breach.seen}`)
    this.name = 'Broken'
    this.breach = breach
  }
}
