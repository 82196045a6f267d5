// What becomes of packets on a node whose kernel forwards: the promises of design.md 8, traced through the rendered table.
import { expect, test } from 'vitest'
import { maglevPick } from '../../../agent/core/routes/maglev.ts'
import { affinityTable } from '../../../agent/core/routes/pick.ts'
import type { Routes } from '../../../agent/core/routes/types.ts'
import { markBase } from '../../../agent/dataplane/linux/frame.ts'
import { bridgeName, tunnelNumber } from '../../../agent/dataplane/linux/names.ts'
import { renderTable } from '../../../agent/dataplane/linux/render.ts'
import { replacement } from '../../../agent/dataplane/linux/text.ts'
import {
  backend,
  encrypted,
  ends,
  facts,
  fromTask,
  machine,
  packet,
  published,
  reply,
  routes,
  service,
  tunnelled,
  vault,
} from './world.ts'

const client = '192.0.2.7:40000'
const two = [backend('t1', 'n2', '10.255.0.4'), backend('t2', 'n2', '10.255.0.5')]
const vipBackends = [backend('t1', 'n1', '10.0.1.21', { local: true }), backend('t2', 'n2', '10.0.1.22')]
const links = (address: string, network = 'appnet') => ({
  task: 't1',
  links: [{ network, address }],
  resolver: { host: '10.0.1.1', port: 10_153 },
})

test('a client of a node without a task reaches each of the two tasks in turn, and its address is kept', () => {
  const n1 = machine({ published: [published(two)] })
  const reached = [40_000, 40_001].map((port) => n1.send(packet(`192.0.2.7:${port}`, '10.77.0.1:8000')))
  expect(reached.map(({ verdict, oif }) => [verdict, oif])).toEqual([
    ['forwarded', bridgeName('ingress')],
    ['forwarded', bridgeName('ingress')],
  ])
  expect(reached.map(({ packet }) => ends(packet))).toEqual([
    '192.0.2.7:40000 -> 10.255.0.4:80',
    '192.0.2.7:40001 -> 10.255.0.5:80',
  ])
})

test('the answer of a task goes back through the node by which the client came, and leaves it from the address that was asked', () => {
  const [n1, n2] = [machine({ published: [published(two)] }), machine({ published: [published(two)] }, 'n2')]
  const sent = n1.send(packet(client, '10.77.0.1:8000')).packet
  const arrived = n2.send(tunnelled(sent, 'n1'))
  expect([arrived.verdict, arrived.oif, arrived.mark]).toEqual(['forwarded', bridgeName('ingress'), 0])
  const answered = n2.send(fromTask('ingress', '10.255.0.4:80', client))
  expect([answered.mark, answered.oif]).toEqual([markBase | 1, 'way to n1'])
  expect(ends(answered.packet)).toBe('10.255.0.4:80 -> 192.0.2.7:40000')
  const left = n1.send(tunnelled(answered.packet, 'n2'))
  expect([left.oif, left.mark, ends(left.packet)]).toEqual(['eth0', 0, '10.77.0.1:8000 -> 192.0.2.7:40000'])
})

test('a client that uses one source port towards two entry nodes has two connections', () => {
  const n3 = machine({}, 'n3')
  const throughN1 = n3.send(tunnelled(packet(client, '10.255.0.4:80'), 'n1')).packet
  const throughN2 = n3.send(tunnelled(packet(client, '10.255.0.4:80'), 'n2')).packet
  expect(throughN1.sport).toBe(40_000)
  expect(throughN2.sport).not.toBe(40_000)
  const answers = [throughN1, throughN2].map((arrived) => n3.send(reply(arrived, { ether: '06:00:00:00:00:01' })))
  expect(answers.map(({ oif, packet }) => `${oif}: ${ends(packet)}`)).toEqual([
    'way to n1: 10.255.0.4:80 -> 192.0.2.7:40000',
    'way to n2: 10.255.0.4:80 -> 192.0.2.7:40000',
  ])
})

