/**
 * Decides what a container that is no task gets inside, as a script for a shell of the host: a cable into the network beside the interfaces that it has, the
 * way to the network's subnet alone, and its questions for names led to the agent.
 *
 * All else of it stays its engine's: other routes, rules, resolv.conf, connection tracking. What is made here goes with the cable, but for the table, which
 * is taken away by hand. Several networks share the table: the resolver of any of them answers for all (core/names/caller.ts).
 */
import { closeSync, constants, fstatSync, openSync, readSync, statSync } from 'node:fs'
import type { AttachRequest, JoinRequest } from '../../world.ts'
import type { TaskLinks } from './devices.ts'
import { guestDevice } from './names.ts'
import type { Site } from './overlay-devices.ts'
import { type Cable, hostScript, type TaskThere } from './task-namespace.ts'
import { run } from './tools.ts'

/** How a container is entered, and what it has of its own. */
export interface GuestWay {
  readonly pid: number
  /** IPv4 addresses that its questions go to. */
  readonly servers: readonly string[]
  readonly takesWayOut: boolean
}

/** Like `taskScript`. */
export function guestScript(
  task: TaskLinks,
  cable: Cable,
  there: TaskThere & { readonly way: GuestWay },
  site: Site,
): string {
  const inside = [insideScript(cable, there.way, site), tableScript(there.way, task.resolver)]
  return hostScript(
    task,
    [cable],
    { ...there, inside: inside.join('\n'), nameOf: () => guestDevice(cable.network) },
    site,
  )
}

function insideScript({ network, address, devices }: Cable, { takesWayOut }: GuestWay, { nodeMac }: Site): string {
  const device = guestDevice(network)
  const { gateway, subnet } = devices
  return [
    'set -e',
    "ip -batch - <<'END'",
    `link set dev ${device} addrgenmode none`,
    `link set dev ${device} up`,
    `address replace ${address}/32 dev ${device}`,
    `neighbour replace ${gateway} lladdr ${nodeMac} dev ${device} nud permanent`,
    `route replace ${gateway} dev ${device} scope link src ${address}`,
    `route replace ${subnet} via ${gateway} dev ${device} src ${address}`,
    'END',
    ...(takesWayOut
      ? [`ip route show default | grep -q . || ip route add default via ${gateway} dev ${device} src ${address}`]
      : []),
  ].join('\n')
}

/**
 * Before the engine's own translation, which is at -100. Who asks is seen by the address of the cable, whatever the way of the question was to be. Loopback
 * addresses among the servers need the setting, and the guard against it that tasks have.
 */
function tableScript({ servers }: GuestWay, { host, port }: TaskLinks['resolver']): string {
  if (servers.length === 0) return withoutTable
  const asked = `ip daddr { ${servers.join(', ')} }`
  const needsLoopback = servers.some(isLoopback)
  const guard = `
  chain guard {
    type filter hook input priority filter
    iifname != "lo" ip daddr 127.0.0.0/8 ct state { new, untracked } drop
  }`
  return `${needsLoopback ? `echo 1 >${localnet}` : ':'}
nft -f - <<'END'
table ip grapevine
delete table ip grapevine
table ip grapevine {
  chain questions {
    type nat hook output priority -101
    ${asked} udp dport 53 dnat to ${host}:${port}
    ${asked} tcp dport 53 dnat to ${host}:${port}
  }
  chain sources {
    type nat hook postrouting priority 99
    ip daddr ${host} udp dport ${port} masquerade
    ip daddr ${host} tcp dport ${port} masquerade
  }${needsLoopback ? guard : ''}
}
END`
}

const localnet = '/proc/sys/net/ipv4/conf/all/route_localnet'

/** The setting goes before its guard. */
const withoutTable = `if table=$(nft list table ip grapevine 2>/dev/null); then
  case $table in *'chain guard'*) echo 0 >${localnet} ;; esac
  nft delete table ip grapevine
fi`

/** Names are asked of another of its networks from now on, or of none of ours. Never rejects: the container may be gone. */
export async function leadQuestions(
  netns: string,
  to: { readonly way: GuestWay; readonly resolver: TaskLinks['resolver'] } | undefined,
): Promise<void> {
  const script = to === undefined ? withoutTable : tableScript(to.way, to.resolver)
  // Refused: the namespace is gone.
  await run('nsenter', [`--net=${netns}`, 'sh', '-c', script]).catch(() => {})
}

/** Before one that has been joined leaves: its questions go by another of ours that its container is on, or as they went before. */
export async function leadAway(gone: Entered, all: readonly Entered[]): Promise<void> {
  const { netns, way } = gone
  if (way === undefined || netns === '') return
  const other = all.find((one) => one !== gone && one.way?.pid === way.pid)
  await leadQuestions(netns, other?.way === undefined ? undefined : { way: other.way, resolver: other.links.resolver })
}

interface Entered {
  /** Empty until it is there. */
  readonly netns: string
  readonly links: TaskLinks
  /** Of a container that is no task. */
  readonly way?: GuestWay | undefined
}

/** Where programs in a container ask, as far as that leaves it: addresses of IPv4 in its resolv.conf, or those that the engine's resolver asks for it. */
export function serversOf({ pid, asks }: JoinRequest): readonly string[] {
  if (asks === undefined) return nameservers(`/proc/${pid}/root/etc/resolv.conf`)
  const asked = asks.length > 0 ? asks.filter(isIpv4) : nameservers('/etc/resolv.conf')
  // The engine asks those of its own machine itself.
  return asked.filter((server) => !isLoopback(server))
}

/** Of IPv4. Exported for tests. */
export function nameservers(file: string): readonly string[] {
  try {
    const found = readPlain(file).matchAll(/^[ \t]*nameserver[ \t]+(\S+)/gm)
    return [...new Set([...found].map(([, server = '']) => server).filter(isIpv4))]
  } catch {
    // A container may have no such file, and asks nobody then.
    return []
  }
}

/** 64 KB: a resolv.conf has a few lines. */
const fileBytesMax = 64 * 1024

/** What is in a container is its own: in the place of the file there may be a pipe that never ends, or a device. */
function readPlain(file: string): string {
  const opened = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    if (!fstatSync(opened).isFile()) return ''
    const buffer = Buffer.alloc(fileBytesMax)
    return buffer.toString('utf8', 0, readSync(opened, buffer))
  } finally {
    closeSync(opened)
  }
}

function isLoopback(server: string): boolean {
  return server.startsWith('127.')
}

function isIpv4(text: string): boolean {
  return /^\d{1,3}(\.\d{1,3}){3}$/.test(text)
}

/** Whether a name stands for the network namespace of this process. A container that began again has another. */
export function isNamespaceOf(netns: string, pid: number): boolean {
  const of = (path: string) => statSync(path, { throwIfNoEntry: false })?.ino
  const named = of(netns)
  return named !== undefined && named === of(`/proc/${pid}/ns/net`)
}

/** To the parts that tasks and guests share: nothing is served or published. */
export function asRequest({ guest, network, address }: JoinRequest): AttachRequest {
  const networks = [{ network, address }]
  return { task: guest, service: network, serviceName: '', slot: '', networks, targets: [], fixed: new Map() }
}
