/**
 * Which program holds a port of this machine, read from /proc (Linux). For sentences, and for the choice of a free port without binding it.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename } from 'node:path'

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

/** Whether a port cannot be bound on an IPv4 address: another agent of this machine may hold it on its own. */
export function isTakenAt(protocol: 'tcp' | 'udp', host: string, port: number): boolean {
  return sockets(protocol).some((socket) => socket.port === port && covers(socket.host, host))
}

/** The program that holds a port there; undefined when nothing does or we may not see whose it is. */
export function holderOf(protocol: 'tcp' | 'udp', host: string, port: number): Holder | undefined {
  const inodes = new Set(
    sockets(protocol).flatMap((s) => (s.port === port && covers(s.host, host) ? `socket:[${s.inode}]` : [])),
  )
  if (inodes.size === 0) return undefined
  for (const pid of list('/proc').filter((name) => /^\d+$/.test(name))) {
    if (!list(`/proc/${pid}/fd`).some((fd) => inodes.has(link(`/proc/${pid}/fd/${fd}`)))) continue
    return { pid: Number(pid), program: programOf(pid) }
  }
  return undefined
}

/** What people know it by. Node calls its main thread MainThread, which says nothing: then the name of its file. */
function programOf(pid: string): string {
  const name = read(`/proc/${pid}/comm`).trim()
  return (name === 'MainThread' ? basename(link(`/proc/${pid}/exe`)) : name) || 'a program'
}

/** `nginx, pid 123`, or `another program`. */
export function holderText(protocol: 'tcp' | 'udp', host: string, port: number): string {
  const holder = holderOf(protocol, host, port)
  return holder === undefined ? 'another program' : `another program (${holder.program}, pid ${holder.pid})`
}

/**
 * Whether a socket bound to this local address, as /proc/net writes it, keeps an IPv4 host from being bound: the same address, the wildcard, or
 * either of them in IPv6's form. Of an IPv6 host it cannot tell, and says yes.
 */
function covers(local: string, host: string): boolean {
  const bytes = host.split('.')
  if (bytes.length !== 4 || /^0+$/.test(local)) return true
  const hex = bytes.map((byte) => Number(byte).toString(16).padStart(2, '0')).reverse()
  return local.endsWith(hex.join('').toUpperCase()) || /^0{16}FFFF0{12}$/.test(local)
}

interface Bound {
  /** Hex digits of the local address. */
  readonly host: string
  readonly port: number
  readonly inode: string
}

function sockets(protocol: 'tcp' | 'udp'): readonly Bound[] {
  return [protocol, `${protocol}6`].flatMap((file) =>
    read(`/proc/net/${file}`)
      .split('\n')
      .slice(1)
      .flatMap((line) => {
        const fields = line.trim().split(/\s+/)
        if (fields.length < 10 || (protocol === 'tcp' && fields[3] !== listening)) return []
        const [host = '', port = ''] = fields[1]!.split(':')
        return { host, port: Number.parseInt(port, 16), inode: fields[9]! }
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