test('a task of a userspace node is reached at its node and real port, from our own address', () => {
  const ports = [{ protocol: 'tcp' as const, target: 80, actual: 34_567 }]
  const strange = backend('t3', 'n3', '10.77.0.3', { ports })
  const n1 = machine({ published: [published([strange])], services: [service([strange])] })
  const expected = '10.77.0.1:40000 -> 10.77.0.3:34567'
  expect(ends(n1.send(packet(client, '10.77.0.1:8000')).packet)).toBe(expected)
  expect(ends(n1.send(fromTask('appnet', '10.0.1.21', '10.0.1.10:80')).packet)).toBe(
    expected.replace('.1:40000', '.1:40001'),
  )
})

test('the address of a task of a userspace node leads to it from its own network only', () => {
  const ports = [{ protocol: 'tcp' as const, target: 80, actual: 34_567 }]
  const route = { network: 'appnet', task: 't3', service: 's1', address: '10.0.1.33' }
  const n1 = machine({ tasks: [{ ...route, backend: backend('t3', 'n3', '10.77.0.3', { ports }) }] })
  const reached = n1.send(fromTask('appnet', '10.0.1.21', '10.0.1.33:80'))
  expect([reached.oif, ends(reached.packet)]).toEqual(['eth0', '10.77.0.1:40000 -> 10.77.0.3:34567'])
  expect(n1.send(fromTask('other', '10.0.2.21', '10.0.1.33:80')).verdict).toBe('rejected')
})

test('a VIP leads to each backend in turn, on any port, with the address of the task that asks', () => {
  const n1 = machine({ services: [service(vipBackends)] })
  const reached = [5432, 9999].map((port) => n1.send(fromTask('appnet', '10.0.1.30', `10.0.1.10:${port}`)))
  expect(reached.map(({ packet }) => ends(packet))).toEqual([
    '10.0.1.30:40000 -> 10.0.1.21:5432',
    '10.0.1.30:40000 -> 10.0.1.22:9999',
  ])
  const ping = n1.send(fromTask('appnet', '10.0.1.30', '10.0.1.10', { protocol: 'icmp' }))
  expect([ping.verdict, ping.packet.destination]).toEqual(['forwarded', '10.0.1.21'])
})

test('a task that is led back to itself hears from the gateway', () => {
  const n1 = machine({ services: [service(vipBackends.slice(0, 1))] }, 'n1', [links('10.0.1.21')])
  const reached = n1.send(fromTask('appnet', '10.0.1.21', '10.0.1.10:80'))
  expect([reached.oif, ends(reached.packet)]).toEqual([bridgeName('appnet'), '10.0.1.1:40000 -> 10.0.1.21:80'])
  expect(ends(n1.send(reply(reached.packet)).packet)).toBe('10.0.1.10:80 -> 10.0.1.21:40000')
})

test('a service with tasks on both kinds of nodes is balanced over all, and refuses ports that nobody declared', () => {
  const ports = [{ protocol: 'tcp' as const, target: 80, actual: 34_567 }]
  const strange = backend('t3', 'n3', '10.77.0.3', { ports })
  const n1 = machine({ services: [service([vipBackends[1]!, strange])] })
  const at = (port: number) => n1.send(fromTask('appnet', `10.0.1.30:${40_000 + port}`, `10.0.1.10:${port}`))
  expect(ends(at(80).packet)).toBe('10.0.1.30:40080 -> 10.0.1.22:80')
  expect(ends(at(80).packet)).toBe('10.0.1.30:40080 -> 10.0.1.22:80')
  expect(ends(n1.send(fromTask('appnet', '10.0.1.30:1', '10.0.1.10:80')).packet)).toBe('10.77.0.1:1 -> 10.77.0.3:34567')
  expect(at(81).packet.destination).toBe('10.0.1.22')
  expect(at(82).with).toBe('tcp reset')
})

