// A small swarm as packets see it: n1 and n2 forward in their kernels, n3 in user space. Each test says what differs.

import { contains, parseAddress, parseSubnet } from '../../../agent/core/addresses/ipv4.ts'
import { contains6, parseAddress6, parseSubnet6 } from '../../../agent/core/addresses/ipv6.ts'
import type { OverlayNetwork } from '../../../agent/core/routes/overlay.ts'
import type {
  Backend,
  ForwardOptions,
  PublishedRoute,
  Routes,
  ServiceRoute,
  TaskRoute,
} from '../../../agent/core/routes/types.ts'
import { markBase } from '../../../agent/dataplane/linux/frame.ts'
import { bridgeName, nodeMac, wireguardName } from '../../../agent/dataplane/linux/names.ts'
import { type RenderFacts, renderTable } from '../../../agent/dataplane/linux/render.ts'
import { type Packet, Tracer } from './tracer.ts'

export const addressOf = { n1: '10.77.0.1', n2: '10.77.0.2', n3: '10.77.0.3' } as const
export const ipv6Of = { n1: 'fd77::1', n2: 'fd77::2', n3: 'fd77::3' } as const
export type NodeName = keyof typeof addressOf
/** Numbers that every node of this world gives the others. */
export const numbers = new Map([
  ['n1', 1],
  ['n2', 2],
])

/** The way of encrypted networks' tunnels. */
export const encrypted = { device: wireguardName('0badcafe'), vxlanPort: 4789 }

function network(id: string, third: number | 'ingress', internal = false): OverlayNetwork {
  const [subnet, gateway] =
    third === 'ingress' ? ['10.255.0.0/16', '10.255.0.1'] : [`10.0.${third}.0/24`, `10.0.${third}.1`]
  // fd01 beside 10.0.1, fdff beside ingress: an address ends as its IPv4 one does.
  const first = third === 'ingress' ? 'fdff' : `fd0${third}`
  const ipv6 = { subnet: `${first}::/64`, gateway: `${first}::1` }
  return { id, name: id, subnet, gateway, internal, encrypted: false, mtu: undefined, ipv6 }
}

export const vault: OverlayNetwork = { ...network('vault', 4), encrypted: true }
const networks = [network('appnet', 1), network('hidden', 3, true), network('ingress', 'ingress'), network('other', 2)]

export function backend(task: string, node: NodeName, host: string, more: Partial<Backend> = {}): Backend {
  const ports = [{ protocol: 'tcp' as const, target: 80, actual: 80 }]
  return { task, node, local: false, suspect: false, healthy: true, host, ports, ...more }
}

const options: ForwardOptions = { affinity: 'none', proxyProtocol: false }

export function published(backends: readonly Backend[], more: Partial<PublishedRoute> = {}): PublishedRoute {
  const what = { protocol: 'tcp', port: 8000, target: 80, mode: 'ingress', service: 's1', name: 'app' } as const
  return { ...what, options, backends, ...more }
}

export function service(backends: readonly Backend[], more: Partial<ServiceRoute> = {}): ServiceRoute {
  return { network: 'appnet', service: 's1', name: 'app', vip: '10.0.1.10', ports: [], options, backends, ...more }
}

export function routes(more: Partial<Routes> = {}, self: NodeName = 'n1'): Routes {
  const nodes = (['n1', 'n2', 'n3'] as const)
    .filter((node) => node !== self)
    .map((node) => {
      const dataplane = node === 'n3' ? ('userspace' as const) : ('linux' as const)
      return {
        node,
        address: addressOf[node],
        addresses: [addressOf[node], ipv6Of[node]],
        dataplane,
        dataPathPort: 4789,
      }
    })
  const tasks: readonly TaskRoute[] = []
  return { revision: 1, published: [], services: [], tasks, overlay: { networks, nodes, places: [] }, ...more }
}

export function facts(
  more: Partial<Routes> = {},
  self: NodeName = 'n1',
  local: RenderFacts['local'] = [],
): RenderFacts {
  const address = addressOf[self]
  const others = new Map([...numbers].filter(([node]) => node !== self))
  return {
    self,
    routes: routes(more, self),
    underlay: address,
    addresses: [address, ipv6Of[self]],
    local,
    numbers: others,
    encrypted,
  }
}

/** A node with what its table says; `turn` decides what chance chooses. */
export function machine(more: Partial<Routes> = {}, self: NodeName = 'n1', local: RenderFacts['local'] = []) {
  let turn = 0
  const tracer = new Tracer(renderTable(facts(more, self, local)), {
    random: (n) => turn++ % n,
    addressOf: (_, source) => (source.includes(':') ? ipv6Of[self] : addressOf[self]),
    route(packet, mark) {
      const entry = [...numbers].find(([, number]) => mark === (markBase | number) >>> 0)?.[0]
      if (entry !== undefined && packet.iif === bridgeName('ingress')) return `way to ${entry}`
      const { destination } = packet
      if (destination === addressOf[self] || destination === ipv6Of[self] || destination.startsWith('127.'))
        return 'local'
      if (networks.some(({ gateway, ipv6 }) => [gateway, ipv6?.gateway].includes(destination))) return 'local'
      const long = parseAddress6(destination)
      if (long !== undefined) {
        const behind = networks.find(({ ipv6 }) => contains6(parseSubnet6(ipv6?.subnet ?? '')!, long))
        return behind === undefined ? 'eth0' : bridgeName(behind.id)
      }
      const inside = [...networks, vault].find(({ subnet }) =>
        contains(parseSubnet(subnet)!, parseAddress(destination)!),
      )
      if (inside !== undefined) return bridgeName(inside.id)
      return destination.startsWith('172.17.') ? 'docker0' : 'eth0'
    },
  })
  return tracer
}

export function packet(from: string, to: string, more: Partial<Packet> = {}): Packet {
  const [source = '', sport = '40000'] = split(from)
  const [destination = '', dport = '0'] = split(to)
  const [sourcePort, destinationPort] = [Number(sport), Number(dport)]
  const what = { iif: 'eth0', ether: '52:54:00:00:00:01', protocol: 'tcp' as const }
  return { ...what, source, destination, sport: sourcePort, dport: destinationPort, ...more }
}

/** `address:port`, or `[address]:port` of IPv6. */
function split(end: string): readonly string[] {
  const [, long, port] = /^\[(.*)\](?::(\d+))?$/.exec(end) ?? []
  return long === undefined ? end.split(':') : [long, ...(port === undefined ? [] : [port])]
}

/** As a task on a network sends it. */
export function fromTask(on: string, from: string, to: string, more: Partial<Packet> = {}): Packet {
  return packet(from, to, { iif: bridgeName(on), ether: '06:00:00:00:00:01', ...more })
}

/** As it comes to another node by the tunnel of the ingress network. */
export function tunnelled(forwarded: Packet, from: NodeName): Packet {
  return { ...forwarded, iif: bridgeName('ingress'), ether: nodeMac(from) }
}

/** The answer to a packet. */
export function reply({ source, destination, sport, dport, ...rest }: Packet, more: Partial<Packet> = {}): Packet {
  return { ...rest, source: destination, destination: source, sport: dport, dport: sport, ...more }
}

export function ends({ source, sport, destination, dport }: Packet): string {
  const end = (address: string, port: number) => `${address.includes(':') ? `[${address}]` : address}:${port}`
  return `${end(source, sport)} -> ${end(destination, dport)}`
}
