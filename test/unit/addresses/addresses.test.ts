// Addresses, subnets and ports: claims that both sides of a partition make alike.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { contains, formatAddress, overlap, parseAddress, parseSubnet } from '../../../agent/core/addresses/ipv4.ts'
import { lostAddresses } from '../../../agent/core/addresses/lost.ts'
import { choosePublishedPorts } from '../../../agent/core/addresses/ports.ts'
import { probe } from '../../../agent/core/addresses/probe.ts'
import { chooseSubnet } from '../../../agent/core/addresses/subnet.ts'
import { chooseTaskAddress } from '../../../agent/core/addresses/task.ts'
import { chooseVip, lostVips } from '../../../agent/core/addresses/vip.ts'
import { conflicts } from '../../../agent/core/conflicts.ts'
import type { Fault } from '../../../agent/fault.ts'
import { at, guest, member, network, service, stamped, task, view } from '../placement/build.ts'

const net = network('net', '10.0.1.0/24')

test('an address is the same after a way through its number', () => {
  fc.assert(fc.property(fc.ipV4(), (text) => formatAddress(parseAddress(text) as number) === text))
})

test.for(['', '1.2.3', '1.2.3.4.5', '256.1.1.1', 'a.b.c.d', '1.2.3.-4'])('%s is no address', (text) => {
  expect(parseAddress(text)).toBeUndefined()
})

test.for(['10.0.0.0', '10.0.0.0/33', '10.0.0.0/a', '10.0.0.0/24/1'])('%s is no subnet', (text) => {
  expect(parseSubnet(text)).toBeUndefined()
})

test('probing reaches every candidate exactly once', () => {
  fc.assert(
    fc.property(fc.string(), fc.integer({ min: 1, max: 300 }), (key, size) => {
      expect(new Set(probe(key, size)).size).toBe(size)
    }),
  )
})

test('a VIP lies in the first quarter, a task address in the rest, neither is gateway, network or broadcast', () => {
  fc.assert(
    fc.property(fc.string(), (name) => {
      const last = (address: string | undefined) => Number(address?.split('.')[3])
      const empty = view({ networks: [net] })
      const vip = last(chooseVip(empty, 'net', name))
      const address = last(chooseTaskAddress(empty, 'net', name))
      expect(vip >= 2 && vip < 64).toBe(true)
      expect(address >= 64 && address < 255).toBe(true)
    }),
  )
})

test('a service created anew under its name has its old VIP, and no other service has it', () => {
  const first = chooseVip(view({ networks: [net] }), 'net', 'web') as string
  expect(chooseVip(view({ networks: [net] }), 'net', 'web')).toBe(first)
  const other = service('x', { name: 'x', vips: [{ network: 'net', address: first }] })
  expect(chooseVip(view({ networks: [net], services: [other] }), 'net', 'web')).not.toBe(first)
})

/** The network `net` with a part of its subnet asked for, and addresses kept for others. */
function ranged(config: { readonly IPRange: string; readonly AuxiliaryAddresses?: Record<string, string> }) {
  return { ...net, value: { ...net.value, spec: { Name: 'net', IPAM: { Config: [config] } } } }
}

test('where a range was asked for, VIPs are in its first quarter, tasks in its rest, and spare addresses are nobody’s', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('10.0.1.0/26', '10.0.1.64/27', '10.0.1.192/26', '10.0.1.0/30', '10.0.1.252/30', '10.0.1.0/24'),
      fc.uniqueArray(fc.integer({ min: 0, max: 255 }), { maxLength: 4 }),
      (IPRange, spare) => {
        const AuxiliaryAddresses = Object.fromEntries(spare.map((last) => [`x${last}`, `10.0.1.${last}`]))
        const net = ranged({ IPRange, AuxiliaryAddresses })
        const range = parseSubnet(IPRange)!
        const vips = new Set<number>()
        const tasks = new Set<number>()
        for (let i = 0; i < 40; i++) {
          vips.add(parseAddress(chooseVip(view({ networks: [net] }), 'net', `s${i}`) ?? '') ?? -1)
          tasks.add(parseAddress(chooseTaskAddress(view({ networks: [net] }), 'net', `t${i}`) ?? '') ?? -1)
        }
        const given = [...vips, ...tasks].filter((address) => address !== -1)
        const nobodys = [0, 1, 255, ...spare].map((last) => parseAddress(`10.0.1.${last}`))
        expect(given.filter((address) => !contains(range, address) || nobodys.includes(address))).toEqual([])
        expect([...vips].some((address) => address !== -1 && tasks.has(address))).toBe(false)
      },
    ),
  )
})

