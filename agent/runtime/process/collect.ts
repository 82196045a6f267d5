/**
 * Keeps the log of one task: moves what the program writes from its spool files (spool.ts) to a log of stamped lines, and bounds it.
 *
 * The program writes to plain files, so it never waits for the agent, nor dies with it. A line bears the time at which it was first seen here, or the
 * file's last change when that is earlier (after an absence of the agent). One call never stalls the event loop for more than some milliseconds.
 *
 * Bounds for one task: `log` and `log.1` of LOG_BYTES each, and each spool about 4 MB plus what is written between two looks. While no agent runs, a
 * spool grows without bound; of one above 4 MB the next agent keeps the last 512 KB.
 */
import {
  appendFileSync,
  closeSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  statSync,
  unlink,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Cancel, LogLine } from '../../world.ts'
import { lastLineOf, tellingLine } from './lines.ts'
import { openSpool, type Spool, take } from './spool.ts'

/** 10 MB: some hundred thousand lines; with the one before, what a person scrolls through at most. */
export const LOG_BYTES = 10 * 1024 * 1024
/** Size of the file `cursor`, which exists from the start and is written in place: a full disk must not lose it. */
export const CURSOR_BYTES = 40

/** Lines of stderr kept for the one that tells why a task ended: a stack of Node's with the fields of its error fits. */
const ERROR_LINES = 40
/** 1 kB of each: five times what a table shows. */
const ERROR_BYTES = 1_000

export interface TaskLog {
  readonly dir: string
  /** Grows by one when `log` becomes `log.1`. */
  generation(): number
  /** Moves what is new, within the bound of one call. Throws when the disk takes no more: what is lost then is lost. */
  collect(): void
  /** Moves all there is, with a last line that has no end: the program has ended. */
  finish(): void
  /** The line of stderr that tells most of why the task ended (lines.ts, tellingLine). */
  lastLine(): string
  /** Called after lines were appended, and at the end. */
  onChange(listener: () => void): Cancel
  /** No line will follow: the task has ended, or nobody looks after it any more. */
  ended(): boolean
  close(): void
}

/** Opens the log of the task in `dir`, where an earlier agent may have left one. */
export function openTaskLog(dir: string, wall: () => number, onDropped: (bytes: number) => void): TaskLog {
  const log = join(dir, 'log')
  const cursor = join(dir, 'cursor')
  const spools = restore(dir, cursor)
  const listeners = new Set<() => void>()
  let generation = 0
  let size = mendTail(log)
  let errors: readonly string[] = []
  let ended = false

  function collect(final: boolean): boolean {
    const text = next(spools.stdout, 'stdout', final) + next(spools.stderr, 'stderr', final)
    if (text === '') return false
    writeFileSync(cursor, `${spools.stdout.offset} ${spools.stderr.offset} `.padEnd(CURSOR_BYTES), { flag: 'r+' })
    append(Buffer.from(text, 'latin1'))
    for (const listener of [...listeners]) listener()
    return true
  }

  function next(spool: Spool, stream: LogLine['stream'], final: boolean): string {
    const taken = take(spool, final)
    if (taken === undefined) return ''
    if (taken.dropped > 0) onDropped(taken.dropped)
    // After an absence of the agent the file's own time is nearer to the truth than now.
    const stamp = `${Math.floor(Math.min(wall(), taken.changedMs))} ${stream === 'stdout' ? 'o' : 'e'} `
    if (stream === 'stderr')
      errors = [...errors, ...taken.lines].slice(-ERROR_LINES).map((line) => line.slice(0, ERROR_BYTES))
    return taken.lines.map((line) => `${stamp}${line}\n`).join('')
  }

  function append(bytes: Buffer): void {
    if (size > 0 && size + bytes.length > LOG_BYTES) {
      renameSync(log, join(dir, 'log.1'))
      generation += 1
      size = 0
    }
    appendFileSync(log, bytes, { mode: 0o600 })
    size += bytes.length
  }

  function close(): void {
    ended = true
    for (const listener of [...listeners]) listener()
  }

  return {
    dir,
    generation: () => generation,
    collect: () => void collect(false),
    finish() {
      try {
        while (collect(true)) {
          // A few rounds at most: what is too far ahead is dropped.
        }
        // All is in the log now. Off this thread, since a large file takes its time; a name that stays is removed with the task.
        for (const spool of Object.values(spools)) unlink(spool.file, () => undefined)
      } finally {
        close()
      }
    },
    lastLine: () => tellingLine(errors) || lastLineOf(log),
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    ended: () => ended,
    close,
  }
}

/** Where an earlier agent stopped. The cursor is written before the lines: a crash between the two loses a few, and doubles none. */
function restore(dir: string, cursor: string): { readonly stdout: Spool; readonly stderr: Spool } {
  const [out = 0, err = 0] = readText(cursor).split(' ').map(Number)
  return { stdout: openSpool(join(dir, 'stdout'), out), stderr: openSpool(join(dir, 'stderr'), err) }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    // Not yet written: from the start.
    return ''
  }
}

/** Ends a line that a crash or a full disk cut, and returns the size. */
function mendTail(log: string): number {
  const size = statSync(log, { throwIfNoEntry: false })?.size ?? 0
  if (size === 0) return 0
  const last = Buffer.alloc(1)
  const handle = openSync(log, 'r')
  try {
    readSync(handle, last, 0, 1, size - 1)
  } finally {
    closeSync(handle)
  }
  if (last.toString() === '\n') return size
  appendFileSync(log, '\n')
  return size + 1
}
