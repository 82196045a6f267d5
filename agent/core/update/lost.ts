/**
 * Which slots an update emptied in vain: the task before it stopped for the present template, of which none came up since.
 *
 * The evidence travels in the claims of the slot (`updates`), since of its history only the last few records are kept. A slot that was empty before
 * the update says nothing of it.
 */
import type { TaskValue } from '../../../protocol/model.ts'
import { compareCreation } from '../placement/order.ts'
import type { Task } from '../placement/slots.ts'

/** Whether a claim of this template, in a slot with these records, follows a task that stopped for an update. */
export function followsUpdate(records: readonly Task[], template: string): boolean {
  const newest = records.reduce<Task | undefined>(
    (known, task) => (known === undefined || compareCreation(known, task) < 0 ? task : known),
    undefined,
  )?.value
  if (newest === undefined) return false
  return newest.updates === true || (newest.template !== template && newest.state === 'shutdown')
}

/** The next slot would be lost the same way. */
export function isLostToUpdate(records: readonly Task[], template: string): boolean {
  return records.some(({ value }) => value.updates === true && isVain(value, template))
}

/** This template was tried here and did not come up, or failed since. */
export function isVain({ template, state }: TaskValue, present: string): boolean {
  return template === present && (state === 'rejected' || state === 'failed')
}
