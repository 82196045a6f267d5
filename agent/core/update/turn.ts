/**
 * Whose turn it is in an update: one slot after another, each healthy before the next (issue 2, item 4).
 *
 * A pure reading of the slots, so nobody drives an update and none is lost with a node. A slot that does not run goes first, for the
 * update may be its cure; while any slot is on its way, no other starts. A slot that fits nowhere holds up nobody, but one that
 * the update itself emptied in vain holds up all: a service must not go down slot by slot for a program that is not there.
 */
import type { Slot } from '../../../protocol/ids.ts'
import { compareSlots } from '../placement/order.ts'

export interface SlotProgress {
  readonly slot: Slot
  /** Must be replaced by a task of the present template, or one with an address of its own. */
  readonly outdated: boolean
  /** 'running' is healthy; 'starting' is everything before. */
  readonly holder: 'none' | 'starting' | 'running'
  /** Without a holder, and a task is to come: neither ended for good nor without a suitable node from the start. */
  readonly awaited: boolean
  /** A takeover is under way. */
  readonly takeover: boolean
}

/** The slot that may be replaced now. */
export function updateTurn(slots: readonly SlotProgress[]): Slot | undefined {
  const underWay = slots.find((s) => s.takeover && s.outdated)
  if (underWay !== undefined) return underWay.slot
  const busy = slots.some((s) => s.awaited || s.takeover || (!s.outdated && s.holder === 'starting'))
  if (busy) return undefined
  const waiting = slots.filter((s) => s.outdated)
  waiting.sort(
    (a, b) => Number(a.holder === 'running') - Number(b.holder === 'running') || compareSlots(a.slot, b.slot),
  )
  return waiting[0]?.slot
}
