/**
 * The output of a container, line by line, as Docker's log driver kept it, with the times at which it was written.
 */
import type { Readable } from 'node:stream'
import type { TaskId } from '../../../protocol/ids.ts'
import type { LogLine, LogQuery } from '../../world.ts'
import { bounded, type Engine, makeMs, refused } from './engine.ts'
import { type Frame, frames } from './lines.ts'

export interface Logged {
  readonly task: TaskId
  readonly container: string
  readonly tty: boolean
}

/** 1 s: the last words of a task are not worth more of the time in which others learn that it ended. */
const lastWordsMs = 1_000
const lastLineCharactersMax = 200

/** Rejects in Docker's words, for instance where the log driver cannot be read. */
export async function* readLogs(engine: Engine, logged: Logged, query: LogQuery): AsyncGenerator<LogLine> {
  const { follow, tail, sinceMs, signal } = query
  const options = {
    ...{ stdout: true, stderr: true, timestamps: true, follow, tail: tail ?? 'all' },
    ...(sinceMs === undefined ? {} : { since: (sinceMs / 1000).toFixed(3) }),
  }
  try {
    // To begin is bounded, to go on is as long as the caller wants.
    const stream = await bounded('logs', makeMs, (first) => open(engine, logged.container, { options, signal, first }))
    yield* linesOf(frames(stream, logged.tty), logged)
  } catch (thrown) {
    if (!signal.aborted) throw refused(thrown)
  }
}

interface Opening {
  readonly options: Readonly<Record<string, unknown>>
  readonly signal: AbortSignal
  /** Until the answer begins. */
  readonly first: AbortSignal
}

/** dockerode's own `logs` holds all of a log in memory unless it follows. */
function open({ docker }: Engine, container: string, { options, signal, first }: Opening): Promise<Readable> {
  const ending = new AbortController()
  const end = () => ending.abort()
  signal.addEventListener('abort', end, { once: true })
  first.addEventListener('abort', end, { once: true })
  return new Promise((resolve, reject) => {
    docker.modem.dial(
      {
        path: `/containers/${container}/logs?`,
        method: 'GET',
        isStream: true,
        abortSignal: ending.signal,
        statusCodes: { 200: true, 404: 'no such container', 500: 'server error' },
        options,
      },
      (error: unknown, stream: unknown) => {
        first.removeEventListener('abort', end)
        if (error === null || error === undefined) resolve(stream as Readable)
        else reject(error)
      },
    )
  })
}

/** A message of a log has its own time before it; one that Docker cut has no line end and goes on in the next. */
export async function* linesOf(
  messages: AsyncIterable<Frame>,
  { task }: Pick<Logged, 'task'>,
): AsyncGenerator<LogLine> {
  const open = new Map<Frame['stream'], { text: string; atMs: number }>()
  for await (const { stream, bytes } of messages) {
    for (const piece of bytes.toString('utf8').split(/(?<=\n)/)) {
      const [, stamp, said = piece] = /^(\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)) ([\s\S]*)$/.exec(piece) ?? []
      const before = open.get(stream)
      const atMs = before?.atMs ?? (stamp === undefined ? 0 : Date.parse(stamp))
      const text = (before?.text ?? '') + said
      if (!text.endsWith('\n')) {
        open.set(stream, { text, atMs })
        continue
      }
      open.delete(stream)
      yield { task, stream, atMs, text: text.slice(0, -1).replace(/\r$/, '') }
    }
  }
  for (const [stream, { text, atMs }] of open) if (text !== '') yield { task, stream, atMs, text }
}

/** What a task said last on stderr; '' when that cannot be had quickly. */
export async function lastWords(engine: Engine, logged: Logged): Promise<string> {
  const signal = AbortSignal.timeout(lastWordsMs)
  let last = ''
  try {
    const query: LogQuery = { follow: false, tail: 20, sinceMs: undefined, signal }
    for await (const { stream, text } of readLogs(engine, logged, query))
      if (stream === 'stderr' && text.trim() !== '') last = text.trim()
  } catch {
    // A log driver that cannot be read, or no engine.
    return ''
  }
  return last.slice(0, lastLineCharactersMax)
}
