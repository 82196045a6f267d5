/**
 * Takes what a program has newly written to one of its output files, as whole lines, and keeps that file small.
 *
 * The file is the program's: it appends whenever it likes, and may cut the file itself. It is cut here only when all of it has been read, right after
 * the last read; what the program writes in the microseconds between is lost. One that is too far ahead is cut anyhow, and what was not read is
 * dropped: a task must never wait for its agent, nor fill the disk with what nobody can read that fast.
 */
import { closeSync, openSync, readSync, type Stats, statSync, truncate, truncateSync } from 'node:fs'

/** 512 KB: moved in about 3 ms; five times a second, 2.5 MB/s of log for each stream. */
export const TAKE_BYTES = 512 * 1024
/** A file is cut when it was read and is larger. */
const CUT_BYTES = 1024 * 1024
/** A program that is further ahead loses what was not read. */
const AHEAD_BYTES = 4 * 1024 * 1024
/** 64 KB: longer lines are cut into several, so that no reader needs more memory for one. */
export const LINE_BYTES = 64 * 1024

export interface Spool {
  readonly file: string
  /** Bytes of the file that were handed out. */
  offset: number
  /** Begin of a line, of which the file was cut. */
  carry: string
  changedMs: number
  /** The file changed and did not grow: it was cut and written anew, or we looked in the middle of a write. */
  doubt: boolean
  /** It is being cut by `cutAside`. */
  cutting: boolean
}

export interface Taken {
  /** Whole lines as latin1, which keeps every byte; long ones in parts. */
  readonly lines: readonly string[]
  /** Wall ms of the program's last write. */
  readonly changedMs: number
  readonly dropped: number
}

export function openSpool(file: string, offset: number): Spool {
  const changedMs = statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0
  return {
    file,
    offset: Number.isSafeInteger(offset) && offset >= 0 ? offset : 0,
    carry: '',
    changedMs,
    doubt: false,
    cutting: false,
  }
}

/** At most about TAKE_BYTES; undefined when nothing is new. `final`: no more will come, so a line without an end counts. */
export function take(spool: Spool, final: boolean): Taken | undefined {
  const stat = statSync(spool.file, { throwIfNoEntry: false })
  if (stat === undefined || spool.cutting) return undefined
  if (wasCut(spool, stat, final)) spool.offset = 0
  if (!spool.doubt) spool.changedMs = stat.mtimeMs
  if (stat.size === spool.offset && !(final && spool.carry !== '')) return undefined
  const tooFar = stat.size - spool.offset > AHEAD_BYTES
  const dropped = tooFar ? stat.size - spool.offset - TAKE_BYTES : 0
  if (tooFar) spool.carry = ''
  spool.offset += dropped
  const { bytes, cut } = read(spool, stat.size, tooFar)
  const text = spool.carry + bytes.toString('latin1')
  const whole = split(text, final && spool.offset + bytes.length >= stat.size)
  if (tooFar && !final) cutAside(spool)
  else if (cut) {
    spool.carry = text.slice(whole.consumed)
    spool.offset = 0
    spool.changedMs = statSync(spool.file).mtimeMs
  } else if (whole.consumed > 0) {
    spool.offset += whole.consumed - spool.carry.length
    spool.carry = ''
  }
  return { lines: whole.lines, changedMs: stat.mtimeMs, dropped }
}

/**
 * Whether the program cut its own file: a shell's `> /dev/stderr` does. One that has just as many bytes again is told by its time alone, but
 * the kernel sets the time of a write before the size; so that counts only when the next look finds it without growth too.
 */
function wasCut(spool: Spool, stat: Stats, final: boolean): boolean {
  if (stat.size < spool.offset) {
    spool.doubt = false
    return true
  }
  const changed = stat.size === spool.offset && spool.offset > 0 && stat.mtimeMs !== spool.changedMs
  const certain = changed && (spool.doubt || final)
  spool.doubt = changed && !certain
  return certain
}

/** Cuts a file of any size: hundreds of MB take the kernel 100 ms, so not on this thread. Meanwhile nothing is taken from it. */
function cutAside(spool: Spool): void {
  spool.cutting = true
  truncate(spool.file, 0, (error) => {
    spool.cutting = false
    // Where it failed, the task's folder was removed, or the next look finds the file too far ahead again.
    if (error === null) spool.offset = 0
  })
}

/** 4: each round reads what came during the one before; a program that outruns them is cut when it is too far ahead. */
const CATCH_UP_ROUNDS = 4

/** The next bytes, and whether the file was then cut. */
function read(spool: Spool, size: number, tooFar: boolean): { readonly bytes: Buffer; readonly cut: boolean } {
  const handle = openSync(spool.file, 'r')
  try {
    const next = (from: number, length: number) => {
      const bytes = Buffer.allocUnsafe(Math.min(TAKE_BYTES, length))
      return bytes.subarray(0, readSync(handle, bytes, 0, bytes.length, from))
    }
    let bytes = next(spool.offset, size - spool.offset)
    for (let round = 0; round < CATCH_UP_ROUNDS && spool.offset + bytes.length > CUT_BYTES && !tooFar; round += 1) {
      const reached = spool.offset + bytes.length
      const now = statSync(spool.file).size
      if (now === reached) {
        truncateSync(spool.file, 0)
        return { bytes, cut: true }
      }
      // More than one round's worth is for the next look.
      if (now - reached > TAKE_BYTES / CATCH_UP_ROUNDS) break
      bytes = Buffer.concat([bytes, next(reached, now - reached)])
    }
    return { bytes, cut: false }
  } finally {
    closeSync(handle)
  }
}

/** Whole lines, long ones in parts, and how many bytes they took. */
function split(text: string, final: boolean): { readonly lines: readonly string[]; readonly consumed: number } {
  const end = text.lastIndexOf('\n')
  const rest = text.length - end - 1
  const takeRest = rest > 0 && (final || rest >= LINE_BYTES)
  if (end < 0 && !takeRest) return { lines: [], consumed: 0 }
  const lines = text.slice(0, takeRest ? text.length : end).split('\n')
  return { lines: lines.flatMap(parts), consumed: takeRest ? text.length : end + 1 }
}

function parts(line: string): readonly string[] {
  if (line.length <= LINE_BYTES) return [line]
  const count = Math.ceil(line.length / LINE_BYTES)
  return Array.from({ length: count }, (_, i) => line.slice(i * LINE_BYTES, (i + 1) * LINE_BYTES))
}
