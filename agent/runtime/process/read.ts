/**
 * Reads the log of one task for whoever asks: the last lines or all, since a time, and on as it grows. Survives rotation, since it knows a
 * file by its generation and holds it open until it is read. Ends with the task, with the caller's signal, or when the task is removed.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import type { TaskId } from '../../../protocol/ids.ts'
import type { LogLine, LogQuery } from '../../world.ts'
import type { TaskLog } from './collect.ts'
import { parseLine } from './lines.ts'

export async function* readLog(task: TaskId, log: TaskLog, query: LogQuery): AsyncGenerator<LogLine> {
  const since = query.sinceMs ?? 0
  let generation = log.generation() - 1
  let skip = query.tail === undefined ? 0 : Math.max(0, countLines(log) - query.tail)
  for (;;) {
    const file = open(log, generation)
    if (file !== undefined) {
      try {
        for await (const stored of linesOf(file, log, generation, query)) {
          const line = parseLine(task, stored)
          if (line === undefined) continue
          if (skip > 0) skip -= 1
          else if (line.atMs >= since) yield line
          if (query.signal.aborted) return
        }
      } finally {
        closeSync(file)
      }
    }
    if (query.signal.aborted) return
    if (generation < log.generation()) {
      generation = Math.max(generation + 1, log.generation() - 1)
    } else {
      // Only here when nothing has been written yet, or at the end.
      if (!query.follow || log.ended()) return
      await changed(log, query.signal)
    }
  }
}

/** Bytes read at once; also the pace at which other work gets its turn. */
const CHUNK_BYTES = 256 * 1024

/** Lines of one file, as latin1, until it is complete; while it is the current one and followed, it is never complete. */
async function* linesOf(file: number, log: TaskLog, generation: number, query: LogQuery): AsyncGenerator<string> {
  const bytes = Buffer.allocUnsafe(CHUNK_BYTES)
  let rest = ''
  for (;;) {
    // Asked before the read: what is appended in between belongs to this file still.
    const complete = log.generation() > generation || log.ended() || !query.follow
    const length = readSync(file, bytes, 0, CHUNK_BYTES, null)
    if (length > 0) {
      const lines = (rest + bytes.toString('latin1', 0, length)).split('\n')
      rest = lines.pop() ?? ''
      yield* lines
      await turn()
    } else if (complete || query.signal.aborted) {
      return
    } else {
      await changed(log, query.signal)
    }
  }
}

/** A generation that is not the current or the one before is gone. */
function open(log: TaskLog, generation: number): number | undefined {
  const name = generation === log.generation() ? 'log' : 'log.1'
  try {
    return openSync(join(log.dir, name), 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** How many lines are kept. Both files are at most 20 MB, counted in some 10 ms, and only for `--tail`. */
function countLines(log: TaskLog): number {
  let lines = 0
  for (const generation of [log.generation() - 1, log.generation()]) {
    const file = open(log, generation)
    if (file === undefined) continue
    try {
      const bytes = Buffer.allocUnsafe(CHUNK_BYTES)
      for (let left = fstatSync(file).size; left > 0; ) {
        const length = readSync(file, bytes, 0, CHUNK_BYTES, null)
        if (length === 0) break
        for (let at = bytes.indexOf(10); at >= 0 && at < length; at = bytes.indexOf(10, at + 1)) lines += 1
        left -= length
      }
    } finally {
      closeSync(file)
    }
  }
  return lines
}

function changed(log: TaskLog, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      cancel()
      signal.removeEventListener('abort', done)
      resolve()
    }
    const cancel = log.onChange(done)
    signal.addEventListener('abort', done)
    if (signal.aborted || log.ended()) done()
  })
}
