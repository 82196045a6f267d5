/** Asks the machine what config.ts needs to know: its name, its address, who we are. Reads /proc; decides nothing. */
import { readFileSync } from 'node:fs'
import { homedir, hostname } from 'node:os'
import type { Machine } from '../../config.ts'
import { hostAddresses, isReachable } from '../../interfaces.ts'
import { standardSocket } from '../client.ts'

export function readMachine(env: Readonly<Record<string, string | undefined>>): Machine {
  const isRoot = process.getuid?.() === 0
  const addresses = hostAddresses().filter(({ family }) => family === 'IPv4')
  const route = defaultRouteInterface()
  // Without a default route, as on a network that leads nowhere else, its neighbours still reach the machine.
  const own = addresses.find(({ name }) => name === route) ?? addresses.find(isReachable)
  const standard = standardSocket(env, isRoot)
  return {
    hostname: hostname(),
    isRoot,
    home: homedir(),
    routeAddress: own?.address,
    addresses: hostAddresses().map(({ address }) => address),
    // One of TCP is where a client asks another machine's agent.
    socket: env.VINE_SOCKET?.startsWith('tcp://') ? standard : env.VINE_SOCKET || standard,
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
    // No /proc: not Linux, where no agent runs.
    return undefined
  }
}
