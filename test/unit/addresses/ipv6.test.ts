// IPv6 beside IPv4: texts, and addresses that follow from those that are claimed.
import fc from 'fast-check'
import ipaddr from 'ipaddr.js'
import { expect, test } from 'vitest'
import { chooseIpv6, ipv4At, ipv6Maker, ipv6Of } from '../../../agent/core/addresses/dual.ts'
import { formatAddress, parseSubnet } from '../../../agent/core/addresses/ipv4.ts'
import {
  contains6,
  formatAddress6,
  isAddress6,
  isSubnet6,
  isUnicast,
  overlap6,
  parseAddress6,
  parseSubnet6,
} from '../../../agent/core/addresses/ipv6.ts'
import { chooseTaskAddress } from '../../../agent/core/addresses/task.ts'
import { chooseVip } from '../../../agent/core/addresses/vip.ts'
import { conflicts } from '../../../agent/core/conflicts.ts'
import { clientPlace } from '../../../agent/core/routes/client-place.ts'
import { at, network, stamped, view } from '../placement/build.ts'

/** Any, with runs of zeros more often than chance gives them. */
const address = fc
  .array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff })), { minLength: 8, maxLength: 8 })
  .map((groups) => ipaddr.IPv6.parse(groups.map((group) => group.toString(16)).join(':')))

test('every spelling of an address is read as the same number, and written in one way (RFC 5952)', () => {
  fc.assert(
    fc.property(address, (known) => {
      const number = parseAddress6(known.toNormalizedString())!
      expect(formatAddress6(number)).toBe(known.toRFC5952String())
      for (const text of [
        known.toNormalizedString().toUpperCase(),
        known.toRFC5952String().toUpperCase(),
        known.toString(),
      ])
        expect(parseAddress6(text)).toBe(number)
    }),
  )
})

test.for(['', ':', ':::', '1::2::3', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1:2:3:4:5:6:7::8', '12345::', 'g::'])(
  '"%s" is no address',
  (text) => {
    expect(parseAddress6(text)).toBeUndefined()
  },
)

test.for([
  '::ffff:10.0.0.1',
  'fe80::1%eth0',
  'fd00::1 ; flush ruleset',
  '10.0.0.1',
  'FD00::1',
  'fd00:0::1',
  '[fd00::1]',
])('"%s" is not how a program of ours writes an address', (text) => {
  expect(isAddress6(text)).toBe(false)
})

test('a subnet has no host bits, holds its addresses, and overlaps what has some of them', () => {
  expect(['fd00::/64', 'fd00::1/64', 'fd00::/129', 'fd00::', 'fd00::/6 4'].map(isSubnet6)).toEqual([
    ...[true, false, false, false, false],
  ])
  const [wide, narrow, other] = ['fd00::/48', 'fd00:0:0:7::/64', 'fd00:0:1::/64'].map((text) => parseSubnet6(text)!)
  expect([overlap6(wide!, narrow!), overlap6(narrow!, wide!), overlap6(wide!, other!)]).toEqual([true, true, false])
  expect(contains6(narrow!, parseAddress6('fd00:0:0:7:ffff::')!)).toBe(true)
  expect(contains6(narrow!, parseAddress6('fd00:0:0:8::')!)).toBe(false)
  const judged = ['fd00::/8', '2001:db8::/32', 'fe80::/64', 'ff02::/16', '::/0', '::/96', '2000::/2']
  expect(judged.map((text) => isUnicast(parseSubnet6(text)!))).toEqual([true, true, false, false, false, false, false])
})

test('each IPv4 address of a network has an IPv6 address of its own, and is found again by it', () => {
  const pair = fc.record({
    bits: fc.integer({ min: 8, max: 29 }),
    base: fc.nat(2 ** 32 - 1),
    six: fc.bigInt(0n, 2n ** 128n - 1n),
  })
  const places = fc.uniqueArray(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 2, maxLength: 20 })
  fc.assert(
    fc.property(pair, places, fc.nat(60), ({ bits, base, six }, fractions, spare) => {
      const subnet4 = `${formatAddress(base)}/${bits}`
      const subnet6 = `${formatAddress6(six)}/${Math.max(0, 96 + bits - spare)}`
      const { base: first, size } = parseSubnet(subnet4)!
      const addresses = [...new Set(fractions.map((part) => formatAddress(first + Math.floor(part * size))))]
      const make = ipv6Maker(subnet4, subnet6)
      const made = addresses.map((text) => make(text)!)
      expect(new Set(made).size).toBe(addresses.length)
      expect(made.every((text) => isAddress6(text) && contains6(parseSubnet6(subnet6)!, parseAddress6(text)!))).toBe(
        true,
      )
      expect(made.map((text) => ipv4At(subnet4, subnet6, text))).toEqual(addresses)
    }),
  )
})