test('a range of four addresses holds a VIP and a task', () => {
  const networks = [ranged({ IPRange: '10.0.1.8/30' })]
  expect(chooseVip(view({ networks }), 'net', 'web')).toBe('10.0.1.8')
  expect(chooseTaskAddress(view({ networks }), 'net', 't')).toMatch(/^10\.0\.1\.(9|10|11)$/)
})

test('a full first quarter gives no VIP', () => {
  const services = Array.from({ length: 62 }, (_, i) =>
    service(`s${i}`, { vips: [{ network: 'net', address: `10.0.1.${i + 2}` }] }),
  )
  expect(chooseVip(view({ networks: [net], services }), 'net', 'web')).toBeUndefined()
})

test('a freed address rests while others are free, one of a live task is never given', () => {
  const small = network('net', '10.0.1.0/29')
  const web = service('web')
  const held = (id: string, address: string, state: 'running' | 'shutdown') =>
    task(id, web, { slot: id, node: 'n1', state, addresses: [{ network: 'net', address }] })
  const tasks = [held('1', '10.0.1.3', 'shutdown'), held('2', '10.0.1.4', 'running'), held('3', '10.0.1.5', 'running')]
  const parts = { members: [member('n1')], networks: [small], services: [web] }
  for (const id of ['a', 'b', 'c', 'd'])
    expect(chooseTaskAddress(view({ ...parts, tasks }), 'net', id)).toBe('10.0.1.6')
  const more = [...tasks, held('4', '10.0.1.6', 'running')]
  expect(chooseTaskAddress(view({ ...parts, tasks: more }), 'net', 'a')).toBe('10.0.1.3')
  const full = [...more, held('5', '10.0.1.3', 'running')]
  expect(chooseTaskAddress(view({ ...parts, tasks: full }), 'net', 'a')).toBeUndefined()
})

test('of two live tasks with one address the earlier keeps it', () => {
  const web = service('web', { replicas: 2 })
  const addresses = [{ network: 'net', address: '10.0.1.100' }]
  const tasks = [
    task('late', web, { slot: '1', node: 'n1', created: at(2), addresses }),
    task('early', web, { slot: '2', node: 'n1', created: at(1), addresses }),
  ]
  expect([...lostAddresses(view({ members: [member('n1')], services: [web], tasks }))]).toEqual(['late'])
})

test('of two services with one VIP the later is to choose another', () => {
  const vips = [{ network: 'net', address: '10.0.1.9' }]
  const services = [service('b', { vips, created: at(2) }), service('a', { vips, created: at(1) })]
  expect([...lostVips(view({ networks: [net], services }))]).toEqual([['b', []]])
})

test('networks get blocks of the pool that do not overlap, the same on both sides of a partition', () => {
  const networks = [network('a', '10.0.0.0/9')]
  const chosen = chooseSubnet(view({ networks }), 'front')
  expect(chosen).toEqual(chooseSubnet(view({ networks }), 'front'))
  expect(overlap(parseSubnet(chosen?.subnet ?? '')!, parseSubnet('10.0.0.0/9')!)).toBe(false)
  expect(chosen?.subnet).toMatch(/^10\.\d+\.\d+\.0\/24$/)
  expect(chosen?.gateway).toBe(chosen?.subnet.replace('.0/24', '.1'))
})

test('a pool that is used up gives no subnet', () => {
  const settings = stamped('settings', { name: '', created: at(0), addressPool: '10.9.0.0/23' })
  const networks = [network('a', '10.9.0.0/24'), network('b', '10.9.1.0/24')]
  expect(chooseSubnet({ ...view({ networks }), settings }, 'c')).toBeUndefined()
  const one = chooseSubnet({ ...view({ networks: networks.slice(1) }), settings }, 'c')
  expect(one).toEqual({ subnet: '10.9.0.0/24', gateway: '10.9.0.1' })
})

