// What becomes of IPv6 packets on a node whose kernel forwards: as of IPv4 ones (packets.test.ts), but for tasks of userspace nodes, which have no IPv6.
import { expect, test } from 'vitest'
import { familiesOf, ipv6 } from '../../../agent/dataplane/linux/family.ts'
import { markBase } from '../../../agent/dataplane/linux/frame.ts'
import { replyRouteLines } from '../../../agent/dataplane/linux/marks.ts'
import { bridgeName } from '../../../agent/dataplane/linux/names.ts'
import { renderTable } from '../../../agent/dataplane/linux/render.ts'
import { replacement } from '../../../agent/dataplane/linux/text.ts'
import {
  backend,
  ends,
  facts,
  fromTask,
  ipv6Of,
  machine,
  packet,
  published,
  reply,
  service,
  tunnelled,
} from './world.ts'

const client = '[2001:db8::7]:40000'
const dual = (task: string, node: 'n1' | 'n2', last: number, third = '255.0') =>
  backend(task, node, `10.${third}.${last}`, { host6: `${third === '0.1' ? 'fd01' : 'fdff'}::${last}` })
const two = [dual('t1', 'n2', 4), dual('t2', 'n2', 5)]
const vipBackends = [dual('t1', 'n1', 21, '0.1'), dual('t2', 'n2', 22, '0.1')]
const vip6 = 'fd01::10'
const links = (address: string) => ({
  ...{ task: 't1', links: [{ network: 'appnet', address }] },
  resolver: { host: '10.0.1.1', port: 10_153 },
})

test('a client of a published port reaches each task in turn with its own address, and the answer takes the way back', () => {
  const [n1, n2] = [machine({ published: [published(two)] }), machine({ published: [published(two)] }, 'n2')]
  const sent = [40_000, 40_001].map((port) => n1.send(packet(`[2001:db8::7]:${port}`, '[fd77::1]:8000')))
  expect(sent.map(({ oif, packet }) => `${oif} ${ends(packet)}`)).toEqual([
    `${bridgeName('ingress')} [2001:db8::7]:40000 -> [fdff::4]:80`,
    `${bridgeName('ingress')} [2001:db8::7]:40001 -> [fdff::5]:80`,
  ])
  n2.send(tunnelled(sent[0]!.packet, 'n1'))
  const answered = n2.send(fromTask('ingress', '[fdff::4]:80', client))
  expect([answered.mark, answered.oif]).toEqual([markBase | 1, 'way to n1'])
  const left = n1.send(tunnelled(answered.packet, 'n2'))
  expect([left.oif, ends(left.packet)]).toEqual(['eth0', '[fd77::1]:8000 -> [2001:db8::7]:40000'])
})

test('a VIP leads to each backend in turn with the address of the task that asks, and back to itself by the gateway', () => {
  const n1 = machine({ services: [service(vipBackends, { vip6 })] })
  const reached = [5432, 9999].map((port) => n1.send(fromTask('appnet', '[fd01::30]', `[${vip6}]:${port}`)))
  expect(reached.map(({ packet }) => ends(packet))).toEqual([
    '[fd01::30]:40000 -> [fd01::21]:5432',
    '[fd01::30]:40000 -> [fd01::22]:9999',
  ])
  // The address of 10.0.1.33, in hexadecimal.
  const own = [backend('t1', 'n1', '10.0.1.33', { host6: 'fd01::21' })]
  const alone = machine({ services: [service(own, { vip6 })] }, 'n1', [links('10.0.1.33')])
  const itself = alone.send(fromTask('appnet', '[fd01::21]', `[${vip6}]:80`))
  expect(ends(itself.packet)).toBe('[fd01::1]:40000 -> [fd01::21]:80')
  expect(ends(alone.send(reply(itself.packet)).packet)).toBe(`[${vip6}]:80 -> [fd01::21]:40000`)
})

test('a VIP without anybody who serves IPv6 refuses it at once, and a published port leaves it to its listener', () => {
  const old = [backend('t1', 'n2', '10.255.0.4')]
  const n1 = machine({ published: [published(old)], services: [service([backend('t2', 'n2', '10.0.1.22')], { vip6 })] })
  expect(n1.send(fromTask('appnet', '[fd01::30]', `[${vip6}]:80`)).with).toBe('tcp reset')
  expect(n1.send(packet(client, '[fd77::1]:8000')).verdict).toBe('delivered')
  expect(n1.send(packet('192.0.2.7:40000', '10.77.0.1:8000')).packet.destination).toBe('10.255.0.4')
  const none = machine({ published: [published([])] })
  expect(none.send(packet(client, '[fd77::1]:8000')).with).toBe('tcp reset')
})

test('of a service with tasks on both kinds of nodes those of linux nodes serve IPv6', () => {
  const ports = [{ protocol: 'tcp' as const, target: 80, actual: 34_567 }]
  const strange = backend('t3', 'n3', '10.77.0.3', { ports })
  const n1 = machine({ services: [service([vipBackends[1]!, strange], { vip6 })] })
  const reached = [1, 2, 3].map((port) => n1.send(fromTask('appnet', `[fd01::30]:${port}`, `[${vip6}]:80`)))
  expect(new Set(reached.map(({ packet }) => packet.destination))).toEqual(new Set(['fd01::22']))
})

