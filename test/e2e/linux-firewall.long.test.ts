/**
 * The nft table of the linux data plane in real kernels: what connections and datagrams meet, what becomes of a table that others flush, and that the
 * tracer of the unit tests says of every packet what the kernel says.
 */
import { expect, test } from 'vitest'
import { contains, parseAddress, parseSubnet } from '../../agent/core/addresses/ipv4.ts'
import { contains6, parseAddress6, parseSubnet6 } from '../../agent/core/addresses/ipv6.ts'
import type { Backend, Routes } from '../../agent/core/routes/types.ts'
import { markBase } from '../../agent/dataplane/linux/frame.ts'
import { bridgeName, nodeMac, wireguardName } from '../../agent/dataplane/linux/names.ts'
import { renderTable } from '../../agent/dataplane/linux/render.ts'
import { needs } from '../needs.ts'
import { type Packet, Tracer } from '../unit/linux-firewall/tracer.ts'
import { until } from '../until.ts'
import { appAddress, appIpv6, idOf, ingressIpv6, type Lab, startLab, vip, vip6 } from './firewall-lab.ts'
import { type Machine, outsideAddress } from './machines.ts'
import { ipv6Of, outsideIpv6, tableLines } from './overlay.ts'

async function lab(): Promise<Lab & { readonly n1: Machine; readonly n2: Machine; readonly n3: Machine }> {
  needs('conntrack')
  const started = await startLab()
  const [n1, n2, n3] = started.machines
  return { ...started, n1: n1!, n2: n2!, n3: n3! }
}

test('a client of a node without a task reaches both tasks by it, with its own address, also from one source port by two nodes', async () => {
  const { n1, n3, ask, route } = await lab()
  const names = new Set<string>()
  await until(
    async () => {
      const [name = '', client] = (await ask('outside', `${n1.address} 8000`)).split(' ')
      expect(client).toBe(outsideAddress)
      return names.add(name).size === 2
    },
    { deadlineMs: 20_000, everyMs: 0, what: 'answers of both tasks' },
  )
  await route({ serving: ['n2'] })
  const addresses = [n1, n3].flatMap((machine) => [machine.address, ipv6Of(machine)])
  const answers = await Promise.all(addresses.map((address) => ask('outside', `${address} 8000 40000`)))
  expect(answers.map((answer) => answer.split(' ').slice(0, 2).join(' '))).toEqual([
    `n2 ${outsideAddress}`,
    `n2 ${outsideIpv6}`,
    `n2 ${outsideAddress}`,
    `n2 ${outsideIpv6}`,
  ])
  // The connections are tracked, the tunnel that carried them is not.
  expect(await n1.ok('conntrack -L -p tcp 2>/dev/null')).toContain('dport=8000')
  expect(await n1.ok('conntrack -L -p udp 2>/dev/null')).not.toContain('dport=4789')
})

test('a task reaches a service by its VIP, itself included, and a service without endpoints refuses at once', async () => {
  const { n1, n2, ask, route } = await lab()
  await route({ serving: ['n2'] })
  expect(await ask(n1, `${vip} 80`)).toMatch(`n2 ${appAddress(n1)} `)
  expect(await ask(n2, `${vip} 80`)).toMatch('n2 10.0.9.1 ')
  expect(await ask(n1, `${n1.address} 8000`)).toMatch(`n2 ${n1.address} `)
  expect(await ask(n1, `${vip6} 80`)).toMatch(`n2 ${appIpv6(n1)} `)
  expect(await ask(n2, `${vip6} 80`)).toMatch('n2 fd09::1 ')
  expect(await ask(n1, `${ipv6Of(n1)} 8000`)).toMatch(`n2 ${ipv6Of(n1)} `)
  await route({ serving: [] })
  const asked = [n1.address, ipv6Of(n1)].map((address) => ask('outside', `${address} 8000`))
  expect(await Promise.all([...asked, ask(n1, `${vip} 80`), ask(n1, `${vip6} 80`)])).toEqual(
    Array(4).fill('ECONNREFUSED'),
  )
})

