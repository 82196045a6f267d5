/**
 * Keeps the log of one task: moves what the program writes from its spool files to a log of stamped lines, and bounds both.
 *
 * The program writes to plain files (`stdout`, `stderr`), so it never waits for the agent, nor dies with it. This reads them, stamps each line with
 * the time it was first seen here (or the file's last change, when that is earlier: after an absence of the agent), and appends it to `log`. It
 * must never stall the event loop: one call moves at most TAKE_BYTES of a stream.
 *
 * Bounds for one task: `log` and `log.1` of LOG_BYTES each; each spool is cut when it is read and above CUT_BYTES. A program that writes faster
 * than it is read loses the oldest part (counted, said once). Between the last look and the cut, some microseconds, a line may be lost. While
 * no agent runs, a spool grows without bound; the next agent keeps its last BEHIND_BYTES.
 */
import {
  appendFileSync,
  closeSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Cancel, LogLine } from '../../world.ts'
import { cleanLine, lastLineOf } from './lines.ts'

export const LOG_BYTES = 10 * 1024 * 1024
/** 64 KB: longer lines are cut into several, so that no reader needs more memory for one. */
export const LINE_BYTES = 64 * 1024
/** 512 KB: moved in about 3 ms; five times a second, 2.5 MB/s of log for each stream. */
const TAKE_BYTES = 512 * 1024
const CUT_BYTES = 1024 * 1024
const BEHIND_BYTES = 4 * 1024 * 1024
/** Size of the file `cursor`, which exists from the start and is written in place: a full disk must not lose it. */
export const CURSOR_BYTES = 40

export type Stream = LogLine['stream']

export interface TaskLog {
  readonly dir: string
  /** Grows by one when `log` becomes `log.1`. */
  generation(): number
  /** Moves what is new, within the bound of one call. Throws when the disk takes no more: what is lost then is lost. */
  collect(): void
  /** Moves all there is, with a last line that has no end: the program has ended. */
  finish(): void
  /** Last line of stderr that is not empty. */
  lastLine(): string
  /** Called after lines were appended, and at the end. */
  onChange(listener: () => void): Cancel
  /** No line will follow: the task has ended, or nobody looks after it any more. */
  ended(): boolean
  close(): void
}

interface Spool {
  readonly stream: Stream
  /** Bytes of the file that are in the log. */
  offset: number
  changedMs: number
  /** The file changed and did not grow: it was cut and written anew, or we looked in the middle of a write. */
  doubt: boolean
}

/** Opens the log of the task in `dir`, where an earlier agent may have left one. */
export function openTaskLog(dir: string, wall: () => number, onDropped: (bytes: number) => void): TaskLog {
  const log = join(dir, 'log')
  const cursor = join(dir, 'cursor')
  const spools = restore(dir, cursor)
  const listeners = new Set<() => void>()
  let generation = 0
  let size = mendTail(log)
  let lastError: string | undefined
  let ended = false

  function collect(final: boolean): boolean {
    const texts = spools.map((spool) => take(spool, final))
    const text = texts.join('')
    if (text === '') return false
    writeFileSync(cursor, `${spools[0].offset} ${spools[1].offset} `.padEnd(CURSOR_BYTES), { flag: 'r+' })
    append(Buffer.from(text, 'latin1'))
    for (const listener of [...listeners]) listener()
    return true
  }

  function take(spool: Spool, final: boolean): string {
    const file = join(dir, spool.stream)
    const stat = statSync(file, { throwIfNoEntry: false })
    if (stat === undefined) return ''
    if (isCut(spool, stat, final)) spool.offset = 0
    if (!spool.doubt) spool.changedMs = stat.mtimeMs
    if (stat.size - spool.offset > BEHIND_BYTES) {
      onDropped(stat.size - BEHIND_BYTES - spool.offset)
      spool.offset = stat.size - BEHIND_BYTES
    }
    if (stat.size === spool.offset) return ''
    const bytes = readPart(file, spool.offset, Math.min(TAKE_BYTES, stat.size - spool.offset))
    const lines = split(bytes.toString('latin1'), final && spool.offset + bytes.length >= stat.size)
    spool.offset += lines.consumed
    if (spool.offset > CUT_BYTES) cutWhenRead(file, spool)
    const atMs = Math.floor(Math.min(wall(), stat.mtimeMs))
    const stamp = `${atMs} ${spool.stream === 'stdout' ? 'o' : 'e'} `
    if (spool.stream === 'stderr') lastError = lines.whole.findLast((line) => cleanLine(line) !== '') ?? lastError
    return lines.whole.map((line) => `${stamp}${line}\n`).join('')
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
          // Each round moves at most TAKE_BYTES of BEHIND_BYTES.
        }
      } finally {
        close()
      }
    },
    lastLine: () => (lastError === undefined ? lastLineOf(log) : cleanLine(lastError)),
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    ended: () => ended,
    close,
  }
}

