/**
 * The one class of operating errors: what happened, and what to do. Matched by `code`, never by text.
 *
 * The API maps codes to status, the CLI prints the message and then the fix. Programmer errors are `assert`, expected outcomes are values;
 * neither belongs here. Makers of faults that one part alone raises live beside that part and call `fault`.
 */

/** invalid: the request is wrong (400). not-found (404). conflict: clashes with what exists (409). stale: update out of sequence (500 in
 * Docker, kept). unavailable: cannot now, later perhaps (503). forbidden (403). unsupported: never here (501). internal (500).
 * too-large: more bytes than a bound of limits.ts (413). */
export type FaultCode =
  | 'invalid'
  | 'not-found'
  | 'conflict'
  | 'stale'
  | 'unavailable'
  | 'forbidden'
  | 'unsupported'
  | 'internal'
  | 'program-missing'
  | 'port-taken'
  | 'timeout'
  | 'too-large'

export class Fault extends Error {
  readonly code: FaultCode
  /** One sentence that tells the reader what to do, or undefined where nothing can be done. */
  readonly fix: string | undefined

  constructor(code: FaultCode, message: string, options: { fix?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'Fault'
    this.code = code
    this.fix = options.fix
  }
}

/** Makes a fault; `throw fault('conflict', 'name "web" is in use', 'Choose another name')`. */
export function fault(code: FaultCode, message: string, fix?: string, cause?: unknown): Fault {
  return new Fault(code, message, { ...(fix === undefined ? {} : { fix }), ...(cause === undefined ? {} : { cause }) })
}

/** The text of any thrown thing, for logs and sentences. */
export function reasonOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}

/** Why an address could not be bound, from the words of whatever tried: those of the kernel, without settings and stacks of libraries. */
export function bindReason(text: string): string {
  if (text.includes('EADDRINUSE')) return 'the port is in use'
  if (text.includes('EADDRNOTAVAIL')) return 'this machine has no such address'
  if (text.includes('EACCES')) return 'it needs root, as ports below 1024 do'
  return text.split('\n')[0] ?? text
}

/** Stops the process's current work when a promise of the code to itself is broken. On in production. */
export function assert(condition: unknown, sentence: string): asserts condition {
  if (!condition) throw new Error(`broken invariant: ${sentence}`)
}