test.for([
  ['tcp', 'tcp reset'],
  ['udp', 'icmpx port-unreachable'],
  ['sctp', 'icmpx port-unreachable'],
] as const)('what has no endpoints is refused at once (%s)', ([protocol, how]) => {
  const n1 = machine({ published: [published([], { protocol })], services: [service([])] })
  const asked = [
    packet(client, '10.77.0.1:8000', { protocol }),
    fromTask('appnet', '10.0.1.21', '10.0.1.10:80', { protocol }),
    fromTask('appnet', '10.0.1.21', '10.77.0.1:8000', { protocol }),
  ]
  expect(asked.map((one) => n1.send(one).with)).toEqual([how, how, how])
})

test.for(['udp', 'sctp'] as const)('%s is published like tcp', (protocol) => {
  const ports = [{ protocol, target: 53, actual: 53 }]
  const route = published([backend('t1', 'n2', '10.255.0.4', { ports })], { protocol, port: 5300, target: 53 })
  const n1 = machine({ published: [route] })
  expect(ends(n1.send(packet(client, '10.77.0.1:5300', { protocol })).packet)).toBe('192.0.2.7:40000 -> 10.255.0.4:53')
  expect(n1.send(packet(client, '10.77.0.1:5300')).verdict).toBe('delivered')
})

test('an established connection keeps its task when the choice changes, and goes on when the service has no endpoints', () => {
  const before = machine({ published: [published(two)] })
  const { packet: first } = before.send(packet(client, '10.77.0.1:8000'))
  before.send(tunnelled(reply(first), 'n2'))
  for (const backends of [two.slice(1), []]) {
    const after = before.with(machine({ published: [published(backends)] }).table)
    expect(ends(after.send(packet(client, '10.77.0.1:8000')).packet)).toBe('192.0.2.7:40000 -> 10.255.0.4:80')
  }
})

test('suspect and unhealthy endpoints get nothing while others exist, and all get when there is nothing else', () => {
  const reached = (backends: readonly ReturnType<typeof backend>[]) => {
    const n1 = machine({ published: [published(backends)] })
    const sent = [1, 2, 3, 4, 5, 6].map((port) => n1.send(packet(`192.0.2.7:${port}`, '10.77.0.1:8000')))
    return [...new Set(sent.map(({ packet }) => packet.destination))].sort()
  }
  const at = (last: number, more: Partial<ReturnType<typeof backend>> = {}) =>
    backend(`t${last}`, 'n2', `10.255.0.${last}`, more)
  expect(reached([at(4), at(5), at(6, { suspect: true })])).toEqual(['10.255.0.4', '10.255.0.5'])
  expect(reached([at(4), at(5), at(6, { healthy: false })])).toEqual(['10.255.0.4', '10.255.0.5'])
  expect(reached([at(4), at(5, { healthy: false }), at(6, { healthy: false })])).toHaveLength(3)
  expect(reached([at(4, { suspect: true }), at(5, { suspect: true })])).toHaveLength(2)
})

test('with client-ip affinity a client reaches the same task from every port, through every node, as in user space', () => {
  const backends = ['t1', 't2', 't3', 't4', 't5'].map((task, i) => backend(task, 'n2', `10.255.0.${i + 4}`))
  const options = { affinity: 'client-ip' as const, proxyProtocol: false }
  const [n1, n2] = (['n1', 'n2'] as const).map((self) =>
    machine({ published: [published(backends, { options })] }, self),
  )
  const table = affinityTable(backends)
  const chosen = new Set<string>()
  for (let i = 0; i < 60; i++) {
    const address = `192.0.${i}.7`
    const own = backends.find(({ task }) => task === maglevPick(table, address, () => true))!.host
    for (const port of [1, 2]) {
      expect(n1!.send(packet(`${address}:${port}`, '10.77.0.1:8000')).packet.destination).toBe(own)
      expect(n2!.send(packet(`${address}:${port}`, '10.77.0.2:8000')).packet.destination).toBe(own)
    }
    chosen.add(own)
  }
  expect(chosen.size).toBe(5)
})

