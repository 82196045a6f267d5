/**
 * Which HTTP status each kind of fault has, so that Docker's clients react as they do to Docker.
 *
 * Docker's own table is moby daemon/server/httpstatus: InvalidArgument and FailedPrecondition 400, AlreadyExists 409, and 500 for
 * "update out of sequence", which has no code of its own.
 */
import type { FaultCode } from '../fault.ts'

export const statusOf: Readonly<Record<FaultCode, number>> = {
  invalid: 400,
  'not-found': 404,
  conflict: 409,
  stale: 500,
  unavailable: 503,
  forbidden: 403,
  unsupported: 501,
  internal: 500,
  'program-missing': 400,
  'port-taken': 409,
  timeout: 504,
  'too-large': 413,
}
