/**
 * One record as it travels, and whether this node can take it: form, bounds, who may write what.
 *
 * The value that is kept is the one that came, not zod's output: unknown fields survive at every depth, defaults are never made real.
 * Nothing here compares records; merge.ts does.
 */
import { z } from 'zod'
import { packedLength } from './codec.ts'
import type { NodeId } from './ids.ts'
import { limits } from './limits.ts'
import { type Author, type Kind, type Scope, type StateRecord, schemas } from './model.ts'

/** kind, id, value, version ms, counter and node, author node and log, seq. The scope is told once for a batch. */
export type WireRecord = readonly [string, string, unknown, number, number, string, string, string, number]

export const scopeSchema = z
  .string()
  .max(140)
  .regex(/^(cluster|network\/.+)$/)
  .transform((scope) => scope as Scope)

const id = z.string().min(1).max(128)
const nodeId = z.string().min(1).max(64)
const logId = z.string().min(1).max(64)
const seq = z.number().int().min(1)
const stamp = z.number().int().nonnegative()

export const wireRecordSchema = z.tuple([
  z.string().min(1).max(32),
  id,
  z.unknown(),
  stamp,
  stamp.max(1023),
  nodeId,
  nodeId,
  logId,
  seq,
])

export type Refusal = 'kind' | 'value' | 'size' | 'owner' | 'clock'

export type ParsedRecord =
  | { readonly kind: 'record'; readonly record: StateRecord }
  /** Its place in a log is known, so it is covered, and counted as refused. */
  | { readonly kind: 'refused'; readonly why: Refusal; readonly author: Author; readonly seq: number }
  | { readonly kind: 'malformed' }

export function toWire(record: StateRecord): WireRecord {
  const { kind, id, value, version, author, seq } = record
  return [kind, id, value, version.ms, version.counter, version.node, author.node, author.log, seq]
}

/** Reads what came from the net or the disk. `wire` must be fresh from `decode`: the record keeps its value. */
export function parseRecord(scope: Scope, wire: unknown): ParsedRecord {
  const parsed = wireRecordSchema.safeParse(wire)
  if (!parsed.success) return { kind: 'malformed' }
  const [kind, id, value, ms, counter, versionNode, node, log, seq] = parsed.data
  const author = { node, log }
  if (!isKind(kind)) return { kind: 'refused', why: 'kind', author, seq }
  const record = { scope, kind, id, value, version: { ms, counter, node: versionNode }, author, seq } as StateRecord
  const why = misfit(record)
  return why === undefined ? { kind: 'record', record } : { kind: 'refused', why, author, seq }
}

/** Why no node would take this record; also asked of this node's own writes before they are stamped. */
export function misfit(record: StateRecord): Refusal | undefined {
  const { kind, value } = record
  if (value === null ? kind === 'removal' : !schemas[kind].safeParse(value).success) return 'value'
  if ((kind === 'endpoint') !== (record.scope !== 'cluster')) return 'kind'
  if (!isOwner(record)) return 'owner'
  if (packedLength(value) > limits.recordBytesMax) return 'size'
  return undefined
}

/** Kinds that only the node they speak of may write. */
export function hasOneWriter(kind: Kind): boolean {
  return kind === 'member' || isOfManyOwners(kind)
}

/**
 * The key under which writes replace one another. Tasks, endpoints and guests carry their author's node in it: a tombstone does not say
 * whose it is, and so a delete by a stranger lies beside the record and never on it, in whatever order the two arrive.
 */
export function recordKey(record: Pick<StateRecord, 'kind' | 'id' | 'author'>): string {
  const { kind, id, author } = record
  return isOfManyOwners(kind) ? `${kind}/${id}/${author.node}` : `${kind}/${id}`
}

/** Author as a key of maps. Ids hold no slash. */
export function authorKey(author: Author): string {
  return `${author.node}/${author.log}`
}

export function authorOf(key: string): Author {
  const slash = key.indexOf('/')
  return { node: key.slice(0, slash), log: key.slice(slash + 1) }
}

/** Each node writes its own of these, and their ids do not say whose they are. */
function isOfManyOwners(kind: Kind): kind is 'task' | 'endpoint' | 'guest' {
  return kind === 'task' || kind === 'endpoint' || kind === 'guest'
}

function isKind(kind: string): kind is Kind {
  return Object.hasOwn(schemas, kind)
}

function isOwner(record: StateRecord): boolean {
  const author: NodeId = record.author.node
  if (record.kind === 'member') return record.id === author
  if (!isOfManyOwners(record.kind)) return true
  return record.value === null || (record.value as StateRecord<'task'>['value'])?.node === author
}