test('a published port asked by a task or by a member is answered through this node', () => {
  const n1 = machine({ published: [published(two.slice(0, 1))] })
  expect(ends(n1.send(packet('[fd77::2]:40000', '[fd77::1]:8000')).packet)).toBe('[fd77::1]:40000 -> [fdff::4]:80')
  expect(ends(n1.send(fromTask('appnet', '[fd01::21]:40001', '[fd77::1]:8000')).packet)).toBe(
    '[fd77::1]:40001 -> [fdff::4]:80',
  )
})

test('networks do not reach each other, nobody outside reaches a task, and an internal network has no way out', () => {
  const n1 = machine({ published: [published(two)] })
  const barred = [
    fromTask('appnet', '[fd01::21]', '[fd02::21]:80'),
    fromTask('appnet', '[fd01::21]', '[fdff::4]:80'),
    packet(client, '[fd01::21]:80'),
    packet(client, '[fdff::4]:80'),
    fromTask('hidden', '[fd03::21]', '[2001:db8::1]:443'),
    fromTask('hidden', '[fd03::21]', '[fd77::1]:8000'),
    fromTask('hidden', '[fd03::21]', '[fd77::1]:22'),
  ]
  expect(barred.map((one) => n1.send(one).with)).toEqual(Array(7).fill('icmpx admin-prohibited'))
  expect(n1.send(fromTask('appnet', '[fd01::21]', '[fd01::22]:80')).verdict).toBe('forwarded')
})

test('a task reaches the outside as its node, and finds nothing at a gateway', () => {
  const n1 = machine()
  const out = n1.send(fromTask('appnet', '[fd01::21]', '[2001:db8::1]:443'))
  expect([out.oif, ends(out.packet)]).toEqual(['eth0', `[${ipv6Of.n1}]:40000 -> [2001:db8::1]:443`])
  expect(ends(n1.send(reply(out.packet, { iif: 'eth0' })).packet)).toBe('[2001:db8::1]:443 -> [fd01::21]:40000')
  expect(n1.send(fromTask('appnet', '[fd01::21]', '[fd01::1]:22')).with).toBe('tcp reset')
})

test('a packet of an open connection meets one rule in forward, IPv6 or not', () => {
  const n1 = machine({ services: [service(vipBackends, { vip6 })] })
  const { packet: first } = n1.send(fromTask('appnet', '[fd01::30]', `[${vip6}]:80`))
  const { trail } = n1.send(reply(first))
  expect(trail.filter((rule) => /^(forward|redirection|source|input)/.test(rule))).toEqual(['forward accept'])
})

test('without a network that has IPv6 the table has nothing of it', () => {
  const made = facts({ published: [published(two)], services: [service(vipBackends, { vip6 })] })
  const overlay = made.routes.overlay!
  const networks = overlay.networks.map((network) => ({ ...network, ipv6: undefined }))
  expect(familiesOf(networks)).toHaveLength(1)
  const table = renderTable({ ...made, routes: { ...made.routes, overlay: { ...overlay, networks } } })
  expect([...table.sets.keys()].filter((name) => name.endsWith('6'))).toEqual([])
  const base = [...table.chains].filter(([, { hook }]) => hook !== undefined)
  expect(JSON.stringify(base)).not.toMatch(/ip6|ipv6/)
})

test('no IPv6 word of another node reaches nft unchecked', () => {
  const bad = 'fd01::1 } ; flush ruleset'
  const host6 = (text: string) => backend('t1', 'n2', '10.0.1.21', { host6: text })
  const services = ['FD01::1', bad].map((text) => service([host6(text)], { vip6: text }))
  const made = facts({ published: [published([host6(bad)])], services })
  const overlay = made.routes.overlay!
  const spoiled = [
    { subnet: bad, gateway: 'fd01::1' },
    { subnet: 'fd03::/64', gateway: 'FD03::1' },
    { subnet: 'FD04::/64', gateway: 'fd04::1' },
  ]
  const networks = overlay.networks.map((network, i) => ({ ...network, ipv6: spoiled[i] ?? network.ipv6 }))
  const nodes = overlay.nodes.map((node) => ({ ...node, addresses: [bad] }))
  const all = { ...overlay, networks, nodes }
  expect(replacement(renderTable({ ...made, routes: { ...made.routes, overlay: all } })).join('\n')).not.toMatch(
    /flush|FD0/,
  )
})

test('replies find their way back by link-local next hops that stand for the entry nodes', () => {
  const lines = replyRouteLines('vb0', new Map([['a', 517]]), { rules: [], routes: [], neighbours: [] }, ipv6)
  expect(lines[0]).toMatch(/^neighbour replace fe80::6776:205 lladdr 02:/)
  expect(lines[1]).toBe(`route replace default via fe80::6776:205 dev vb0 onlink table ${markBase | 517}`)
  const neighbours = [{ dst: 'fe80::6776:7', lladdr: '02:00:00:00:00:01' }]
  expect(replyRouteLines('vb0', new Map(), { rules: [], routes: [], neighbours }, ipv6).slice(-2)).toEqual([
    'neighbour delete fe80::6776:7 dev vb0',
    `route flush table ${markBase | 7}`,
  ])
})