const port = (published: number, mode: 'ingress' | 'host' = 'ingress', protocol: 'tcp' | 'udp' = 'tcp') => ({
  protocol,
  target: 80,
  published,
  mode,
})

function ask(held: readonly ReturnType<typeof port>[], wanted: readonly ReturnType<typeof port>[]) {
  const services = [service('s1', { name: 'web', ports: [...held] })]
  return choosePublishedPorts(view({ services }), service('s2', { name: 'api', ports: [...wanted] }).value.spec, 's2')
}

test.for([
  [
    'the same ingress port',
    [port(8080)],
    [port(8080)],
    'port 8080 is already in use by service "web" as an ingress port',
  ],
  [
    'an ingress port in host mode',
    [port(8080)],
    [port(8080, 'host')],
    'port 8080 is already in use by service "web" as an ingress port',
  ],
  [
    'a host port as ingress',
    [port(8080, 'host')],
    [port(8080)],
    'port 8080 is already in use by service "web" as a host-published port',
  ],
  ['a port twice', [], [port(8080), port(8080)], 'port 8080/tcp is published twice by the same service'],
] as const)('%s is refused with a sentence', ([, held, wanted, sentence]) => {
  expect(() => ask(held, wanted)).toThrow(sentence)
})

test('tcp and udp of one number may coexist, and a host-mode port may be shared', () => {
  expect(ask([port(8080)], [port(8080, 'ingress', 'udp')])).toHaveLength(1)
  expect(ask([port(8080, 'host')], [port(8080, 'host')])).toHaveLength(1)
})

test('a port that nobody named is one of 30000 to 32767, kept by its service and free of others', () => {
  const [made] = ask([], [port(0)])
  expect(made?.published).toBeGreaterThanOrEqual(30_000)
  expect(made?.published).toBeLessThanOrEqual(32_767)
  const [other] = ask([port(made?.published ?? 0)], [port(0)])
  expect(other?.published).not.toBe(made?.published)
  const spec = service('s2', { name: 'api', ports: [port(0)] }).value.spec
  const kept = service('s2', { name: 'api', ports: [port(32_001)] })
  expect(choosePublishedPorts(view({ services: [kept] }), spec, 's2')[0]?.published).toBe(32_001)
})

test('a refusal is a conflict, and says what to do', () => {
  try {
    ask([port(8080)], [port(8080)])
    expect.unreachable()
  } catch (thrown) {
    expect(thrown as Fault).toMatchObject({ code: 'conflict', fix: expect.any(String) })
  }
})

test('the earlier service keeps a port taken twice at once, and the later recovers when it is gone', () => {
  const early = service('b', { name: 'web', ports: [port(8080)], created: at(1) })
  const late = service('a', { name: 'api', ports: [port(8080)], created: at(2) })
  expect(Object.fromEntries(conflicts(view({ services: [late, early] })))).toEqual({
    a: 'port 8080 is already in use by service "web" as an ingress port',
  })
  expect(conflicts(view({ services: [late] })).size).toBe(0)
})

test('a guest has an address that no live task or guest has, and of two claims the earlier stands, whoever made it', () => {
  const web = service('web')
  const first = chooseTaskAddress(view({ networks: [net] }), 'net', 'g') as string
  const addresses = [{ network: 'net', address: first }]
  const one = task('t', web, { slot: '1', node: 'n1', state: 'running', addresses, created: at(2) })
  const parts = { members: [member('n1')], networks: [net], services: [web] }
  expect(chooseTaskAddress(view({ ...parts, tasks: [one] }), 'net', 'g')).not.toBe(first)
  const early = guest('g', { address: first, created: at(1) })
  expect(chooseTaskAddress(view({ ...parts, guests: [early] }), 'net', 'h')).toBe(
    chooseTaskAddress(view({ networks: [net] }), 'net', 'h'),
  )
  expect([...lostAddresses(view({ ...parts, tasks: [one], guests: [early] }))]).toEqual(['t'])
  const late = guest('g', { address: first, created: at(3) })
  expect([...lostAddresses(view({ ...parts, tasks: [one], guests: [late] }))]).toEqual(['g'])
  const { address: _none, ...off } = late.value
  expect([...lostAddresses(view({ ...parts, tasks: [one], guests: [{ ...late, value: off }] }))]).toEqual([])
})
