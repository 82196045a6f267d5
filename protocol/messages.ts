/**
 * What agents say to one another about the replicated state: one gossip message, three requests. Schemas with bounds for all of them.
 *
 * `read` is the only way in: it decodes, checks the version byte and the schema, and answers with a value or with the word under which the
 * drop is counted. Records inside stay unread here; record.ts judges each by itself, so one bad record does not lose the others.
 */
import { z } from 'zod'
import { decode, encode } from './codec.ts'
import { type Digest, type Dots, digestSchema, digestToWire, dotsSchema, dotsToWire } from './digest.ts'
import type { Scope } from './model.ts'
import { scopeSchema, toWire } from './record.ts'
import type { Chunk } from './scope-state.ts'

/** Kinds of requests between agents that replication answers (Transport.request). */
export const requestKinds = {
  /** Digests of some scopes against the other's digests of them. */
  digest: 'sync.digest',
  /** Numbers that are wanted, against a chunk. Asked again for the rest. */
  pull: 'sync.pull',
  /** A chunk that the other lacks, against the word that it is taken in; when `durable`, that it is fsynced. */
  push: 'sync.push',
} as const

/** 100,000 records of the smallest kind are far above limits.requestBytesMax. */
const recordsMax = 100_000
const scopesMax = 1000
const records = z.array(z.unknown()).max(recordsMax)

const chunkShape = { scope: scopeSchema, records, covered: dotsSchema }

export const gossipSchema = z.looseObject({ scope: scopeSchema, records })
export const digestsSchema = z.looseObject({
  scopes: z.array(z.tuple([scopeSchema, digestSchema])).max(scopesMax),
  /** In an answer: scopes in which the asking node lacks tombstones that are gone here, and so must re-seed. */
  reseed: z.array(scopeSchema).max(scopesMax),
})
export const pullSchema = z.looseObject({ scope: scopeSchema, wants: dotsSchema })
export const chunkSchema = z.looseObject({
  ...chunkShape,
  /** False: the scope is not held here, or not to be spoken for now. */
  held: z.boolean(),
})
export const pushSchema = z.looseObject({ ...chunkShape, durable: z.boolean() })
export const pushedSchema = z.looseObject({ ok: z.boolean() })

export type Read<T> =
  | { readonly kind: 'ok'; readonly value: T }
  | { readonly kind: 'dropped'; readonly why: 'version' | 'malformed' | 'schema'; readonly sentence: string }

/** Decodes one message. Never throws. */
export function read<S extends z.ZodType>(schema: S, bytes: Uint8Array): Read<z.output<S>> {
  const decoded = decode(bytes)
  if (decoded.kind === 'version') {
    return {
      kind: 'dropped',
      why: 'version',
      sentence: `speaks protocol version ${decoded.version ?? 'none'}, not ours`,
    }
  }
  if (decoded.kind === 'malformed') return { kind: 'dropped', why: 'malformed', sentence: decoded.reason }
  const parsed = schema.safeParse(decoded.value)
  if (parsed.success) return { kind: 'ok', value: parsed.data }
  return { kind: 'dropped', why: 'schema', sentence: parsed.error.issues[0]?.message ?? 'does not fit its schema' }
}

export function gossipMessage(scope: Scope, wireRecords: readonly unknown[]): Uint8Array {
  return encode({ scope, records: wireRecords })
}

export function digestsMessage(scopes: readonly (readonly [Scope, Digest])[], reseed: readonly Scope[]): Uint8Array {
  return encode({ scopes: scopes.map(([scope, digest]) => [scope, digestToWire(digest)]), reseed })
}

export function pullMessage(scope: Scope, wants: Dots): Uint8Array {
  return encode({ scope, wants: dotsToWire(wants) })
}

export function chunkMessage(scope: Scope, chunk: Chunk | undefined): Uint8Array {
  const { records, covered } = chunk ?? { records: [], covered: new Map() }
  return encode({ scope, records: records.map(toWire), covered: dotsToWire(covered), held: chunk !== undefined })
}

export function pushMessage(scope: Scope, chunk: Chunk, durable: boolean): Uint8Array {
  return encode({ scope, records: chunk.records.map(toWire), covered: dotsToWire(chunk.covered), durable })
}

export function pushedMessage(ok: boolean): Uint8Array {
  return encode({ ok })
}
