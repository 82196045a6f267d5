/**
 * Versions for this node's writes, and which versions of others are believed: the clock rules of design.md 3.
 *
 * Never ahead of cluster time by more than 10 s, whatever the own clock says; the one exception is a key of this node's own whose last
 * version lies further ahead, because the own journal is exempt. Versions grow within a run, and for each key for ever.
 */
import { clusterOffset, issueAheadMaxMs, receiveAheadMaxMs, writeOffsetMaxMs } from '../../protocol/clock-bounds.ts'
import { compareVersions, nextVersion, type Version, zeroVersion } from '../../protocol/hlc.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { fault } from '../fault.ts'
import type { Clock } from '../world.ts'

export interface Stamps {
  /** `offsetMs`: that member's wall clock minus ours. */
  noteClock(node: NodeId, offsetMs: number): void
  forgetClock(node: NodeId): void
  /** Cluster time minus this node's wall clock, ms. */
  offsetMs(): number
  /** Wall ms. */
  clusterTime(): number
  observe(version: Version): void
  isTooFarAhead(version: Version): boolean
  /** The next version, above `held`. Throws 'unavailable' where that would lie too far ahead, unless `own`. */
  issue(held: Version | undefined, own: boolean): Version
  /** Throws 'unavailable' with the offset when this node's clock is too wrong for API writes. */
  checkClock(): void
}

export function createStamps(self: NodeId, clock: Clock): Stamps {
  const offsets = new Map<NodeId, number>()
  let offset = 0
  let last = zeroVersion

  function setOffset(): void {
    offset = clusterOffset(offsets.values())
  }

  function clusterTime(): number {
    return clock.wall() + offset
  }

  return {
    noteClock(node, offsetMs) {
      if (!Number.isFinite(offsetMs) || node === self) return
      offsets.set(node, offsetMs)
      setOffset()
    },
    forgetClock(node) {
      if (offsets.delete(node)) setOffset()
    },
    offsetMs: () => offset,
    clusterTime,
    observe(version) {
      if (version.ms <= clusterTime() + issueAheadMaxMs && compareVersions(version, last) > 0) last = version
    },
    isTooFarAhead(version) {
      return version.ms > clusterTime() + receiveAheadMaxMs
    },
    issue(held, own) {
      const bound = Math.floor(clusterTime() + issueAheadMaxMs)
      const wall = Math.min(Math.floor(clock.wall()), bound)
      // The own clock was ahead before the members' clocks were known: what was issued then does not bind.
      if (last.ms > bound) last = zeroVersion
      let version = nextVersion(last, wall, self)
      if (held !== undefined && compareVersions(version, held) <= 0) version = nextVersion(held, wall, self)
      if (version.ms > bound && !own) {
        const seconds = Math.ceil((version.ms - bound) / 1000)
        throw fault(
          'unavailable',
          `The last change was stamped by a clock that is ahead by ${seconds + issueAheadMaxMs / 1000} s`,
          `Set that node's clock right, and try again in ${seconds} s`,
        )
      }
      if (version.ms <= bound) last = version
      return version
    },
    checkClock() {
      if (Math.abs(offset) <= writeOffsetMaxMs) return
      const side = offset > 0 ? 'behind' : 'ahead of'
      throw fault(
        'unavailable',
        `This node's clock is ${(Math.abs(offset) / 1000).toFixed(1)} s ${side} the cluster's`,
        'Set the clock of this machine, or send the change to another node',
      )
    },
  }
}
