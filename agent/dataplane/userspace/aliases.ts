/**
 * Loopback addresses by which tasks of this node reach services and tasks: one for each, stable, of a /16 that is this node's own.
 *
 * An address is a hash of what it stands for, so an agent that restarts gives it again; after its subject has gone it rests for an hour, in
 * which a client with an old answer reaches nobody rather than somebody else (design.md 8). Which /16 is a hash of the node id, and a
 * marker tells other agents on this machine that it is taken: an abstract unix socket, which like the loopback belongs to the network namespace and,
 * unlike a port, can be in the way of no listener on a wildcard (unix(7)).
 */
import { createServer, type Server } from 'node:net'
import type { NetworkId, NodeId } from '../../../protocol/ids.ts'
import { hash32 } from '../../core/routes/maglev.ts'
import { assert, fault } from '../../fault.ts'

/** What an alias stands for. */
export interface AliasTarget {
  readonly kind: 'service' | 'task'
  readonly network: NetworkId
  readonly id: string
}

/** An hour: far above every TTL and most clients' own caches. */
const restMs = 60 * 60 * 1_000
/** Hosts .1.0 to .254.255 of the /16; below are the resolvers of tasks, above is what people use by hand. */
const firstHost = 0x0100
const hostCount = 0xfe00
/** 127.16/16 to 127.254/16: below are systemd-resolved's and Docker's favourites. */
const firstBlock = 16
const blockCount = 239

/** The second byte of this node's own 127.x/16, and the socket that marks it as taken. */
export async function claimBlock(self: NodeId): Promise<{ readonly block: number; readonly marker: Server }> {
  const start = hash32(`loopback ${self}`) % blockCount
  for (let step = 0; step < blockCount; step++) {
    const block = firstBlock + ((start + step) % blockCount)
    const marker = await listen(`\0grapevine loopback 127.${block}`)
    if (marker !== undefined) return { block, marker }
  }
  throw fault('unavailable', 'No 127.x/16 is free for the addresses of services', 'Stop agents that are not needed')
}

export class AliasBook {
  private readonly block: number
  private readonly byKey = new Map<string, number>()
  private readonly byHost = new Map<number, { readonly target: AliasTarget; goneMs: number | undefined }>()

  constructor(block: number) {
    this.block = block
  }

  /** The address of a target; chosen at the first call. */
  addressOf(target: AliasTarget): string {
    const key = keyOf(target)
    const known = this.byKey.get(key)
    if (known !== undefined) return this.text(known)
    const start = hash32(key) % hostCount
    for (let step = 0; step < hostCount; step++) {
      const host = firstHost + ((start + step) % hostCount)
      // .0 and .255 look like network and broadcast addresses to careful programs.
      if (this.byHost.has(host) || (host & 0xff) === 0 || (host & 0xff) === 0xff) continue
      this.byKey.set(key, host)
      this.byHost.set(host, { target, goneMs: undefined })
      return this.text(host)
    }
    assert(false, '65,024 aliases are enough for one node')
  }

  /** What an address of ours stands for; 'unknown' when nothing does; undefined for an address that is not ours. */
  targetOf(address: string): AliasTarget | 'unknown' | undefined {
    const parts = address.split('.').map(Number)
    if (parts[0] !== 127 || parts[1] !== this.block) return undefined
    const entry = this.byHost.get(((parts[2] ?? 0) << 8) | (parts[3] ?? 0))
    return entry === undefined || entry.goneMs !== undefined ? 'unknown' : entry.target
  }

  /** Marks what is gone, and frees what has been gone for an hour. */
  keep(isKnown: (target: AliasTarget) => boolean, nowMs: number): void {
    for (const [host, entry] of this.byHost) {
      if (isKnown(entry.target)) entry.goneMs = undefined
      else if (entry.goneMs === undefined) entry.goneMs = nowMs
      else if (nowMs - entry.goneMs > restMs) {
        this.byHost.delete(host)
        this.byKey.delete(keyOf(entry.target))
      }
    }
  }

  private text(host: number): string {
    return `127.${this.block}.${host >>> 8}.${host & 0xff}`
  }
}

export function keyOf(target: AliasTarget): string {
  return `${target.kind} ${target.network} ${target.id}`
}

function listen(name: string): Promise<Server | undefined> {
  const server = createServer((socket) => socket.destroy())
  return new Promise((resolve) => {
    server.once('error', () => resolve(undefined))
    server.listen(name, () => {
      server.unref()
      resolve(server)
    })
  })
}
