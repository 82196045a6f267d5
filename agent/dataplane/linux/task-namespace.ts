/**
 * Decides what a task's network namespace holds, as lines for ip, bridge and a shell inside: a cable into each of its networks, routes, permanent neighbours,
 * and the resolver at 127.0.0.11. Pure.
 *
 * Everything leaves by a gateway, which is the node. A reply leaves by the interface of its own address (one rule and one table an address), so that
 * connection tracking sees both directions. Lines may be run again over what is there.
 */
import type { NetworkId, TaskId } from '../../../protocol/ids.ts'
import { ingressNetwork } from '../../../protocol/model.ts'
import type { TaskLinks } from './devices.ts'
import { cableName, namespaceName, taskMac } from './names.ts'
import { type NetworkDevices, portLines, type Site } from './overlay-devices.ts'
import type { Batched } from './tools.ts'

/** A link of a task, with what its network is on this node. */
export interface Cable {
  readonly task: TaskId
  readonly network: NetworkId
  readonly address: string
  /** Where the network has IPv6 on this node. */
  readonly address6?: string
  readonly devices: NetworkDevices
  readonly internal: boolean
}

/** On the host's end once all of a task is made: who it is, so that a restarted agent knows. `index`: of its interface inside. */
export function cableAlias({ task, links, resolver }: TaskLinks, index: number, mark: string): string {
  const { network, address } = links[index]!
  return `grapevine:${mark} ${task} eth${index} ${network} ${address} ${resolver.host}:${resolver.port}`
}

/** The tasks whose cables have all that `cableAlias` wrote, from all aliases of this machine. A cable that was never finished has none. */
export function tasksOf(aliases: Iterable<string>, mark: string): ReadonlyMap<TaskId, TaskLinks> {
  const tasks = new Map<TaskId, TaskLinks>()
  for (const alias of [...aliases].sort()) {
    const found = new RegExp(`^grapevine:${mark} (\\w+) eth\\d+ (\\w+) ([\\d.]+) ([\\d.]+):(\\d+)$`).exec(alias)
    const [, task, network, address, host, port] = found ?? []
    if (task === undefined || network === undefined || address === undefined || host === undefined) continue
    const links = [...(tasks.get(task)?.links ?? []), { network, address }]
    tasks.set(task, { task, links, resolver: { host, port: Number(port) } })
  }
  return tasks
}

/** A script for a shell of the host that makes all of a task, or fails with the words of the first program that did. */
export function taskScript(task: TaskLinks, cables: readonly Cable[], there: TaskThere, site: Site): string {
  const inside = insideScript(cables, task.resolver, site)
  return hostScript(task, cables, { ...there, inside, nameOf: (index) => `eth${index}` }, site)
}

/** `inside`: for a shell in the namespace, when the cables are there; `nameOf`: how the end of each is called there. */
export function hostScript(
  task: TaskLinks,
  cables: readonly Cable[],
  there: TaskThere & { readonly inside: string; nameOf(index: number): string },
  site: Site,
): string {
  const name = namespaceName(task.task, site.mark)
  return [
    'set -e',
    ...batch('ip', [
      ...(there.namespace ? [] : [namespaceLine(name, there.pid)]),
      ...cableLines(cables, name, there, site),
    ]),
    `nsenter --net=/run/netns/${name} sh -s <<'INSIDE'`,
    there.inside,
    'INSIDE',
    ...batch(
      'bridge',
      cables.map(
        ({ task, network }) => `fdb replace ${taskMac(task, network)} dev ${cableName(task, network)} master static`,
      ),
    ),
    ...batch(
      'ip',
      cables.flatMap((cable, index) => lastLines(cable, cableAlias(task, index, site.mark))),
    ),
  ].join('\n')
}

/** What of a task is there already. */
export interface TaskThere {
  readonly namespace: boolean
  /** Of a process in a namespace that a runtime made for it: that one gets the name. */
  readonly pid?: number | undefined
  hasDevice(name: string): boolean
}

function namespaceLine(name: string, pid: number | undefined): string {
  return pid === undefined ? `netns add ${name}` : `netns attach ${name} ${pid}`
}

function cableLines(
  cables: readonly Cable[],
  namespace: string,
  there: TaskThere & { nameOf(index: number): string },
  site: Site,
): readonly string[] {
  return cables.flatMap(({ task, network, devices }, index) => {
    const { mtu, bridge } = devices
    const cable = cableName(task, network)
    const inside = `name ${there.nameOf(index)} mtu ${mtu} address ${taskMac(task, network)} netns ${namespace}`
    const add = `link add name ${cable} group ${site.group} mtu ${mtu} type veth peer ${inside}`
    return [...(there.hasDevice(cable) ? [] : [add]), ...portLines(cable, bridge, site)]
  })
}

function lastLines({ task, network, address, address6, devices }: Cable, alias: string): readonly string[] {
  const addresses = address6 === undefined ? [address] : [address, address6]
  return [
    ...addresses.map(
      (one) => `neighbour replace ${one} lladdr ${taskMac(task, network)} dev ${devices.bridge} nud permanent`,
    ),
    `link set dev ${cableName(task, network)} alias "${alias}"`,
  ]
}

function batch(tool: Batched, lines: readonly string[]): readonly string[] {
  return [`${tool} -batch - <<'END'`, ...lines, 'END']
}

