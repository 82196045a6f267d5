/**
 * Which program holds a port of this machine, read from /proc (Linux). For sentences, and for the choice of a free port without binding it.
 */
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync } from 'node:fs'
import { basename } from 'node:path'

/** `/proc/net/tcp` states: 0A is LISTEN. A bound UDP socket is 07 (or 01 when connected). */
const listening = '0A'
/** 4 KB: the kernel gives no more of such a file at once. */
const chunkBytes = 4_096

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
  return [protocol, `${protocol}6`].flatMap((file) => [...boundIn(linesOf(`/proc/net/${file}`), protocol)])
}

/**
 * What such a file says is bound. That of TCP tells all that listen before the first connection (the kernel's networking/proc_net_tcp), and ends
 * there for us: a node that forwards has tens of thousands of connections, and reading them held up the agent for 0.1 s and more at each start of a task.
 */
export function* boundIn(lines: Iterable<string>, protocol: 'tcp' | 'udp'): Generator<Bound> {
  for (const line of lines) {
    const fields = line.trim().split(/\s+/)
    if (fields.length < 10 || fields[0] === 'sl') continue
    if (protocol === 'tcp' && fields[3] !== listening) return
    const [host = '', port = ''] = fields[1]!.split(':')
    yield { host, port: Number.parseInt(port, 16), inode: fields[9]! }
  }
}

/** Read as far as it is asked for. Ends where the file cannot be read: not there (no IPv6), or not ours. */
function* linesOf(path: string): Generator<string> {
  let file: number | undefined
  try {
    file = openSync(path, 'r')
    const bytes = Buffer.alloc(chunkBytes)
    let rest = ''
    for (let count = readSync(file, bytes); count > 0; count = readSync(file, bytes)) {
      const lines = (rest + bytes.toString('latin1', 0, count)).split('\n')
      rest = lines.pop() ?? ''
      yield* lines
    }
  } catch {
    return
  } finally {
    if (file !== undefined) closeSync(file)
  }
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
