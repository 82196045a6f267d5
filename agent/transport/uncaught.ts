/**
 * Which errors that nobody caught are libp2p's own and harmless: a write or a drain on a stream whose other end went away a moment earlier
 * (ecosystem.md 2, trap 22; js-libp2p #3415, #3512). main.ts logs these and goes on; every other one ends the process.
 */
const harmless: ReadonlySet<string> = new Set([
  'StreamStateError',
  'StreamClosedError',
  'StreamResetError',
  'StreamAbortedError',
  'ConnectionClosedError',
  'MuxerClosedError',
])

export function isLateStreamError(error: unknown): boolean {
  return error instanceof Error && harmless.has(error.name)
}
