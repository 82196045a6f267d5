/**
 * Docker's log stream: frames of [stream, 0, 0, 0, length as 32 bits big-endian] and their bytes, in which a line carries its details
 * (`key=value,… ` with the ids of node, service and task) before its text. Pure but for reading.
 */
export interface Frame {
  readonly stream: 'stdout' | 'stderr'
  readonly text: string
}

export interface LogLine {
  /** ISO time, where timestamps were asked for. */
  readonly at: string | undefined
  readonly node: string
  readonly service: string
  readonly task: string
  /** Details other than the three ids. */
  readonly details: Readonly<Record<string, string>>
  readonly text: string
}

/** The lines of the stream. A line that runs over several frames comes out whole. */
export async function* readFrames(chunks: AsyncIterable<Buffer>): AsyncGenerator<Frame> {
  let held: Buffer = Buffer.alloc(0)
  const partial = { stdout: '', stderr: '' }
  for await (const chunk of chunks) {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    while (held.length >= 8) {
      const length = held.readUInt32BE(4)
      if (held.length < 8 + length) break
      const stream = held[0] === 2 ? 'stderr' : 'stdout'
      const lines = (partial[stream] + held.toString('utf8', 8, 8 + length)).split('\n')
      held = held.subarray(8 + length)
      partial[stream] = lines.pop() ?? ''
      for (const text of lines) yield { stream, text }
    }
  }
  for (const stream of ['stdout', 'stderr'] as const)
    if (partial[stream] !== '') yield { stream, text: partial[stream] }
}

const prefix = 'com.docker.swarm.'

/** Takes a line apart: time (if asked for), details, text. */
export function parseLine(line: string, hasTime: boolean): LogLine {
  const [at, rest] = hasTime ? halves(line) : [undefined, line]
  const [detailText, text] = halves(rest)
  if (!detailText.includes('=')) return { at, node: '', service: '', task: '', details: {}, text: rest }
  const all = Object.fromEntries(
    detailText.split(',').map((pair) => {
      const [key = '', value = ''] = pair.split('=', 2)
      return [decodeURIComponent(key), decodeURIComponent(value)]
    }),
  )
  const {
    [`${prefix}node.id`]: node = '',
    [`${prefix}service.id`]: service = '',
    [`${prefix}task.id`]: task = '',
    ...details
  } = all
  return { at, node, service, task, details, text }
}

function halves(text: string): readonly [string, string] {
  const at = text.indexOf(' ')
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}
