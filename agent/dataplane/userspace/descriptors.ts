/**
 * How many sockets may be open: descriptors are shared with everything else that the agent does, so forwarding leaves some free.
 *
 * When they run out, new connections wait, open ones live, and the log says so once. (At the very limit libuv would accept connections and
 * close them at once, and libp2p could dial nobody.)
 */
import { readFileSync } from 'node:fs'
import type { Log } from '../../world.ts'

/** A quarter of the limit, at most 512, is for libp2p, the API, the logs of tasks and the journal. */
const reserveMax = 512

export class Descriptors {
  private readonly limit: number
  private readonly log: Log
  private used = 0
  private readonly waiting: (() => void)[] = []
  private told = false

  constructor(log: Log, limit = openFilesLimit()) {
    this.log = log
    this.limit = limit - Math.min(Math.floor(limit / 4), reserveMax)
  }

  /** A socket was opened; `free` must follow once. */
  take(): void {
    this.used++
  }

  free(): void {
    this.used--
    if (this.waiting.length > 0 && this.roomy) this.waiting.shift()!()
    else if (this.told && this.used < this.limit * 0.7) this.told = false
  }

  /**
   * Runs `go` now, or when a descriptor can be had. Connections that wait hold a descriptor each, so they begin to wait while a
   * fifth of all is left.
   */
  whenRoomy(go: () => void): void {
    if (this.roomy) {
      go()
      return
    }
    if (!this.told) {
      this.told = true
      this.log.warn('No file descriptors are left: new connections wait until open ones end', { limit: this.limit })
    }
    this.waiting.push(go)
  }

  private get roomy(): boolean {
    return this.used < this.limit * 0.8
  }
}

/** The soft limit of this process; 1024 where it cannot be read. */
function openFilesLimit(): number {
  try {
    const found = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))
    return found === null ? 1024 : Number(found[1])
  } catch {
    return 1024
  }
}