test('tasks of different networks do not reach each other, tasks of one network do', () => {
  const n1 = machine()
  expect(n1.send(fromTask('appnet', '10.0.1.21', '10.0.2.21:80')).with).toBe('icmpx admin-prohibited')
  expect(n1.send(fromTask('appnet', '10.0.1.21', '10.255.0.4:80')).with).toBe('icmpx admin-prohibited')
  expect(n1.send(fromTask('ingress', '10.255.0.9', '10.255.0.4:80')).with).toBe('icmpx admin-prohibited')
  expect(n1.send(fromTask('appnet', '10.0.1.21', '10.0.1.22:80')).verdict).toBe('forwarded')
})

test('the VIP of a service is for tasks on its network only', () => {
  const n1 = machine({ services: [service(vipBackends)] })
  expect(n1.send(fromTask('other', '10.0.2.21', '10.0.1.10:80')).verdict).toBe('rejected')
  expect(n1.send(packet(client, '10.0.1.10:80')).verdict).toBe('rejected')
})

test('a task reaches the outside as its node, and from an internal network not at all', () => {
  const n1 = machine()
  const out = n1.send(fromTask('appnet', '10.0.1.21', '198.51.100.1:443'))
  expect([out.oif, ends(out.packet)]).toEqual(['eth0', '10.77.0.1:40000 -> 198.51.100.1:443'])
  expect(ends(n1.send(reply(out.packet, { iif: 'eth0' })).packet)).toBe('198.51.100.1:443 -> 10.0.1.21:40000')
  for (const to of ['198.51.100.1:443', '10.77.0.1:22', '10.77.0.2:22']) {
    expect(n1.send(fromTask('hidden', '10.0.3.21', to)).with).toBe('icmpx admin-prohibited')
  }
})

test('a task of an internal network reaches a service whose task is on a userspace node', () => {
  const ports = [{ protocol: 'tcp' as const, target: 80, actual: 34_567 }]
  const strange = backend('t3', 'n3', '10.77.0.3', { ports })
  const n1 = machine({ services: [service([strange], { network: 'hidden', vip: '10.0.3.10' })] })
  const reached = n1.send(fromTask('hidden', '10.0.3.21', '10.0.3.10:80'))
  expect([reached.verdict, reached.packet.destination]).toEqual(['forwarded', '10.77.0.3'])
  expect(n1.send(fromTask('hidden', '10.0.3.21', '10.77.0.3:80')).verdict).toBe('rejected')
})

test('an internal network has no way out by a published port either', () => {
  const n1 = machine({ published: [published(two)] })
  expect(n1.send(fromTask('hidden', '10.0.3.21', '10.77.0.1:8000')).with).toBe('icmpx admin-prohibited')
})

test('nobody outside reaches a task but by a published port', () => {
  const n1 = machine()
  expect(n1.send(packet(client, '10.0.1.21:80')).with).toBe('icmpx admin-prohibited')
  expect(n1.send(packet(client, '10.255.0.4:80')).with).toBe('icmpx admin-prohibited')
})

test('a published port asked by a task or by a member is answered through this node', () => {
  const n1 = machine({ published: [published(two.slice(0, 1))] })
  const fromMember = n1.send(packet('10.77.0.2:40000', '10.77.0.1:8000'))
  expect(ends(fromMember.packet)).toBe('10.77.0.1:40000 -> 10.255.0.4:80')
  const byTask = n1.send(fromTask('appnet', '10.0.1.21:40001', '10.77.0.1:8000'))
  expect([byTask.oif, ends(byTask.packet)]).toEqual([bridgeName('ingress'), '10.77.0.1:40001 -> 10.255.0.4:80'])
})

