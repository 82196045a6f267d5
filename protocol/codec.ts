/**
 * Bytes <-> plain values: one byte of protocol version, then MessagePack.
 *
 * What comes out holds only null, booleans, numbers, strings, byte arrays, lists and objects: msgpackr would also build Dates, Maps,
 * Errors and bigints from hostile input, and hand out byte arrays that keep the whole packet in memory (ecosystem.md 5). Never says what
 * a message means; messages.ts does.
 */
import { Packr } from 'msgpackr'

/** Raised when older nodes could no longer understand. New fields alone do not raise it: unknown fields survive. */
export const protocolVersion = 1

/** 32 levels: three times the deepest spec; a stack overflow needs thousands. */
const depthMax = 32

export type Decoded =
  | { readonly kind: 'ok'; readonly value: unknown }
  /** Spoken by a node of another protocol; `version` is undefined for an empty message. */
  | { readonly kind: 'version'; readonly version: number | undefined }
  | { readonly kind: 'malformed'; readonly reason: string }

const packr = new Packr({ useRecords: false, variableMapSize: true })

/** The message as bytes of its own; msgpackr's result would share its pool. */
export function encode(value: unknown): Uint8Array {
  const packed = packr.pack(value)
  const bytes = new Uint8Array(packed.length + 1)
  bytes[0] = protocolVersion
  bytes.set(packed, 1)
  return bytes
}

/** Never throws: what cannot be read is an answer too. The value shares nothing with `bytes`. */
export function decode(bytes: Uint8Array): Decoded {
  if (bytes[0] !== protocolVersion) return { kind: 'version', version: bytes[0] }
  try {
    return { kind: 'ok', value: plain(packr.unpack(bytes.subarray(1)), depthMax) }
  } catch (error) {
    return { kind: 'malformed', reason: error instanceof Error ? error.message : String(error) }
  }
}

/** Length on the wire, in bytes, for cutting batches. */
export function packedLength(value: unknown): number {
  return packr.pack(value).length
}

/** A copy as it would arrive elsewhere: nothing shared, no undefined fields. Throws on what cannot travel. */
export function throughWire<T>(value: T): T {
  return plain(packr.unpack(packr.pack(value)), depthMax) as T
}

/** Works in place on what msgpackr built, since it is ours alone; throws on whatever is not plain. */
function plain(value: unknown, depth: number): unknown {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new Error('a number that is not finite')
    return value
  }
  if (typeof value !== 'object') throw new Error(`a ${typeof value}`)
  if (depth === 0) throw new Error('nested too deep')
  if (value instanceof Uint8Array) return Uint8Array.from(value)
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) value[i] = plain(value[i], depth - 1)
    return value
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) throw new Error('an extension type')
  const fields = value as Record<string, unknown>
  for (const key in fields) {
    const field = fields[key]
    if (field === undefined) delete fields[key]
    else if (typeof field === 'object' || typeof field === 'number' || typeof field === 'bigint')
      fields[key] = plain(field, depth - 1)
    else if (typeof field !== 'string' && typeof field !== 'boolean') throw new Error(`a ${typeof field}`)
  }
  return value
}
