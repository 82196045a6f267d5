/**
 * The sockets that forwarding has open: how many more there may be, which have been quiet long enough to want keep-alive, all for the end.
 *
 * Descriptors are shared with everything else that the agent does, so forwarding leaves some free. When they run out, new connections
 * wait, open ones live, and the log says so once. Node cannot leave a connection in the kernel's queue: one that waits holds a descriptor too,
 * so when no more may wait, further ones are closed at once. Without that the API and the members would be cut off.
 */
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import type { Cancel, Clock, Log } from '../../world.ts'

/** A quarter of the limit, at most 512, is for libp2p, the API, the logs of tasks and the journal. */
const reserveMax = 512

/** 15 s: short connections never pay for keep-alive, which costs four system calls. */
const sweepMs = 15_000

/** 60 s of silence before the first probe: below the idle limits of firewalls between (NAT 2 to 5 minutes and more). */
const keepAliveMs = 60_000

/** Who must know when a socket has closed. `socket.errored` says why, if it was not in good order. */
export interface SocketOwner {
  socketClosed(socket: Socket): void
}

/** A socket that is counted. Its owner may change; the socket keeps one listener for its end. */
export class CountedSocket {
  readonly socket: Socket
  owner: SocketOwner
  /** Where it is among the open ones. */
  index: number
  isKeptAlive = false

  constructor(socket: Socket, owner: SocketOwner, index: number) {
    this.socket = socket
    this.owner = owner
    this.index = index
  }
}

export class OpenSockets {
  private readonly limit: number
  private readonly log: Log
  private readonly clock: Clock
  private used = 0
  private readonly open: CountedSocket[] = []
  private readonly waiting: (() => void)[] = []
  private told = false
  private cancelSweep: Cancel

  constructor(clock: Clock, log: Log, limit = openFilesLimit()) {
    this.clock = clock
    this.log = log
    this.limit = limit - Math.min(Math.floor(limit / 4), reserveMax)
    this.cancelSweep = clock.after(sweepMs, () => this.sweep())
  }

  /** Counts a TCP socket until it closes, and tells its owner then. */
  add(socket: Socket, owner: SocketOwner): CountedSocket {
    this.take()
    const counted = new CountedSocket(socket, owner, this.open.length)
    this.open.push(counted)
    // An error is told by the close that follows it; without a listener it would end the process.
    socket.on('error', ignore)
    socket.on('close', () => this.closed(counted))
    return counted
  }

  /** Counts any other descriptor; `free` must follow once. */
  take(): void {
    this.used++
  }

  free(): void {
    this.used--
    if (this.waiting.length > 0 && this.roomy) this.waiting.shift()!()
    else if (this.told && this.used < this.limit * 0.7) this.told = false
  }

  /**
   * Runs `go` now, or when a descriptor can be had. Connections that wait hold a descriptor each, so they begin to wait while a fifth of
   * all is left.
   */
  whenRoomy(go: () => void): void {
    if (this.roomy) {
      go()
      return
    }
    if (!this.told) {
      this.told = true
      this.log.warn('File descriptors are used up: new connections wait until open ones end', { limit: this.limit })
    }
    this.waiting.push(go)
  }

  destroyAll(): void {
    this.cancelSweep()
    this.waiting.length = 0
    for (const { socket } of [...this.open]) socket.destroy()
  }

  /** Nothing more may wait: what is left is for the rest of the agent. */
  get full(): boolean {
    return this.used >= this.limit
  }

  private get roomy(): boolean {
    return this.used < this.limit * 0.8
  }

  private closed(counted: CountedSocket): void {
    // The last one takes the place that becomes free.
    const last = this.open.pop()!
    if (last !== counted) {
      this.open[counted.index] = last
      last.index = counted.index
    }
    counted.owner.socketClosed(counted.socket)
    this.free()
  }

  private sweep(): void {
    for (const counted of this.open) {
      if (counted.isKeptAlive) continue
      counted.isKeptAlive = true
      counted.socket.setKeepAlive(true, keepAliveMs)
    }
    this.cancelSweep = this.clock.after(sweepMs, () => this.sweep())
  }
}

function ignore(): void {}

/** The soft limit of this process; 1024 where it cannot be read. */
function openFilesLimit(): number {
  try {
    const found = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))
    return found === null ? 1024 : Number(found[1])
  } catch {
    return 1024
  }
}