test('a task asks its own resolver, no other and nothing else at the gateway', () => {
  const n1 = machine({}, 'n1', [links('10.0.1.21')])
  const ask = (from: string, to: string) => n1.send(fromTask('appnet', from, to, { protocol: 'udp' })).verdict
  expect(ask('10.0.1.21', '10.0.1.1:10153')).toBe('delivered')
  expect(ask('10.0.1.22', '10.0.1.1:10153')).toBe('rejected')
  expect(ask('10.0.1.21', '10.0.1.1:10154')).toBe('rejected')
  expect(n1.send(fromTask('appnet', '10.0.1.21', '10.0.1.1', { protocol: 'icmp' })).verdict).toBe('delivered')
  expect(n1.send(fromTask('appnet', '10.0.1.21', '127.0.0.1:2375')).verdict).toBe('rejected')
})

test('a port that wants the PROXY header is left to its listener', () => {
  const options = { affinity: 'none' as const, proxyProtocol: true }
  const n1 = machine({ published: [published(two, { options })] })
  expect(n1.send(packet(client, '10.77.0.1:8000')).verdict).toBe('delivered')
})

test('the traffic of other programs is neither judged nor changed', () => {
  const n1 = machine({ published: [published(two)] })
  const passing = n1.send(packet(client, '172.17.0.2:8000'))
  expect([passing.verdict, ends(passing.packet), passing.mark]).toEqual([
    'forwarded',
    '192.0.2.7:40000 -> 172.17.0.2:8000',
    0,
  ])
  expect(n1.send(packet(client, '10.77.0.1:22')).verdict).toBe('delivered')
  expect(n1.send(packet('172.17.0.2:40000', '198.51.100.1:443', { iif: 'docker0' })).packet.source).toBe('172.17.0.2')
})

test('an endpoint that is no address, has no port or lives on an unknown node is left out', () => {
  const hostile = [
    backend('t1', 'n2', '10.255.0.4 ; flush ruleset'),
    backend('t1 ; flush ruleset', 'n2', '10.255.0.5'),
    backend('t2', 'n2', '10.255.0.06'),
    backend('t3', 'n2', '10.255.0.7', { ports: [{ protocol: 'tcp', target: 80, actual: 70_000 }] }),
    { ...backend('t4', 'n2', '10.255.0.8'), node: 'stranger' },
  ]
  const n1 = machine({ published: [published(hostile)], services: [service(hostile.slice(0, 3))] })
  expect(n1.send(packet(client, '10.77.0.1:8000')).with).toBe('tcp reset')
  expect(n1.send(fromTask('appnet', '10.0.1.21', '10.0.1.10:80')).with).toBe('tcp reset')
})

test('no word of another node reaches nft unchecked', () => {
  const bad = '} ; flush ruleset'
  const hostile = (service: string): Partial<Routes> => ({
    published: [published([backend(bad, 'n2', bad)], { service })],
    services: [serviceAt(service, bad), serviceAt(service, '10.0.1.10'), serviceAt(service, '010.0.1.10')],
    tasks: [{ network: 'appnet', task: bad, service, address: bad, backend: backend(bad, 'n3', bad) }],
  })
  const made = facts(hostile(bad))
  const overlay = made.routes.overlay!
  const networks = overlay.networks.map((network) => ({ ...network, gateway: bad }))
  const nodes = overlay.nodes.map((node) => ({ ...node, addresses: [bad, '010.77.0.2'] }))
  const routes = { ...made.routes, overlay: { ...overlay, networks, nodes } }
  const text = replacement(renderTable({ ...made, routes })).join('\n')
  expect(text).not.toMatch(/flush|\b0\d+\./)

  function serviceAt(id: string, vip: string) {
    return service([backend('t1', 'n2', '10.0.1.21')], { service: id, vip })
  }
})

test('two services that claim one VIP: the first keeps it', () => {
  const second = service(vipBackends.slice(1), { service: 's2' })
  const n1 = machine({ services: [service(vipBackends.slice(0, 1)), second] })
  expect(n1.send(fromTask('appnet', '10.0.1.30', '10.0.1.10:80')).packet.destination).toBe('10.0.1.21')
})

