/**
 * Merges the logs of many tasks into one: by time while all of them end, as they come while any is followed.
 *
 * Memory stays bounded: a source is read only as fast as the client reads. A source that breaks is reported, and the others go on.
 */
import type { LogLine } from '../../world.ts'

export interface Source {
  /** What it reads, for instance a node or a task; each is opened once. */
  readonly key: string
  open(signal: AbortSignal): AsyncIterable<LogLine>
}

export interface Trouble {
  readonly key: string
  readonly cause: unknown
}

/** All lines of sources that end, oldest first. `onTrouble` hears of each source that broke. */
export async function* mergeByTime(
  sources: readonly Source[],
  signal: AbortSignal,
  onTrouble: (trouble: Trouble) => void,
): AsyncGenerator<LogLine> {
  const readers = sources.map((source) => ({ key: source.key, lines: source.open(signal)[Symbol.asyncIterator]() }))
  const next = async (reader: (typeof readers)[number]): Promise<LogLine | undefined> => {
    try {
      const step = await reader.lines.next()
      return step.done === true ? undefined : step.value
    } catch (cause) {
      onTrouble({ key: reader.key, cause })
      return undefined
    }
  }
  try {
    const heads = await Promise.all(readers.map(next))
    for (;;) {
      const first = oldest(heads)
      const line = heads[first]
      const reader = readers[first]
      if (line === undefined || reader === undefined) return
      yield line
      heads[first] = await next(reader)
    }
  } finally {
    await Promise.allSettled(readers.map((reader) => reader.lines.return?.()))
  }
}

/** Lines that wait for the client before the sources pause. */
const queueMax = 256
/** A new task of the service is found this soon. Cheap: one look over its tasks. */
const lookEveryMs = 500

/** Lines of all sources as they come, of those that appear later too, until `signal` aborts. Troubles come as lines made by `onTrouble`. */
export async function* interleave(
  sources: () => readonly Source[],
  signal: AbortSignal,
  onTrouble: (trouble: Trouble) => LogLine | undefined,
): AsyncGenerator<LogLine> {
  const opened = new Set<string>()
  const queue: LogLine[] = []
  const paused: (() => void)[] = []
  let wake: () => void = () => {}
  const end = new AbortController()
  const both = AbortSignal.any([signal, end.signal])
  both.addEventListener('abort', () => wake())

  const put = async (line: LogLine): Promise<void> => {
    queue.push(line)
    wake()
    if (queue.length >= queueMax && !both.aborted) await new Promise<void>((resolve) => paused.push(resolve))
  }
  const read = async (source: Source): Promise<void> => {
    try {
      for await (const line of source.open(both)) {
        if (both.aborted) return
        await put(line)
      }
    } catch (cause) {
      const line = both.aborted ? undefined : onTrouble({ key: source.key, cause })
      if (line !== undefined) await put(line)
    }
  }

  try {
    while (!both.aborted) {
      for (const source of sources()) {
        if (opened.has(source.key)) continue
        opened.add(source.key)
        void read(source)
      }
      while (queue.length > 0) {
        yield queue.shift() as LogLine
        if (queue.length === 0) for (const go of paused.splice(0)) go()
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, lookEveryMs)
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
        if (both.aborted || queue.length > 0) wake()
      })
    }
  } finally {
    end.abort()
    for (const go of paused.splice(0)) go()
  }
}

function oldest(heads: readonly (LogLine | undefined)[]): number {
  let found = -1
  heads.forEach((line, i) => {
    if (line !== undefined && line.atMs < (heads[found]?.atMs ?? Number.POSITIVE_INFINITY)) found = i
  })
  return found
}
