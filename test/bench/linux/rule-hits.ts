/**
 * Counts, by `nft monitor trace`, the rules that packets of an established TCP connection meet on a machine, there and back.
 *
 * A rule counts when all of its conditions held, whatever table it is in but the one that switches the tracing on.
 */
import type { Machine } from '../../e2e/machines.ts'
import { until } from '../../until.ts'

export interface Hits {
  /** Rules a packet, from the client and from the server. */
  readonly there: number
  readonly back: number
}

/** `traffic` has one connection to one of the ports, and several requests on it. */
export async function ruleHits(
  machine: Machine,
  ports: readonly number[],
  traffic: () => Promise<unknown>,
): Promise<Hits> {
  const lines: string[] = []
  // Ends with the machine; without the table it has nothing more to tell.
  machine.begin('stdbuf -oL nft monitor trace', (line) => lines.push(line))
  const set = `{ ${ports.join(', ')} }`
  await machine.ok(`nft -f - <<'END'
table inet watch {
  chain everything {
    type filter hook prerouting priority -400
    tcp flags & (syn | fin | rst) == 0 tcp dport ${set} meta nftrace set 1
    tcp flags & (syn | fin | rst) == 0 tcp sport ${set} meta nftrace set 1
  }
}
END`)
  await until(
    async () => {
      await traffic()
      return lines.length > 0
    },
    { deadlineMs: 10_000, everyMs: 100, what: 'the kernel to tell of packets' },
  )
  await machine.ok('nft delete table inet watch')
  return countHits(lines, ports)
}

/** Of whole packets: what came before the routing has one number in the trace, what came behind it another. */
export function countHits(lines: readonly string[], ports: readonly number[]): Hits {
  const ways = new Map<string, 'there' | 'back'>()
  const packets = { there: 0, back: 0 }
  const hits = { there: 0, back: 0 }
  for (const line of lines) {
    const [, id = '', table, kind] = /^trace id (\w+) \w+ (\w+) \w+ (\w+)/.exec(line) ?? []
    if (kind === 'packet') {
      const dport = Number(/ tcp dport (\d+)/.exec(line)?.[1])
      ways.set(id, ports.includes(dport) ? 'there' : 'back')
      if (table === 'watch') packets[ways.get(id)!] += 1
    }
    const way = ways.get(id)
    if (kind === 'rule' && table !== 'watch' && way !== undefined) hits[way] += 1
  }
  return { there: hits.there / packets.there, back: hits.back / packets.back }
}
