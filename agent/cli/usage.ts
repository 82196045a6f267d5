/**
 * A wrong command line: told like any fault (message, then fix), but ends with exit code 125, as Docker's usage errors do.
 *
 * It never leaves the CLI. What the API refuses is an ordinary fault and ends with 1.
 */
import { Fault } from '../fault.ts'

export class UsageFault extends Fault {
  constructor(message: string, fix?: string) {
    super('invalid', message, fix === undefined ? {} : { fix })
    this.name = 'UsageFault'
  }
}

/** Makes one; `throw usage('"--replicas" takes a whole number, not "x"')`. */
export function usage(message: string, fix?: string): UsageFault {
  return new UsageFault(message, fix)
}

/** Throws, where an expression is wanted: `read(text) ?? raise(usage(…))`. */
export function raise(error: Error): never {
  throw error
}

/** Exit codes that scripts may lean on. */
export const exit = {
  ok: 0,
  /** The command was understood and did not do it. */
  error: 1,
  /** `vine status` without an agent, `vine resolve` of a name that is not there. */
  special: 2,
  /** The command line is wrong. */
  usage: 125,
} as const