/**
 * Whether the program cut its own file: a shell's `> /dev/stderr` does. One that has just as many bytes again is told by its time alone, but
 * the kernel sets the time of a write before the size; so that counts only when the next look finds it without growth too.
 */
function isCut(spool: Spool, stat: { readonly size: number; readonly mtimeMs: number }, final: boolean): boolean {
  if (stat.size < spool.offset) {
    spool.doubt = false
    return true
  }
  const changed = stat.size === spool.offset && spool.offset > 0 && stat.mtimeMs !== spool.changedMs
  const certain = changed && (spool.doubt || final)
  spool.doubt = changed && !certain
  return certain
}

/** Whole lines, long ones in parts, and how many bytes they took. */
function split(text: string, final: boolean): { readonly whole: readonly string[]; readonly consumed: number } {
  const end = text.lastIndexOf('\n')
  const rest = text.length - end - 1
  const takeRest = rest > 0 && (final || rest >= LINE_BYTES)
  if (end < 0 && !takeRest) return { whole: [], consumed: 0 }
  const lines = text.slice(0, takeRest ? text.length : end).split('\n')
  return { whole: lines.flatMap(parts), consumed: takeRest ? text.length : end + 1 }
}

function parts(line: string): readonly string[] {
  if (line.length <= LINE_BYTES) return [line]
  return Array.from({ length: Math.ceil(line.length / LINE_BYTES) }, (_, i) =>
    line.slice(i * LINE_BYTES, (i + 1) * LINE_BYTES),
  )
}

function cutWhenRead(file: string, spool: Spool): void {
  const stat = statSync(file)
  if (stat.size !== spool.offset) return
  truncateSync(file, 0)
  spool.offset = 0
  spool.changedMs = statSync(file).mtimeMs
}

function readPart(file: string, from: number, length: number): Buffer {
  const handle = openSync(file, 'r')
  try {
    const bytes = Buffer.allocUnsafe(length)
    return bytes.subarray(0, readSync(handle, bytes, 0, length, from))
  } finally {
    closeSync(handle)
  }
}

/** Where an earlier agent stopped. The cursor is written before the lines: a crash between the two loses a few, and doubles none. */
function restore(dir: string, cursor: string): readonly [Spool, Spool] {
  const [out = 0, err = 0] = readText(cursor).split(' ').map(Number)
  const spool = (stream: Stream, offset: number): Spool => ({
    stream,
    offset: Number.isSafeInteger(offset) && offset >= 0 ? offset : 0,
    changedMs: statSync(join(dir, stream), { throwIfNoEntry: false })?.mtimeMs ?? 0,
    doubt: false,
  })
  return [spool('stdout', out), spool('stderr', err)]
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
  if (size === 0 || readPart(log, size - 1, 1).toString() === '\n') return size
  appendFileSync(log, '\n')
  return size + 1
}
