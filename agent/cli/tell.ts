/** Prints a fault for a person: the message, then the fix. */
import type { Fault } from '../fault.ts'
import type { Io } from './io.ts'
import { paint } from './paint.ts'

export function tellFault(fault: Fault, io: Pick<Io, 'err' | 'env'>): void {
  io.err.write(`${paint(io.err, io.env, 'red', fault.message)}\n${fault.fix === undefined ? '' : `${fault.fix}\n`}`)
}