test('an IPv6 subnet with fewer places than the IPv4 one gives no address at all', () => {
  expect(ipv6Maker('10.0.1.0/24', 'fd00::/121')('10.0.1.2')).toBeUndefined()
  expect(ipv6Maker('10.0.1.0/24', 'fd00::/120')('10.0.1.2')).toBe('fd00::2')
  expect(ipv6Maker('10.0.1.0/24', 'fd00::/120')('10.0.2.2')).toBeUndefined()
  expect(ipv4At('10.0.1.0/24', 'fd00::/64', 'fd00::1:0')).toBeUndefined()
})

test('nobody is given the IPv6 gateway, or an IPv6 address that is kept for others', () => {
  const place = fc.integer({ min: 1, max: 40 })
  fc.assert(
    fc.property(place, place, fc.string(), (gateway, spare, key) => {
      const net = network('net', '10.0.1.0/27')
      const IPAM = { Config: [{ Subnet: 'fd00::/64', AuxiliaryAddresses: { printer: `fd00::${spare.toString(16)}` } }] }
      const kept = { subnet6: 'fd00::/64', gateway6: `fd00::${gateway.toString(16)}` }
      const dual = { ...net, value: { ...net.value, ...kept, spec: { Name: 'net', EnableIPv6: true, IPAM } } }
      const make = ipv6Maker('10.0.1.0/27', 'fd00::/64')
      const seen = view({ networks: [dual] })
      for (const given of [chooseVip(seen, 'net', key), chooseTaskAddress(seen, 'net', key)]) {
        const text = given === undefined ? undefined : make(given)
        expect([kept.gateway6, `fd00::${spare.toString(16)}`]).not.toContain(text)
      }
    }),
  )
})

const founded = { settings: stamped('cluster', { name: '', created: at(1), addressPool: '' }) }

test('a subnet that nobody named is a unique local /64, the same on every node, another for another network or cluster', () => {
  const none = { ...view({}), ...founded }
  const web = chooseIpv6(none, 'web')!
  expect(web.subnet).toMatch(/^fd[0-9a-f:]+::\/64$/)
  expect(web).toEqual(chooseIpv6(none, 'web'))
  expect(web.gateway).toBe(web.subnet.replace('::/64', '::1'))
  const other = { ...none, settings: stamped('cluster', { name: '', created: at(2), addressPool: '' }) }
  expect(new Set([web, chooseIpv6(none, 'db'), chooseIpv6(other, 'web')].map((one) => one?.subnet)).size).toBe(3)
  const net = network('net', '10.0.1.0/24')
  const taken = { ...net, value: { ...net.value, subnet6: web.subnet, gateway6: web.gateway } }
  expect(chooseIpv6({ ...view({ networks: [taken] }), ...founded }, 'web')?.subnet).not.toBe(web.subnet)
  expect(chooseIpv6(view({}), 'web')).toBeUndefined()
})

test('ingress has one that no other network gets, recorded or not', () => {
  const net = network('ingress', '10.255.0.0/16')
  const own = ipv6Of(founded, 'ingress', net.value)!
  expect(own.subnet).toMatch(/:ffff::\/64$/)
  expect(ipv6Of({ settings: undefined }, 'ingress', net.value)).toBeUndefined()
  const later = network('later', '10.0.9.0/24')
  const thief = { ...later, value: { ...later.value, subnet6: own.subnet, gateway6: own.gateway } }
  expect([...conflicts({ ...view({ networks: [thief] }), ...founded })]).toEqual([
    ['later', `subnet ${own.subnet} overlaps with that of network "ingress", which is older`],
  ])
})

test('of two networks with overlapping IPv6 subnets the older keeps its own', () => {
  const dual = (id: string, third: number, subnet6: string, ms: number) => {
    const net = network(id, `10.0.${third}.0/24`)
    return { ...net, value: { ...net.value, subnet6, gateway6: 'fd00::1', created: at(ms) } }
  }
  const seen = view({
    networks: [dual('b', 2, 'fd00::/64', 2), dual('a', 1, 'fd00::/48', 1), dual('c', 3, 'fd01::/64', 3)],
  })
  expect([...conflicts(seen)]).toEqual([['b', 'subnet fd00::/64 overlaps with that of network "a", which is older']])
})

// From the set that `nft add rule … meta mark set jhash ip6 saddr mod 4093 seed 0x6776696e` filled in Linux 6.18.
test.for([
  ['fd77::254', 0xab8],
  ['fd09::15', 0xc2a],
  ['2001:db8::1', 0xd3e],
  ['2001:db8:1:2:3:4:5:6', 0xa6e],
  ['::1', 0x81],
] as const)('the place of %s in a table of 4093 is where the kernel has it', ([client, place]) => {
  expect(clientPlace(client, 4_093)).toBe(place)
})
