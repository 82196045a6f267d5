/**
 * The form of a stored log line, `<wall ms> <o|e> <bytes>`, and what is read out of it. Programs write what they like: bytes that are not
 * UTF-8 show as replacement characters, and a line that is not of this form (cut by a full disk) is left out.
 */
import { closeSync, openSync, readSync, statSync } from 'node:fs'
import type { TaskId } from '../../../protocol/ids.ts'
import type { LogLine } from '../../world.ts'

/** Reads one stored line, given as latin1. */
export function parseLine(task: TaskId, stored: string): LogLine | undefined {
  const found = /^(\d{1,15}) ([oe]) /.exec(stored)
  if (found === null) return undefined
  return {
    task,
    stream: found[2] === 'o' ? 'stdout' : 'stderr',
    atMs: Number(found[1]),
    text: Buffer.from(stored.slice(found[0].length), 'latin1').toString('utf8').replace(/\r$/, ''),
  }
}

/** One line of bytes (as latin1) for a table: at most 200 characters, without escape sequences, control characters or outer blanks. */
export function cleanLine(line: string): string {
  return Buffer.from(line, 'latin1')
    .toString('utf8')
    .replace(ESCAPES, '')
    .replace(/\p{C}/gu, ' ')
    .trim()
    .slice(0, LAST_LINE_CHARACTERS)
}

/**
 * The last of these lines that is not empty, cleaned. Node ends its report of an error that nobody caught with its own version, below the
 * stack and the error's fields: there it is the line of the error itself.
 */
export function tellingLine(lines: readonly string[]): string {
  const last = cleanLine(lines.findLast((line) => cleanLine(line) !== '') ?? '')
  if (!/^Node\.js v\d/.test(last)) return last
  const told = lines.findLast((line) => /^[^\s})\]-]/.test(line) && !/^Node\.js v\d|:\s*$/.test(line))
  return told === undefined ? last : cleanLine(told)
}

/** The telling line of stderr in the last 64 KB of a log, for a task that said nothing since this agent adopted it. */
export function lastLineOf(log: string): string {
  const stored = tailBytes(log, TAIL_BYTES).toString('latin1').split('\n')
  return tellingLine(stored.flatMap((line) => /^\d{1,15} e (.*)$/s.exec(line)?.[1] ?? []))
}

const LAST_LINE_CHARACTERS = 200
const TAIL_BYTES = 64 * 1024
/** ECMA-48 control sequences: colours, cursor. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const ESCAPES = /\x1b\[[0-?]*[ -/]*[@-~]/g

function tailBytes(file: string, length: number): Buffer {
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0
  if (size === 0) return Buffer.alloc(0)
  const handle = openSync(file, 'r')
  try {
    const bytes = Buffer.alloc(Math.min(length, size))
    return bytes.subarray(0, readSync(handle, bytes, 0, bytes.length, size - bytes.length))
  } finally {
    closeSync(handle)
  }
}
