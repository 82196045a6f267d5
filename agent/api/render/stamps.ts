/** What Docker's objects have in common: version, times, ids. */
import { type Version, versionIndex } from '../../../protocol/hlc.ts'
import { idFromBytes } from '../../../protocol/ids.ts'
import { fnv1a64 } from '../../core/wanted.ts'

/** RFC 3339 of wall ms. */
export function time(wallMs: number): string {
  return new Date(Math.min(Math.max(wallMs, 0), timeMax)).toISOString()
}

/** End of the year 9999: later times have no RFC 3339 form, and come only from a hostile or broken record. */
const timeMax = 253_402_300_799_999

/** `Version`, `CreatedAt` and `UpdatedAt` of a record. */
export function stamps(version: Version, created: Version, updatedMs = version.ms) {
  return { Version: { Index: versionIndex(version) }, CreatedAt: time(created.ms), UpdatedAt: time(updatedMs) }
}

/** An id for something that has no record, equal on every node: the swarm itself, a slot that waits. */
export function idOf(text: string): string {
  return idFromBytes(Buffer.from(fnv1a64(text) + fnv1a64(`${text}/`), 'hex'))
}
