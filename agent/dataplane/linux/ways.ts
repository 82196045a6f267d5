/**
 * The part of the table that grows with services: a chain for each published port and each VIP, and the elements that lead there.
 *
 * Backends are settled by the rules of core/routes/pick.ts; for IPv6 among those that serve at an IPv6 address, on linux nodes. A published port that none
 * of them serves is left to the listener at the IPv6 address. What comes from other nodes is checked here before it becomes text for nft: an endpoint
 * without an address and real ports, and a task or service whose id is no word, is left out: nft runs as root, and one word that it does not take
 * would cost the whole table.
 */
import type { NodeId } from '../../../protocol/ids.ts'
import { isAddress } from '../../core/addresses/ipv4.ts'
import { maglevTable } from '../../core/routes/maglev.ts'
import { settled } from '../../core/routes/pick.ts'
import type { Backend, ForwardOptions, PublishedRoute, ServiceRoute, TaskRoute } from '../../core/routes/types.ts'
import { type Family, ipv4, ipv6 } from './family.ts'
import { type Action, type Chain, type Choice, device, keyOf, type Target } from './model.ts'
import { bridgeName } from './names.ts'

export type WaySet =
  | 'published'
  | 'published6'
  | 'refused_ports'
  | 'vips'
  | 'vips6'
  | 'refused_vips'
  | 'refused_vips6'
  | 'strangers'
  | 'stranger_ends'

/** What one route adds to the table. */
export interface Way {
  readonly chains: readonly (readonly [name: string, chain: Chain])[]
  readonly elements: readonly (readonly [set: WaySet, key: string, value: string])[]
}

/** How a node's tasks are reached; undefined: not known here, so not at all. */
export type PlaneOf = (node: NodeId) => 'linux' | 'userspace' | undefined

/** Where the tasks of a network are sent to. */
export interface Ground {
  readonly planeOf: PlaneOf
  /** Then nothing goes to a userspace node, whose tasks are reached in clear: it is refused. */
  readonly isEncrypted: boolean
}

const nowhere: Way = { chains: [], elements: [] }

export function publishedWay(route: PublishedRoute, planeOf: PlaneOf): Way {
  // The kernel cannot write the header: such a port is left to its listener in this process.
  if (route.options.proxyProtocol) return nowhere
  const way = publishedIn(ipv4, route, planeOf)
  const key = keyOf(route.protocol, route.port)
  // Whoever serves at an IPv6 address serves at the IPv4 one too.
  if (way === undefined) return { chains: [], elements: [['refused_ports', key, '']] }
  return joined([way, publishedIn(ipv6, route, planeOf) ?? nowhere])
}

/** Undefined without anybody who serves. */
function publishedIn(family: Family, route: PublishedRoute, planeOf: PlaneOf): Way | undefined {
  const { protocol, port, target, options } = route
  const ends = usable(family, route.backends, planeOf).flatMap(({ backend, host }) => {
    const actual = actualPort(backend, protocol, target)
    return actual === undefined ? [] : [{ name: backend.task, value: keyOf(host, actual), backend, actual }]
  })
  if (ends.length === 0) return undefined
  const name = `p${family.suffix}_${protocol}_${port}`
  const action: Action = { do: 'dnat', ip: family.word, to: among(family, ends, options) }
  return {
    chains: [[name, { hook: undefined, rules: [{ when: [{ field: 'meta l4proto', is: [protocol] }], action }] }]],
    elements: [
      [`published${family.suffix}`, keyOf(protocol, port), `goto ${name}`],
      ...ends
        .filter(({ backend }) => planeOf(backend.node) === 'userspace')
        .map(({ backend, actual }) => endElement(backend, protocol, actual)),
    ],
  }
}

export function serviceWay(route: ServiceRoute, ground: Ground): Way {
  return joined([serviceIn(ipv4, route, ground), serviceIn(ipv6, route, ground)])
}

function serviceIn(family: Family, route: ServiceRoute, { planeOf, isEncrypted }: Ground): Way {
  const { network, service, options } = route
  const { suffix, word } = family
  const vip = suffix === '6' ? route.vip6 : route.vip
  if (vip === undefined || !family.isAddress(vip) || !isWord(service)) return nowhere
  const key = keyOf(device(bridgeName(network)), vip)
  const reachable = route.backends.filter(({ node }) => !isEncrypted || planeOf(node) === 'linux')
  const backends = usable(family, reachable, planeOf)
  if (backends.length === 0) return { chains: [], elements: [[`refused_vips${suffix}`, key, '']] }
  const name = `v${suffix}_${service}_${bridgeName(network)}`
  if (backends.some(({ backend }) => planeOf(backend.node) === 'userspace'))
    return mixedWay(route, { key, name, backends: backends.map(({ backend }) => backend), planeOf })
  const ends = backends.map(({ backend, host }) => ({ name: backend.task, value: host }))
  const action: Action = { do: 'dnat', ip: word, to: among(family, ends, options) }
  return {
    chains: [[name, { hook: undefined, rules: [{ when: [], action }] }]],
    elements: [[`vips${suffix}`, key, `goto ${name}`]],
  }
}