/** On a node that carries the encrypted network too. */
const withVault = (more: Partial<Routes> = {}) => {
  const { overlay } = routes()
  const nodes = overlay!.nodes.map((other) => (other.node === 'n2' ? { ...other, dataPathPort: 4_791 } : other))
  return machine({ overlay: { ...overlay!, nodes, networks: [...overlay!.networks, vault] }, ...more })
}

test('a tunnel of an encrypted network passes through WireGuard alone, either way; other tunnels pass as before', () => {
  const n1 = withVault()
  const tunnel = (iif: string, network: string, more = {}) =>
    packet('10.77.0.2:50000', '10.77.0.1:4789', { iif, protocol: 'udp', vni: tunnelNumber(network), ...more })
  expect(['eth0', 'lo', bridgeName('appnet')].map((iif) => n1.send(tunnel(iif, 'vault')).with)).toEqual(
    Array(3).fill('silence'),
  )
  expect(n1.send(tunnel(encrypted.device, 'vault')).verdict).toBe('delivered')
  expect(n1.send(tunnel('eth0', 'appnet')).verdict).toBe('delivered')
  expect(n1.send(tunnel('eth0', 'vault', { dport: 4_790 })).verdict).toBe('delivered')
  expect([n1.leaves(tunnel('', 'vault'), encrypted.device), n1.leaves(tunnel('', 'vault'), 'eth0')]).toEqual([
    true,
    false,
  ])
  expect(n1.leaves(tunnel('', 'vault', { dport: 4_791 }), 'eth0')).toBe(false)
  expect(n1.leaves(tunnel('', 'appnet'), 'eth0')).toBe(true)
  expect(machine().send(tunnel('eth0', 'vault')).verdict).toBe('delivered')
})

test('nothing but tunnels comes out of WireGuard: it is no way around a firewall of the machine', () => {
  const n1 = withVault()
  const inside = { iif: encrypted.device }
  expect(n1.send(packet('10.77.0.2', '10.77.0.1:22', inside)).with).toBe('silence')
  expect(n1.send(packet('10.77.0.2', '10.77.0.1:53', { ...inside, protocol: 'udp' })).with).toBe('silence')
  expect(n1.send(packet('10.77.0.2', '192.0.2.7:80', inside)).with).toBe('silence')
  expect(n1.send(packet('10.77.0.2', '10.77.0.1:22')).verdict).toBe('delivered')
})

test('on an encrypted network a task of a userspace node, which would be reached in clear, is refused', () => {
  const ports = [{ protocol: 'tcp' as const, target: 80, actual: 34_567 }]
  const strange = backend('t3', 'n3', '10.77.0.3', { ports })
  const both = [backend('t2', 'n2', '10.0.4.22'), strange]
  const vip = { network: 'vault', vip: '10.0.4.10' }
  const route = { network: 'vault', task: 't3', service: 's1', address: '10.0.4.33', backend: strange }
  const n1 = withVault({ services: [service(both, vip)], tasks: [route] })
  const asked = Array.from({ length: 4 }, (_, i) =>
    n1.send(fromTask('vault', `10.0.4.21:${40_000 + i}`, '10.0.4.10:80')),
  )
  expect(asked.map(({ packet }) => packet.destination)).toEqual(Array(4).fill('10.0.4.22'))
  expect(n1.send(fromTask('vault', '10.0.4.21', '10.0.4.33:80')).with).toBe('tcp reset')
  const none = withVault({ services: [service([strange], vip)] })
  expect(none.send(fromTask('vault', '10.0.4.21', '10.0.4.10:80')).with).toBe('tcp reset')
})

test('whoever routes an overlay to a node from outside finds nobody at its gateway; programs of the node itself do', () => {
  const n1 = machine({}, 'n1', [links('10.0.1.21')])
  expect(n1.send(packet(client, '10.0.1.1:10153', { protocol: 'udp' })).verdict).not.toBe('delivered')
  expect(n1.send(packet('10.0.1.1:40000', '10.0.1.1:10153', { protocol: 'udp', iif: 'lo' })).verdict).toBe('delivered')
})
