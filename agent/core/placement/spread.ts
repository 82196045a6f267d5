/**
 * Placement preferences: `spread=node.labels.rack`, several levels in order (swarmkit scheduler/nodeset.go, a decision tree).
 *
 * Counts slots of one service per group and level. Nodes without the label are a group of their own, as in Swarm.
 */
import type { Member } from '../view.ts'
import { attribute } from './constraints.ts'

export class Spread {
  readonly #groups: readonly (readonly string[])[]
  readonly #counts: Map<string, number> = new Map()

  /** `members` in the order of node indexes. */
  constructor(descriptors: readonly string[], members: readonly Member[]) {
    this.#groups = descriptors.length === 0 ? [] : members.map((member) => groupsOf(descriptors, member))
  }

  add(node: number): void {
    for (const group of this.#groups[node] ?? []) this.#counts.set(group, (this.#counts.get(group) ?? 0) + 1)
  }

  /** Negative when `a` lies in the emptier branch at the first level where they part. */
  compare(a: number, b: number): number {
    const [ofA, ofB] = [this.#groups[a] ?? [], this.#groups[b] ?? []]
    for (let level = 0; level < ofA.length; level++) {
      const difference = (this.#counts.get(ofA[level] ?? '') ?? 0) - (this.#counts.get(ofB[level] ?? '') ?? 0)
      if (difference !== 0) return difference
    }
    return 0
  }
}

/** The path to the node through the tree: each level's group includes the levels above. */
function groupsOf(descriptors: readonly string[], member: Member): readonly string[] {
  let path = ''
  return descriptors.map((descriptor) => {
    path = `${path}\n${attribute(member, descriptor)}`
    return path
  })
}