test.for(['nft flush ruleset', 'nft flush table inet grapevine', 'nft delete table inet grapevine'])(
  'after `%s` the table is whole again within 2 s',
  async (line) => {
    const { n1, ask, restored } = await lab()
    const connection = () => ask('outside', `${n1.address} 8000`)
    const before = await n1.ok('nft list table inet grapevine')
    await n1.ok(line)
    const atMs = performance.now()
    await until(() => restored(n1) === 1, { deadlineMs: 4_000, what: 'the table to be restored' })
    expect(performance.now() - atMs).toBeLessThan(2_000)
    expect(tableLines(await n1.ok('nft list table inet grapevine'))).toEqual(tableLines(before))
    expect(await connection()).toMatch(outsideAddress)
    expect(await ask('outside', `${ipv6Of(n1)} 8000`)).toMatch(outsideIpv6)
  },
)

test('the tables and rules of other programs stay as they are', async () => {
  const { n1, route } = await lab()
  await n1.ok(`nft -f - <<'END'
    table ip filter {
      chain FORWARD {
        type filter hook forward priority 0; policy accept;
        ip saddr 192.0.2.1 counter drop
      }
    }
    table inet mine {
      set s { type ipv4_addr; elements = { 10.255.0.22 }; }
    }\nEND`)
  await n1.ok('ip rule add preference 500 fwmark 7 lookup 7')
  const others = async () => [
    await n1.ok('nft list table ip filter; nft list table inet mine'),
    (await n1.ok('ip rule')).split('\n').filter((rule) => !/^1077[678]:/.test(rule)),
  ]
  const before = await others()
  await route({ serving: ['n2'] })
  await n1.ok('nft delete table inet grapevine')
  await until(() => n1.ok('nft list chain inet grapevine forward'), { deadlineMs: 4_000, what: 'our table' })
  expect(await others()).toEqual(before)
})

test('a client of datagrams that goes on talking is answered by another task when its own is gone', async () => {
  const { n2, route, talk } = await lab()
  await route({ serving: ['n2'] })
  const all = [talk(`${n2.address} 8000`), talk(`${ipv6Of(n2)} 8000`)]
  const last = (name: string) => all.every((answers) => answers.at(-1)?.startsWith(name))
  await until(() => last('n2'), { deadlineMs: 10_000, what: 'answers of n2' })
  await route({ serving: ['n3'] })
  await until(() => last('n3'), { deadlineMs: 10_000, what: 'answers of n3' })
})

// What it costs is measured by `npm run bench -- linux-programmed`.
test('one change among 1,000 services with 5,000 endpoints writes no table anew, and no rule more meets a packet', async () => {
  const { n1, routesFor, localOf } = await lab()
  const small = routesFor(n1)
  const many = (change: number): Routes => {
    const indices = Array.from({ length: 1_000 }, (_, index) => index)
    const backends = (index: number, block: string): readonly Backend[] =>
      Array.from({ length: 5 }, (_, at) => {
        const number = index * 5 + at
        const [task, host] = [idOf(`x${number}`), `${block}.${128 + (number >> 8)}.${number & 255}`]
        const what = { node: 'n2', local: false, suspect: false, ports: [] }
        return { ...what, task, host, healthy: index !== 7 || at !== change % 5 }
      })
    const [port, service] = [small.published[0]!, small.services[0]!]
    return {
      ...small,
      published: indices.map((i) => ({ ...port, port: 20_000 + i, backends: backends(i, '10.255') })),
      services: indices.map((i) => {
        const [id, at] = [`service${i}`.padEnd(25, '0'), `10.8.${i >> 8}.${i & 255}`]
        return { ...service, service: id, vip: at, backends: backends(i, '10.9') }
      }),
    }
  }
  const apply = (routes: Routes) => n1.client.post<{ rewrites: number }>('/apply', { routes, local: localOf(n1) })
  const rules = async () =>
    Promise.all(['redirection', 'forward', 'source'].map((chain) => n1.ok(`nft list chain inet grapevine ${chain}`)))
  const before = await rules()
  const { rewrites } = await apply(many(0))
  for (let change = 1; change <= 3; change++) await apply(many(change))
  const last = await apply(many(0))
  expect(last.rewrites).toBe(rewrites)
  expect(await rules()).toEqual(before)
})

