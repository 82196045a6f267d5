/**
 * Does one thing for each name on a command line: prints what succeeded, tells what failed, goes on, and ends with 1 if any failed.
 */
import { Fault } from '../fault.ts'
import type { Call } from './definition.ts'
import { tellFault } from './tell.ts'
import { exit } from './usage.ts'

export async function forEach(
  call: Call,
  names: readonly string[],
  act: (name: string) => Promise<void>,
): Promise<number> {
  let code: number = exit.ok
  for (const name of names) {
    try {
      await act(name)
    } catch (error) {
      // Without an agent the other names would only repeat the sentence.
      if (!(error instanceof Fault) || error.code === 'unavailable' || error.code === 'forbidden') throw error
      tellFault(error, call.io)
      code = exit.error
    }
  }
  return code
}
