/** Asks the machine what config.ts needs to know: its name, its address, who we are. Reads /proc; decides nothing. */
import { readFileSync } from 'node:fs'
import { homedir, hostname, networkInterfaces } from 'node:os'
import type { Machine } from '../../config.ts'
import { standardSocket } from '../client.ts'

export function readMachine(env: Readonly<Record<string, string | undefined>>): Machine {
  const isRoot = process.getuid?.() === 0
  const addresses = networkInterfaces()[defaultRouteInterface() ?? ''] ?? []
  return {
    hostname: hostname(),
    isRoot,
    home: homedir(),
    routeAddress: addresses.find(({ family }) => family === 'IPv4')?.address,
    socket: env.VINE_SOCKET || standardSocket(env, isRoot),
  }
}

/** Device of the route to 0.0.0.0 with the lowest metric (/proc/net/route: Iface Destination Gateway Flags RefCnt Use Metric …). */
function defaultRouteInterface(): string | undefined {
  try {
    const rows = readFileSync('/proc/net/route', 'utf8')
      .split('\n')
      .slice(1)
      .map((line) => line.split('\t'))
    const routes = rows.filter((row) => row[1] === '00000000').toSorted((a, b) => Number(a[6]) - Number(b[6]))
    return routes[0]?.[0]
  } catch {
    // No /proc: not Linux. Published ports then answer on 127.0.0.1 only.
    return undefined
  }
}