test('the tracer of the unit tests says of every packet what the kernel says', async () => {
  const { n1, n2, n3, ask, route, routesFor, localOf } = await lab()
  // By Maglev all of these clients belong to the task of n1, so the table leaves the kernel no choice.
  const change = { serving: ['n1', 'n2'], affinity: 'client-ip' } as const
  await route(change)
  const numbers = await entryNumbers(n1)
  await n1.ok(`nft -f - <<'END'
    table inet watch {
      chain everything {
        type filter hook prerouting priority -400;
        meta nftrace set 1
      }
    }\nEND`)
  const said: string[] = []
  n1.begin('stdbuf -oL nft monitor trace', (line) => said.push(line))
  await until(
    async () => {
      await ask('outside', `${n1.address} 9 40999`)
      return said.length > 0
    },
    { deadlineMs: 10_000, what: 'the kernel to tell of packets' },
  )
  await ask('outside', `${n1.address} 8000`)
  await ask('outside', `${n3.address} 8000`)
  await ask(n1, `${vip} 80`)
  await ask(n1, `${n1.address} 8000`)
  await ask(n1, `${n2.address} 9`)
  await ask(n1, '10.255.0.22 80')
  await ask(n2, `${appAddress(n1)} 80`)
  await ask(n1, '10.0.9.1 10153')
  await ask(n1, '10.0.9.1 22')
  await ask('outside', `${ipv6Of(n1)} 8000`)
  await ask('outside', `${ipv6Of(n3)} 8000`)
  await ask(n1, `${vip6} 80`)
  await ask(n1, `${ipv6Of(n1)} 8000`)
  await ask(n1, `${ipv6Of(n2)} 9`)
  await ask(n1, `${ingressIpv6(n2)} 80`)
  await ask(n2, `${appIpv6(n1)} 80`)
  await ask(n1, 'fd09::1 22')
  await ask('outside', `${n1.address} 9`)
  await n1.client.post('/apply', { routes: routesFor(n1, change), local: localOf(n1) })
  const kernel = readTraces(said)
  const facts = {
    self: n1.name,
    underlay: n1.address,
    addresses: [n1.address, ipv6Of(n1)],
    local: localOf(n1),
    numbers,
    encrypted: { device: wireguardName('0badcafe'), vxlanPort: 4789 },
  }
  const tracer = new Tracer(renderTable({ ...facts, routes: routesFor(n1, change) }), around(n1, numbers))
  const trails = kernel.packets.flatMap((packet) => {
    const { trail } = tracer.send(packet)
    const routed = trail.findIndex((rule) => /^(forward|input) /.test(rule))
    return (routed < 0 ? [trail] : [trail.slice(0, routed), trail.slice(routed)]).map((part) => part.join(', '))
  })
  const told = (some: readonly string[]) => some.filter((trail) => trail !== '').sort()
  expect(told(trails)).toEqual(told(kernel.trails))
  const met = new Set(kernel.trails.join(', ').split(', '))
  for (const rule of [
    'zoning continue',
    'entry continue',
    'redirection goto p_tcp_8000',
    'p_tcp_8000 accept',
    'forward accept',
    'from_tasks accept',
    'to_tasks accept',
    'source accept',
    'tasks_to_node accept',
    'refused drop',
    'barred drop',
    'forward goto forward6',
    'redirection6 goto p6_tcp_8000',
    'p6_tcp_8000 accept',
    'from_tasks6 accept',
    'to_tasks6 accept',
    'source6 accept',
    'tasks_to_node6 goto refused',
  ]) {
    expect(met).toContain(rule)
  }
})

