/**
 * A TCP door in front of one agent that can be shut towards chosen others: how the demo and the tests cut a network without root.
 *
 * Agents tell each other the door's address. Who knocks is read from /proc: the process that owns the other end of the connection.
 * While the agent behind is gone the door does not listen, so that the machine refuses as one without an agent does.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'

export interface Gate {
  open(): Promise<void>
  /** The agent behind is gone: refuse, and end what is open. */
  shut(): void
  /** From now on nothing passes between the agent behind and agents for which this holds; open connections go silent. */
  cut(isCut: (pid: number) => boolean): void
  mend(): void
}

export interface GateOptions {
  readonly from: { readonly host: string; readonly port: number }
  readonly to: { readonly host: string; readonly port: number }
  /** Pids of the agents that may knock. */
  readonly agents: () => readonly number[]
}

export function createGate(options: GateOptions): Gate {
  const pairs = new Map<Socket, { readonly inner: Socket; readonly pid: number | undefined }>()
  let server: Server | undefined
  let isCut: (pid: number) => boolean = () => false

  function knock(outer: Socket): void {
    const pid = ownerOf(outer, options.agents())
    const inner = connect({ ...options.to, allowHalfOpen: true })
    pairs.set(outer, { inner, pid })
    const end = () => {
      pairs.delete(outer)
      outer.destroy()
      inner.destroy()
    }
    for (const [from, to] of [
      [outer, inner],
      [inner, outer],
    ] as const) {
      from.setNoDelay(true)
      from.on('data', (chunk) => {
        if (!to.write(chunk)) from.pause()
      })
      to.on('drain', () => {
        if (!silent(pid)) from.resume()
      })
      from.on('end', () => to.end())
      from.on('error', end)
      from.on('close', end)
    }
    if (silent(pid)) hush(outer, inner)
  }

  const silent = (pid: number | undefined) => pid !== undefined && isCut(pid)

  return {
    async open() {
      if (server !== undefined) return
      const listening = createServer({ allowHalfOpen: true, noDelay: true }, knock)
      await new Promise<void>((resolve, reject) => {
        listening.once('error', reject)
        listening.listen(options.from, resolve)
      })
      server = listening
    },
    shut() {
      server?.close()
      server = undefined
      for (const [outer, { inner }] of pairs) {
        outer.destroy()
        inner.destroy()
      }
      pairs.clear()
    },
    cut(test) {
      isCut = test
      for (const [outer, { inner, pid }] of pairs) if (silent(pid)) hush(outer, inner)
    },
    mend() {
      isCut = () => false
      // What was cut is broken for good: a cable that was out for long leaves dead connections.
      for (const [outer, { inner }] of pairs) {
        if (!outer.isPaused() && !inner.isPaused()) continue
        outer.destroy()
        inner.destroy()
        pairs.delete(outer)
      }
    },
  }
}

function hush(outer: Socket, inner: Socket): void {
  outer.pause()
  inner.pause()
}

/**
 * The agent at the other end of a connection, by its socket's inode; undefined when none of them is. Both ends are compared: the kernel gives one
 * local port to several connections with different remote ends.
 */
function ownerOf(socket: Socket, pids: readonly number[]): number | undefined {
  const [local, remote] = [
    hexEnd(socket.remoteAddress, socket.remotePort),
    hexEnd(socket.localAddress, socket.localPort),
  ]
  const row = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .find((fields) => fields[1] === local && fields[2] === remote)
  if (row === undefined) return undefined
  const inode = `socket:[${row[9]}]`
  return pids.find((pid) => {
    try {
      return readdirSync(`/proc/${pid}/fd`).some((fd) => linkOf(pid, fd) === inode)
    } catch {
      // The agent has ended in the meantime.
      return false
    }
  })
}

/** As proc_net_tcp(5) writes an IPv4 end: the address's bytes from the last to the first, and the port. */
function hexEnd(address = '', port = 0): string {
  const bytes = address.split('.').map((byte) => Number(byte).toString(16).padStart(2, '0'))
  return `${bytes.reverse().join('')}:${port.toString(16).padStart(4, '0')}`.toUpperCase()
}

function linkOf(pid: number, fd: string): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`)
  } catch {
    // Closed between listing and reading.
    return ''
  }
}
