/**
 * Frames of the control channel: 4 bytes of length, one byte of kind, the rest. Pure; hostile lengths end the reading, never the process.
 *
 * Kinds: `hello` before admission, then requests, answers and the wish for a new gossip stream, in both directions.
 */
export const frameKinds = { hello: 1, request: 2, answer: 3, failure: 4, regossip: 5 } as const
export type FrameKind = (typeof frameKinds)[keyof typeof frameKinds]

export interface Frame {
  readonly kind: number
  readonly body: Uint8Array
}

const headBytes = 5

export function encodeFrame(kind: FrameKind, ...parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  const bytes = new Uint8Array(headBytes + length)
  new DataView(bytes.buffer).setUint32(0, length)
  bytes[4] = kind
  let at = headBytes
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

/**
 * Cuts a byte stream into frames. `take` returns 'too-long' for good once a frame announces more than `bytesMax()`; nothing is kept of it.
 * Bodies are copies (`slice` of a Buffer is none), so that a small frame does not hold a large chunk in memory.
 */
export function frameReader(bytesMax: () => number): { take(chunk: Uint8Array): readonly Frame[] | 'too-long' } {
  let held: Uint8Array[] = []
  let heldBytes = 0
  let broken = false

  function take(chunk: Uint8Array): readonly Frame[] | 'too-long' {
    if (broken) return 'too-long'
    held.push(chunk)
    heldBytes += chunk.length
    const frames: Frame[] = []
    while (heldBytes >= headBytes) {
      const head = peek(headBytes)
      const length = new DataView(head.buffer, head.byteOffset).getUint32(0)
      if (length > bytesMax()) {
        broken = true
        held = []
        return 'too-long'
      }
      if (heldBytes < headBytes + length) break
      const whole = peek(headBytes + length)
      frames.push({ kind: whole[4]!, body: Uint8Array.from(whole.subarray(headBytes, headBytes + length)) })
      drop(headBytes + length)
    }
    return frames
  }

  /** The first bytes in one piece; joins chunks only when a frame spans them. */
  function peek(length: number): Uint8Array {
    if (held[0]!.length < length) {
      const whole = new Uint8Array(heldBytes)
      let at = 0
      for (const part of held) {
        whole.set(part, at)
        at += part.length
      }
      held = [whole]
    }
    return held[0]!
  }

  function drop(length: number): void {
    const rest = held[0]!.subarray(length)
    heldBytes -= length
    if (rest.length > 0) held[0] = rest
    else held.shift()
  }

  return { take }
}