async function entryNumbers({ ok }: Machine): Promise<ReadonlyMap<string, number>> {
  const neighbours = await ok(`ip neighbour show dev ${bridgeName('ingress')}`)
  const names = new Map(['n2', 'n3'].map((name) => [nodeMac(name), name]))
  return new Map(
    [...neighbours.matchAll(/^169\.254\.(\d+)\.(\d+) .*lladdr (\S+)/gm)].map(([, high, low, mac = '']) => [
      names.get(mac) ?? '',
      (Number(high) - 128) * 256 + Number(low),
    ]),
  )
}

function around(machine: Machine, numbers: ReadonlyMap<string, number>) {
  const { address } = machine
  const subnets6 = ['fd09::/64', 'fdff::/64'].map((text) => parseSubnet6(text)!)
  const subnets = ['10.0.9.0/24', '10.255.0.0/16'].map((text) => parseSubnet(text)!)
  const bridges = [bridgeName('appnet'.padEnd(25, '0')), bridgeName('ingress')]
  return {
    random: () => 0,
    addressOf: (_: string, source: string) => (source.includes(':') ? ipv6Of(machine) : address),
    route({ destination, iif }: Packet, mark: number) {
      const marked = [...numbers.values()].some((number) => (markBase | number) >>> 0 === mark >>> 0)
      if (marked && iif === bridges[1]) return bridges[1]
      if ([address, '10.0.9.1', '10.255.0.1'].includes(destination)) return 'local'
      if ([ipv6Of(machine), 'fd09::1', 'fdff::1'].includes(destination)) return 'local'
      const long = parseAddress6(destination)
      if (long !== undefined) return bridges[subnets6.findIndex((subnet) => contains6(subnet, long))] ?? 'eth0'
      return bridges[subnets.findIndex((subnet) => contains(subnet, parseAddress(destination)!))] ?? 'eth0'
    },
  }
}

interface Trace {
  readonly packet: Packet
  /** Of one packet before its routing, or behind it. */
  trail: string[]
}

/**
 * What took effect in our table, and for which packets in the order in which they came. A trace has another number before its packet is routed and
 * behind, so these are two; of the tunnel itself none.
 */
function readTraces(lines: readonly string[]): {
  readonly packets: readonly Packet[]
  readonly trails: readonly string[]
} {
  const traces = new Map<string, Trace>()
  const ended: Trace[] = []
  const packets: Packet[] = []
  for (const line of lines) {
    const id = /^trace id (\w+) /.exec(line)?.[1]
    if (id === undefined) continue
    const [, place] = / inet (watch everything|grapevine forward|grapevine input) packet: /.exec(line) ?? []
    const packet = place === undefined ? undefined : readPacket(line)
    if (packet !== undefined) {
      const trace = { packet, trail: [] }
      traces.set(id, trace)
      ended.push(trace)
      if (place === 'watch everything' && !isTunnel(packet)) packets.push(packet)
    }
    const [, chain, verdict] = /inet grapevine (\w+) rule .*\(verdict ([^)]+)\)/.exec(line) ?? []
    if (chain !== undefined) traces.get(id)?.trail.push(`${chain} ${verdict}`)
  }
  return { packets, trails: ended.filter(({ packet }) => !isTunnel(packet)).map(({ trail }) => trail.join(', ')) }
}

function isTunnel({ dport, sport }: Packet): boolean {
  return dport === 4789 || sport === 4789
}

function readPacket(line: string): Packet | undefined {
  const read = (pattern: RegExp) => pattern.exec(line)?.[1]
  // ICMPv6 is left out: neighbours and routers that ask each other are tracked by nobody.
  const protocol = read(/ ip protocol (tcp|udp|icmp) /) ?? read(/ ip6 nexthdr (tcp|udp) /)
  if (protocol === undefined) return undefined
  return {
    iif: read(/ iif "([^"]+)"/) ?? '',
    ether: read(/ ether saddr (\S+)/) ?? '',
    source: read(/ ip6? saddr (\S+)/) ?? '',
    destination: read(/ ip6? daddr (\S+)/) ?? '',
    protocol: protocol as Packet['protocol'],
    sport: Number(read(/ (?:tcp|udp) sport (\d+)/) ?? 0),
    dport: Number(read(/ (?:tcp|udp) dport (\d+)/) ?? 0),
  }
}