/** A script for a shell inside the namespace. Settings first: the resolver's way needs them. */
function insideScript(cables: readonly Cable[], resolver: TaskLinks['resolver'], site: Site): string {
  return [
    'set -e',
    ...settings.map(([name, value]) => `echo ${value} >/proc/sys/net/${name}`),
    ...batch('ip', addressLines(cables, site)),
    ...inIpv6(cables, site),
    "nft -f - <<'END'",
    resolverTable(resolver),
    'END',
  ].join('\n')
}

/** As in containers: a task may serve any port and ping, whoever it runs as. Loose reverse path: a task may have several ways out. */
const settings = [
  ['ipv4/conf/all/rp_filter', '2'],
  ['ipv4/conf/all/route_localnet', '1'],
  ['ipv4/ip_unprivileged_port_start', '0'],
  ['ipv4/ping_group_range', '"0 2147483647"'],
] as const

function addressLines(cables: readonly Cable[], site: Site): readonly string[] {
  const wayOut = wayOutOf(cables)
  return [
    'link set dev lo up',
    'rule flush',
    'rule add priority 32766 table main',
    ...cables.flatMap((cable, index) => {
      const { address, devices } = cable
      const [device, table, gateway] = [`eth${index}`, firstTable + index, devices.gateway]
      const byGateway = `via ${gateway} dev ${device} src ${address}`
      return [
        `link set dev ${device} addrgenmode none`,
        `link set dev ${device} up`,
        `address replace ${address}/32 dev ${device}`,
        `neighbour replace ${gateway} lladdr ${site.nodeMac} dev ${device} nud permanent`,
        `route replace ${gateway} dev ${device} scope link src ${address}`,
        `route replace ${devices.subnet} ${byGateway}`,
        `route replace default ${byGateway} onlink table ${table}`,
        `rule add priority ${table} from ${address} table ${table}`,
        ...(cable === wayOut ? [`route replace default ${byGateway}`] : []),
      ]
    }),
  ]
}

/** The same of IPv6, for the cables that have it. Only their nodes are routers to tasks, so no other's word is taken. */
function inIpv6(cables: readonly Cable[], site: Site): readonly string[] {
  const own = cables.flatMap((cable, index) => {
    const { address6: address, devices, internal, network } = cable
    return address === undefined || devices.ipv6 === undefined
      ? []
      : [{ address, ...devices.ipv6, internal, network, device: `eth${index}`, table: firstTable + index }]
  })
  if (own.length === 0) return []
  const wayOut = wayOutOf(own)
  return [
    // Docker turns it off in namespaces for which it has no such address.
    'echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6',
    ...own.map(({ device }) => `echo 0 >/proc/sys/net/ipv6/conf/${device}/accept_ra`),
    ...batch('ip -6', [
      'rule flush',
      'rule add priority 32766 table main',
      ...own.flatMap((cable) => {
        const { address, subnet, gateway, device, table } = cable
        const byGateway = `via ${gateway} dev ${device} src ${address}`
        return [
          `address replace ${address}/128 dev ${device} nodad`,
          `neighbour replace ${gateway} lladdr ${site.nodeMac} dev ${device} nud permanent`,
          `route replace ${gateway} dev ${device} src ${address}`,
          `route replace ${subnet} ${byGateway}`,
          `route replace default ${byGateway} onlink table ${table}`,
          `rule add priority ${table} from ${address} table ${table}`,
          ...(cable === wayOut ? [`route replace default ${byGateway}`] : []),
        ]
      }),
    ]),
  ]
}

/**
 * By ingress where the task is on it: a program that answers datagrams from any of its addresses takes that of the way to who asked, and clients of
 * published ports are out there.
 */
function wayOutOf<C extends Pick<Cable, 'network' | 'internal'>>(cables: readonly C[]): C | undefined {
  return (
    cables.find(({ network }) => network === ingressNetwork) ?? cables.find(({ internal }) => !internal) ?? cables[0]
  )
}

/** Routing tables inside a namespace are its own; any number does that is none of the kernel's (253-255). */
const firstTable = 100

/**
 * Questions to 127.0.0.11:53 go to the agent. Nothing else is tracked inside: the host tracks every connection already. What comes from outside for a
 * loopback address and is no answer is dropped, since route_localnet would let it in.
 */
function resolverTable({ host, port }: TaskLinks['resolver']): string {
  const question = 'ip daddr 127.0.0.11'
  return `table ip grapevine
delete table ip grapevine
table ip grapevine {
  chain untracked_out {
    type filter hook output priority raw
    oifname != "lo" notrack
  }
  chain untracked_in {
    type filter hook prerouting priority raw
    iifname != "lo" ip saddr != ${host} notrack
  }
  chain questions {
    type nat hook output priority -100
    ${question} udp dport 53 dnat to ${host}:${port}
    ${question} tcp dport 53 dnat to ${host}:${port}
  }
  chain sources {
    type nat hook postrouting priority srcnat
    ip saddr 127.0.0.0/8 ip daddr ${host} masquerade
  }
  chain guard {
    type filter hook input priority filter
    iifname != "lo" ip daddr 127.0.0.0/8 ct state { new, untracked } drop
  }
}`
}
