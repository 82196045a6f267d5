/**
 * All that an agent and its tasks can leave on a machine, as lines that can be compared: what the kernel holds, files, mounts, programs and sockets.
 *
 * Read from outside the agent. Left out is only what changes by itself: numbers of interfaces and handles, ages, learned neighbours.
 */
import { until } from '../until.ts'
import type { Machine } from './machines.ts'

export type Traces = Readonly<Record<string, readonly string[]>>

/** Connections count where they name an address of an overlay network: those of the machine itself (10.77) come and go. */
const overlayAddress = /=10\.(?!77\.)/

/** Answers of one shell, which is quicker than one for each. */
const readings: Readonly<Record<string, string>> = {
  links: 'ip -j -d link show',
  addresses: 'ip -j -4 address show',
  routes: 'ip -j -4 route show table all',
  rules: 'ip -j -4 rule show',
  neighbours: 'ip -j -4 neighbour show nud permanent',
  forwarding: 'bridge -j fdb show',
  ruleset: 'nft list ruleset',
  connections: 'cat /proc/net/nf_conntrack',
  namespaces: 'ls /run/netns 2>/dev/null',
  // Made by ip-netns(8) with the first namespace of a machine, and kept by it.
  mounts: 'cut -d " " -f 5 /proc/1/mountinfo | grep -v ^/run/netns$',
  files: 'find /var/lib/grapevine /run/grapevine -mindepth 1 | grep -v ^/var/lib/grapevine/hosts$',
  programs: 'ps -eo args --no-headers',
  sockets: 'ss -Htuln',
}

export async function tracesOf(machine: Machine): Promise<Traces> {
  const mark = '--- next'
  const out = await machine.ok(Object.values(readings).join(`; echo '${mark}'; `))
  const texts = out.split(`${mark}\n`)
  return Object.fromEntries(Object.keys(readings).map((name, at) => [name, linesOf(name, texts[at] ?? '')]))
}

/** What is there and should not be, and what should be and is not. */
export function differences(traces: Traces, wanted: Traces): readonly string[] {
  return Object.entries(traces).flatMap(([name, lines]) => {
    const before = wanted[name] ?? []
    return [
      ...without(lines, before).map((line) => `${name}: left ${line}`),
      ...without(before, lines).map((line) => `${name}: lost ${line}`),
    ]
  })
}

/** Waits until a machine is again as it was. */
export async function leavesNothing(machine: Machine, before: Traces, deadlineMs = 20_000): Promise<void> {
  await until(
    async () => {
      const found = differences(await tracesOf(machine), before)
      return found.length === 0 || Promise.reject(new Error(`\n${found.slice(0, 40).join('\n')}`))
    },
    { deadlineMs, everyMs: 200, what: `nothing to be left on ${machine.name}` },
  )
}

/** As often as they are there beyond those of `others`. */
function without(lines: readonly string[], others: readonly string[]): readonly string[] {
  const left = [...others]
  return lines.filter((line) => {
    const at = left.indexOf(line)
    if (at >= 0) left.splice(at, 1)
    return at < 0
  })
}

export function linesOf(name: string, text: string): readonly string[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  switch (name) {
    case 'links':
    case 'addresses':
    case 'routes':
    case 'rules':
    case 'neighbours':
      return lines.flatMap((line) => (JSON.parse(line) as readonly object[]).map(lasting)).sort()
    case 'forwarding':
      // Groups that the machine's own device joins with forwarding of IPv6, which stays on as that of IPv4 does.
      return lines
        .flatMap((line) => (JSON.parse(line) as readonly object[]).map(lasting))
        .filter((line) => !/"mac":"33:33:[^}]*"ifname":"eth0"/.test(line))
        .sort()
    case 'ruleset':
      // What rules of others have counted is nothing left.
      return lines
        .map((line) => line.trim().replace(/ packets \d+ bytes \d+/, ''))
        .filter((line) => !/^elements = \{ 0x\w+ \}$/.test(line))
    case 'connections':
      return lines.filter((line) => overlayAddress.test(line)).map((line) => line.replace(/ \d+ (?=src=|[A-Z])/, ' '))
    case 'programs':
      return lines.filter((line) => !/^(ps|sh|env|nsenter|find|cut|ls|cat) |agent\/main\.ts|^nft -i$/.test(line)).sort()
    case 'files':
      // The journal is written anew, under the next number, when it has grown.
      return lines.map((line) => line.replace(/\/state\.log-\d+$/, '/state.log-N')).sort()
    default:
      return lines.sort()
  }
}

/** Without what the kernel numbers anew and what grows old. */
function lasting(row: object): string {
  const text = JSON.stringify(row)
  return text
    .replaceAll(
      /"(ifindex|link_index|\w+_life_time|txqlen|gc_timer|hello_timer|tcn_timer|topology_change_timer)":[\d.]+,?/g,
      '',
    )
    .replaceAll(/"(port_no|port_id|designated_port|no)":"?\w+"?,?/g, '')
}
