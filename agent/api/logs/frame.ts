/**
 * Docker's multiplexed log stream: frames of an 8-byte header (stream, 0, 0, 0, length big-endian) and a payload.
 *
 * Stream 3 carries an error of the server itself, which Docker's client prints and then fails (moby daemon/internal/stdcopymux).
 */
import { limits } from '../../../protocol/limits.ts'

export const multiplexedType = 'application/vnd.docker.multiplexed-stream'

export const streamCodes = { stdout: 1, stderr: 2, system: 3 } as const
export type StreamName = keyof typeof streamCodes

export interface Frame {
  readonly stream: StreamName
  readonly text: string
}

export function encodeFrame({ stream, text }: Frame): Uint8Array {
  const length = Buffer.byteLength(text)
  const frame = Buffer.alloc(8 + length)
  frame[0] = streamCodes[stream]
  frame.writeUInt32BE(length, 4)
  frame.write(text, 8)
  return frame
}

/** Reads another agent's stream. What is no frame ends it with an error: bytes after that mean nothing. */
export async function* decodeFrames(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Frame> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of chunks) {
    rest = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk])
    while (rest.length >= 8) {
      const length = rest.readUInt32BE(4)
      const stream = streamOf(rest[0])
      if (stream === undefined || length > limits.requestBytesMax)
        throw new Error('the log stream of the other node is broken')
      if (rest.length < 8 + length) break
      yield { stream, text: rest.toString('utf8', 8, 8 + length) }
      rest = rest.subarray(8 + length)
    }
  }
}

function streamOf(code: number | undefined): StreamName | undefined {
  return code === 1 ? 'stdout' : code === 2 ? 'stderr' : code === 3 ? 'system' : undefined
}
