/**
 * Versions: hybrid logical clock stamps (Kulkarni et al., "Logical Physical Clocks", 2014).
 *
 * A version orders all writes of one key the same way on every node: wall milliseconds, then a counter within them, then the node.
 * Time comes in as an argument; nothing here reads a clock.
 */
import type { NodeId } from './ids.ts'

export interface Version {
  /** Wall clock of the writer, ms since 1970, never behind a version that the writer has seen. */
  readonly ms: number
  /** Order within one ms, 0..1023, so that `versionIndex` fits. */
  readonly counter: number
  readonly node: NodeId
}

/** 1024 stamps a ms: ten bits, which leaves `ms * 1024` below 2^53 until the year 2248. */
export const counterMax = 1023

/** Negative when `a` is older than `b`. */
export function compareVersions(a: Version, b: Version): number {
  return a.ms - b.ms || a.counter - b.counter || (a.node < b.node ? -1 : a.node > b.node ? 1 : 0)
}

/** The stamp of the next write, after everything seen so far and not before the wall clock. */
export function nextVersion(last: Version, wallMs: number, node: NodeId): Version {
  if (wallMs > last.ms) return { ms: wallMs, counter: 0, node }
  if (last.counter < counterMax) return { ms: last.ms, counter: last.counter + 1, node }
  return { ms: last.ms + 1, counter: 0, node }
}

/** Docker's `Version.Index`: one integer that grows with the version (design.md 10). */
export function versionIndex(version: Version): number {
  return version.ms * 1024 + version.counter
}

export const zeroVersion: Version = { ms: 0, counter: 0, node: '' }
