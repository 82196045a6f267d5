/**
 * Merges the logs of many tasks into one: by time while all of them end, as they come while any is followed.
 *
 * Memory stays bounded: a source is read only as fast as the client reads. A source that breaks is reported, and the others go on.
 */
import type { LogLine } from '../../world.ts'

export interface Source {
  /** What it reads: a node or a task. */
  readonly key: string
  /** While following, it is opened again after it broke or ended: a node, which may return. The log of a task ends for good. */
  readonly resumes: boolean
  /** `afterMs`: only lines after this wall ms, since those before were read. */
  open(signal: AbortSignal, afterMs: number | undefined): AsyncIterable<LogLine>
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
  const readers = sources.map((source) => ({ key: source.key, lines: linesOf(source, signal) }))
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
    await Promise.allSettled(readers.map((reader) => reader.lines.return(undefined)))
  }
}

/** Opened at the first step, so that a source that cannot be opened is one that broke. */
async function* linesOf(source: Source, signal: AbortSignal): AsyncGenerator<LogLine> {
  yield* source.open(signal, undefined)
}

/** Lines that wait for the client before the sources pause. */
const queueMax = 256
/** A new task of the service is found this soon. Cheap: one look over its tasks. */
const lookEveryMs = 500
/** A node whose log broke off is asked again after so many looks: 5 s. */
const looksBeforeRetry = 10

/** Lines of all sources as they come, of those that appear later too, until `signal` aborts. Troubles come as lines made by `onTrouble`. */
export async function* interleave(
  sources: () => readonly Source[],
  signal: AbortSignal,
  onTrouble: (trouble: Trouble) => LogLine | undefined,
): AsyncGenerator<LogLine> {
  let due = true
  /** Looks to wait before a source is opened; none while it is open. */
  const waits = new Map<string, number>()
  const lastMs = new Map<string, number>()
  const inTrouble = new Set<string>()
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
    const { key } = source
    try {
      for await (const line of source.open(both, lastMs.get(key))) {
        if (both.aborted) return
        lastMs.set(key, line.atMs)
        inTrouble.delete(key)
        await put(line)
      }
    } catch (cause) {
      const line = both.aborted || inTrouble.has(key) ? undefined : onTrouble({ key, cause })
      inTrouble.add(key)
      if (line !== undefined) await put(line)
    }
    if (source.resumes) waits.set(key, looksBeforeRetry)
  }
  const look = (): void => {
    for (const source of sources()) {
      const wait = waits.get(source.key) ?? 0
      if (wait > 0) waits.set(source.key, wait - 1)
      if (wait !== 0) continue
      waits.set(source.key, Number.POSITIVE_INFINITY)
      void read(source)
    }
  }

  // A ticker of its own: busy logs must not put off the look for new tasks.
  const ticker = setInterval(() => {
    due = true
    wake()
  }, lookEveryMs)
  try {
    while (!both.aborted) {
      if (due) look()
      due = false
      for (let line = queue.shift(); line !== undefined; line = queue.shift()) yield line
      for (const go of paused.splice(0)) go()
      await new Promise<void>((resolve) => {
        wake = resolve
        if (both.aborted || due || queue.length > 0) resolve()
      })
    }
  } finally {
    clearInterval(ticker)
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
