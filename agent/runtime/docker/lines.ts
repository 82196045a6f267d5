/**
 * Takes apart what Docker's engine streams: JSON a line, and output in frames of 8 bytes of header (Engine API, ContainerAttach). Bounded.
 */
import { fault } from '../../fault.ts'

/** 1 MB: an event has all labels of its container. */
const lineBytesMax = 1024 * 1024

/** A line that is no JSON is left out. */
export async function* jsonLines(stream: AsyncIterable<Buffer | string>): AsyncGenerator<unknown> {
  let rest = ''
  const decoder = new TextDecoder()
  for await (const chunk of stream) {
    const lines = (rest + (typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true }))).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > lineBytesMax) throw fault('too-large', `Docker sent a line of more than ${lineBytesMax} bytes`)
    for (const line of lines) {
      const parsed = parse(line)
      if (parsed !== undefined) yield parsed
    }
  }
  const last = parse(rest)
  if (last !== undefined) yield last
}

function parse(line: string): unknown {
  if (line.trim() === '') return undefined
  try {
    return JSON.parse(line)
  } catch {
    // A connection that ended in the middle of a line.
    return undefined
  }
}

export interface Frame {
  readonly stream: 'stdout' | 'stderr'
  readonly bytes: Buffer
}

const headerBytes = 8
/** 16 MB: a frame is a message of a log, which Docker cuts at 16 KB; other log drivers cut later. */
const frameBytesMax = 16 * 1024 * 1024

/** Of a container without a terminal. One with a terminal has no frames: all it sends is its standard output. */
export async function* frames(stream: AsyncIterable<Buffer>, tty: boolean): AsyncGenerator<Frame> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of stream) {
    if (tty) {
      yield { stream: 'stdout', bytes: chunk }
      continue
    }
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    while (rest.length >= headerBytes) {
      const length = rest.readUInt32BE(4)
      if (length > frameBytesMax) throw fault('too-large', 'Docker sent output that is not in frames')
      if (rest.length < headerBytes + length) break
      const bytes = rest.subarray(headerBytes, headerBytes + length)
      yield { stream: rest[0] === 2 ? 'stderr' : 'stdout', bytes }
      rest = rest.subarray(headerBytes + length)
    }
  }
}
