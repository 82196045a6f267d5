/**
 * Which program holds a port of this machine, read from /proc (Linux). For sentences, and for the choice of a free port without binding it.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** `/proc/net/tcp` states: 0A is LISTEN. A bound UDP socket is 07 (or 01 when connected). */
const listening = '0A'

export interface Holder {
  readonly pid: number
  readonly program: string
}

/** Ports on which anything listens (TCP) or is bound (UDP), on any address. */
export function takenPorts(protocol: 'tcp' | 'udp'): ReadonlySet<number> {
  return new Set(sockets(protocol).map((socket) => socket.port))
}

/** The program that holds a port; undefined when nothing does or we may not see whose it is. */
export function holderOf(protocol: 'tcp' | 'udp', port: number): Holder | undefined {
  const inodes = new Set(sockets(protocol).flatMap((s) => (s.port === port ? `socket:[${s.inode}]` : [])))
  if (inodes.size === 0) return undefined
  for (const pid of list('/proc').filter((name) => /^\d+$/.test(name))) {
    if (!list(`/proc/${pid}/fd`).some((fd) => inodes.has(link(`/proc/${pid}/fd/${fd}`)))) continue
    return { pid: Number(pid), program: read(`/proc/${pid}/comm`).trim() || 'a program' }
  }
  return undefined
}

/** `nginx, pid 123`, or `another program`. */
export function holderText(protocol: 'tcp' | 'udp', port: number): string {
  const holder = holderOf(protocol, port)
  return holder === undefined ? 'another program' : `another program (${holder.program}, pid ${holder.pid})`
}

function sockets(protocol: 'tcp' | 'udp'): readonly { readonly port: number; readonly inode: string }[] {
  return [protocol, `${protocol}6`].flatMap((file) =>
    read(`/proc/net/${file}`)
      .split('\n')
      .slice(1)
      .flatMap((line) => {
        const fields = line.trim().split(/\s+/)
        if (fields.length < 10 || (protocol === 'tcp' && fields[3] !== listening)) return []
        return { port: Number.parseInt(fields[1]!.slice(fields[1]!.lastIndexOf(':') + 1), 16), inode: fields[9]! }
      }),
  )
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    // The process has ended, or is not ours to look at.
    return ''
  }
}

function list(path: string): readonly string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

function link(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}
