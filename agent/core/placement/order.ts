/**
 * The orders that end disputes: who was first, which of two tasks keeps a slot, which slot comes first.
 *
 * All are total and made of fields that never change, so that every node settles a dispute the same way at any time (design.md 5, 6).
 */
import { compareVersions, type Version } from '../../../protocol/hlc.ts'
import type { Slot } from '../../../protocol/ids.ts'
import type { TaskValue } from '../../../protocol/model.ts'
import type { Stamped } from '../view.ts'

/** Earlier creation first, then the id: the claim that comes first here is the one that stands. */
export function compareCreation(a: Stamped<{ readonly created: Version }>, b: Stamped<{ readonly created: Version }>) {
  return compareVersions(a.value.created, b.value.created) || compareText(a.id, b.id)
}

/** Which of several tasks keeps a slot: newer generation, earlier creation, id. The first stays. */
export function compareDuplicates(a: Stamped<TaskValue>, b: Stamped<TaskValue>): number {
  return b.value.generation - a.value.generation || compareCreation(a, b)
}

/** Numbers by value, node ids (global services) by text. */
export function compareSlots(a: Slot, b: Slot): number {
  const byNumber = Number(a) - Number(b)
  return Number.isNaN(byNumber) || byNumber === 0 ? compareText(a, b) : byNumber
}

/** Order of code units, the same under every locale. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
