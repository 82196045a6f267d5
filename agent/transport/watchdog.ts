/**
 * Finds one-way gossip and heals it: every admitted connection must carry a gossip stream out and one in.
 *
 * Such holes are silent and last for ever otherwise: two connections of which one closed, a stream reset because its buffer was full, an oversized
 * message (ecosystem.md 2, traps 1, 2 and 19). Only what is missing at two looks in a row is healed; streams take a moment to open.
 */
import type { Connection } from '@libp2p/interface'
import type { Cancel, Clock } from '../world.ts'

export interface Watched {
  readonly connection: Connection
  /** Asks the peer to open its gossip stream to us anew. */
  askRegossip(): void
}

export interface WatchdogOptions {
  readonly clock: Clock
  readonly everyMs: number
  readonly links: () => Iterable<Watched>
  /** Opens our gossip stream to the peer of this connection anew. */
  readonly reopen: (connection: Connection) => void
  readonly healed: (direction: 'out' | 'in') => void
}

export function watchdog(options: WatchdogOptions): Cancel {
  let missing = new Set<string>()
  let cancel = options.clock.after(options.everyMs, look)

  function look(): void {
    const now = new Set<string>()
    for (const link of options.links()) {
      const { connection } = link
      if (lacks(connection, 'outbound', now)) {
        options.healed('out')
        options.reopen(connection)
      }
      if (lacks(connection, 'inbound', now)) {
        options.healed('in')
        link.askRegossip()
      }
    }
    missing = now
    cancel = options.clock.after(options.everyMs, look)
  }

  /** True at the second look in a row. */
  function lacks(connection: Connection, direction: 'inbound' | 'outbound', now: Set<string>): boolean {
    if (hasGossip(connection, direction)) return false
    const key = `${connection.id}/${direction}`
    now.add(key)
    return missing.has(key)
  }

  return () => cancel()
}

export function hasGossip(connection: Connection, direction: 'inbound' | 'outbound'): boolean {
  return connection.streams.some(
    (stream) => stream.direction === direction && stream.status === 'open' && stream.protocol.startsWith('/meshsub/'),
  )
}