function joined(ways: readonly Way[]): Way {
  return { chains: ways.flatMap(({ chains }) => chains), elements: ways.flatMap(({ elements }) => elements) }
}

interface MixedFacts {
  readonly key: string
  readonly name: string
  readonly backends: readonly Backend[]
  readonly planeOf: PlaneOf
}

/** With a chain for each backend, since some of them translate ports. IPv4 alone: no IPv6 address leads to a userspace node. */
function mixedWay({ network, options }: ServiceRoute, { key, name, backends, planeOf }: MixedFacts): Way {
  const chains: (readonly [string, Chain])[] = []
  // A stranger serves only the ports that it declared: what finds none is refused.
  const elements: (readonly [WaySet, string, string])[] = [
    ['vips', key, `goto ${name}`],
    ['refused_vips', key, ''],
  ]
  const ends = backends.map((backend) => {
    const chain = `e_${backend.task}_${bridgeName(network)}`
    let to: Target = { value: backend.host }
    if (planeOf(backend.node) === 'userspace') {
      const ports = realPorts(backend)
      to = {
        of: ['meta l4proto', 'th dport'],
        elements: new Map(
          ports.map(({ protocol, target, actual }) => [keyOf(protocol, target), keyOf(backend.host, actual)]),
        ),
      }
      elements.push(...ports.map(({ protocol, actual }) => endElement(backend, protocol, actual)))
    }
    const leadsNowhere = 'elements' in to && to.elements.size === 0
    chains.push([
      chain,
      { hook: undefined, rules: leadsNowhere ? [] : [{ when: [], action: { do: 'dnat', ip: 'ip', to } }] },
    ])
    return { name: backend.task, value: `goto ${chain}` }
  })
  const action: Action = { do: 'choose', among: choice(ipv4, ends, options) }
  return { chains: [[name, { hook: undefined, rules: [{ when: [], action }] }], ...chains], elements }
}

/** A task of a userspace node has no place on the network: its address leads to its node's, port by port. */
export function taskWay({ network, address, backend }: TaskRoute, { planeOf, isEncrypted }: Ground): Way {
  if (planeOf(backend.node) !== 'userspace') return nowhere
  if (!isAddress(address) || !isAddress(backend.host)) return nowhere
  const bridge = device(bridgeName(network))
  if (isEncrypted) return { chains: [], elements: [['refused_vips', keyOf(bridge, address), '']] }
  return {
    chains: [],
    elements: realPorts(backend).flatMap(({ protocol, target, actual }) => [
      ['strangers', keyOf(bridge, address, protocol, target), keyOf(backend.host, actual)],
      endElement(backend, protocol, actual),
    ]),
  }
}

interface End {
  /** The task, which is what Maglev's table is made of on every node. */
  readonly name: string
  readonly value: string
}

function among(family: Family, ends: readonly End[], options: ForwardOptions): Target {
  return ends.length === 1 ? { value: ends[0]!.value } : { choice: choice(family, ends, options) }
}

function choice({ suffix }: Family, ends: readonly End[], { affinity }: ForwardOptions): Choice {
  if (affinity === 'none' || ends.length === 1) return { by: 'random', values: ends.map(({ value }) => value) }
  const byName = new Map(ends.map(({ name, value }) => [name, value]))
  const { names, places } = maglevTable([...byName.keys()])
  return { by: `client${suffix}`, values: names.map((name) => byName.get(name)!), places }
}

interface Usable {
  readonly backend: Backend
  readonly host: string
}

function usable({ hostOf, isAddress }: Family, backends: readonly Backend[], planeOf: PlaneOf): readonly Usable[] {
  const isKnown = ({ task, node }: Backend) => planeOf(node) !== undefined && isWord(task)
  const known = backends.filter((backend) => isKnown(backend) && isAddress(hostOf(backend) ?? ''))
  return settled(known).map((backend) => ({ backend, host: hostOf(backend) ?? '' }))
}

function endElement({ host }: Backend, protocol: string, actual: number): readonly [WaySet, string, string] {
  return ['stranger_ends', keyOf(host, protocol, actual), '']
}

/** As dialled by the userspace data plane: a target port that is not declared is dialled as it is. */
function actualPort({ ports }: Backend, protocol: string, target: number): number | undefined {
  const actual = ports.find((port) => port.protocol === protocol && port.target === target)?.actual ?? target
  return isPort(actual) ? actual : undefined
}

function realPorts({ ports }: Backend): Backend['ports'] {
  return ports.filter(({ target, actual }) => isPort(target) && isPort(actual))
}

/** What a chain may be called. */
function isWord(id: string): boolean {
  return /^[0-9A-Za-z]{1,40}$/.test(id)
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port > 0 && port < 65_536
}
