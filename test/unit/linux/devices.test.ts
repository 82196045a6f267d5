// What the linux data plane decides about devices, without a kernel: names, entries and their differences, sentences.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Overlay } from '../../../agent/core/routes/overlay.ts'
import type { TaskLinks } from '../../../agent/dataplane/linux/devices.ts'
import { difference, type Forwarding, forwardingOf } from '../../../agent/dataplane/linux/forwarding.ts'
import { foundIn, isWhole } from '../../../agent/dataplane/linux/found.ts'
import {
  bridgeName,
  cableName,
  innerAddress,
  linkGroup,
  markOf,
  namespaceName,
  nodeMac,
  taskMac,
  tunnelName,
  tunnelNumber,
} from '../../../agent/dataplane/linux/names.ts'
import {
  clashingRoute,
  makeLines,
  networkDevices,
  type Site,
  tunnelOf,
} from '../../../agent/dataplane/linux/overlay-devices.ts'
import { cableAlias, tasksOf } from '../../../agent/dataplane/linux/task-namespace.ts'

const id = fc.stringMatching(/^[0-9a-z]{25}$/)
const site: Site = {
  ...{ nodeMac: nodeMac('n1'), underlay: '192.0.2.1', vxlanPort: 4789, pathMtu: 1500, filtered: false },
  inner: innerAddress('n1'),
  ...{ group: linkGroup('abcd1234'), mark: 'abcd1234' },
}
const network = {
  ...{ id: 'net', name: 'appnet', subnet: '10.0.9.0/24', gateway: '10.0.9.1' },
  ...{ internal: false, encrypted: false, mtu: undefined },
}

describe('names', () => {
  test('every name is one the kernel takes, and says nothing that needs quoting', () => {
    fc.assert(
      fc.property(id, id, (one, two) => {
        const devices = [bridgeName(one), tunnelName(one), cableName(one, two)]
        expect(devices.filter((name) => !/^v[bxt][0-9a-z]{9}$/.test(name))).toEqual([])
        expect(namespaceName(one, markOf(two))).toMatch(/^gv-[0-9a-z]{12}-[0-9a-f]{8}$/)
        expect([nodeMac(one), taskMac(one, two)].join()).toMatch(/^02(:[0-9a-f]{2}){5},06(:[0-9a-f]{2}){5}$/)
        expect(tunnelNumber(one)).toBeGreaterThanOrEqual(4096)
        expect(tunnelNumber(one)).toBeLessThan(2 ** 24)
        expect(linkGroup(two)).toBeGreaterThan(0)
        expect(linkGroup(two)).toBeLessThan(2 ** 31)
        expect(tunnelOf(bridgeName(one))).toBe(tunnelName(one))
      }),
    )
  })

  test('names of other tasks, networks, nodes and agents are others', () => {
    expect(cableName('a', 'bc')).not.toBe(cableName('ab', 'c'))
    expect(bridgeName('a')).not.toBe(bridgeName('b'))
    expect(nodeMac('a')).not.toBe(nodeMac('b'))
    expect(markOf('/var/lib/a')).not.toBe(markOf('/var/lib/b'))
    expect(bridgeName('ingress')).toBe(bridgeName('ingress'))
  })
})

describe('entries', () => {
  /** What a kernel would have after these lines; it knows no more than the tools' words. */
  function after(have: Forwarding, want: Forwarding): Forwarding {
    const [neighbours, ports] = [new Map(have.neighbours), new Map(have.ports)]
    const lines = difference(have, want)
    for (const line of lines.ip) {
      const [, verb, address, , mac, , device] = line.split(' ')
      if (verb === 'replace') neighbours.set(`${device} ${address}`, mac!)
      else neighbours.delete(`${mac} ${address}`)
    }
    for (const line of lines.bridge) {
      const [, verb, mac, , device, kind, end] = line.split(' ')
      if (verb === 'replace') ports.set(`${device} ${mac}`, kind === 'dst' ? end! : 'here')
      else ports.delete(`${device} ${mac}`)
    }
    return { neighbours, ports }
  }

  const neighbours = fc
    .dictionary(
      fc.constantFrom('vb1 10.0.0.1', 'vb1 10.0.0.2', 'vb2 10.0.0.1'),
      fc.constantFrom('02:a', '02:b', '06:c'),
    )
    .map((table) => new Map(Object.entries(table)))
  const ports = fc
    .dictionary(fc.constantFrom('vx1 02:a', 'vx1 02:b', 'vx2 02:a'), fc.constantFrom('192.0.2.1', '192.0.2.2'))
    .map((table) => new Map(Object.entries(table)))

  test('the difference makes what is into what should be, and of equal tables there is none', () => {
    const tables = fc.record({ neighbours, ports })
    fc.assert(
      fc.property(tables, tables, (have, want) => {
        expect(after(have, want)).toEqual(want)
        expect(difference(want, want)).toEqual({ ip: [], bridge: [] })
      }),
    )
  })

  const networks = [network, { ...network, id: 'other' }]
  const overlay: Overlay = {
    networks,
    nodes: [
      { node: 'n2', address: '192.0.2.2', addresses: ['192.0.2.2'], dataplane: 'linux', dataPathPort: 4789 },
      { node: 'n3', address: '192.0.2.3', addresses: ['192.0.2.3'], dataplane: 'userspace', dataPathPort: 4789 },
    ],
    places: [
      { network: 'net', address: '10.0.9.11', task: 't1', node: 'n1' },
      { network: 'net', address: '10.0.9.12', task: 't2', node: 'n2' },
      { network: 'net', address: '10.0.9.13', task: 't3', node: 'n3' },
      { network: 'net', address: '10.0.9.14', task: 't4', node: 'gone' },
    ],
  }
  const local: TaskLinks = {
    task: 't1',
    links: [{ network: 'net', address: '10.0.9.11' }],
    resolver: { host: '10.0.9.1', port: 30_001 },
  }

  const here = { bridges: new Set([bridgeName('net')]), networks: new Map(), vxlanPort: 4789 }

  test('a node whose tunnels have a port of their own is reached at it', () => {
    const nodes = overlay.nodes.map((node) => ({ ...node, dataPathPort: 4790 }))
    const want = forwardingOf({ ...overlay, nodes }, { self: 'n1', tasks: [], ...here })
    expect(want.ports.get(`${tunnelName('net')} ${nodeMac('n2')}`)).toBe('192.0.2.2 port 4790')
    const { bridge } = difference({ neighbours: new Map(), ports: new Map() }, want)
    expect(bridge.filter((line) => line.endsWith('dst 192.0.2.2 port 4790 self permanent'))).toHaveLength(1)
  })

  test('a task of a linux node is reached by the hardware address of its node, one of a userspace node not at all', () => {
    const want = forwardingOf(overlay, { self: 'n1', tasks: [local], ...here })
    expect([...want.neighbours]).toEqual([
      [`${bridgeName('net')} 10.0.9.12`, nodeMac('n2')],
      [`${bridgeName('net')} 10.0.9.11`, taskMac('t1', 'net')],
    ])
    expect([...want.ports]).toEqual([
      [`${tunnelName('net')} ${nodeMac('n2')}`, '192.0.2.2'],
      [`${cableName('t1', 'net')} ${taskMac('t1', 'net')}`, 'here'],
    ])
  })

  test('a task of this node without its cables has no entry yet, and a network that is not there has none', () => {
    expect(forwardingOf(overlay, { self: 'n1', tasks: [], ...here }).neighbours.size).toBe(1)
    const none = forwardingOf(overlay, { self: 'n1', tasks: [local], ...here, bridges: new Set() })
    expect([none.neighbours.size, none.ports.size]).toEqual([0, 0])
  })

  test('an encrypted network reaches nodes inside WireGuard, and one that has told no key not at all', () => {
    const nodes = ['n2', 'n4'].map((node) => ({ ...overlay.nodes[0]!, node }))
    const keyed = nodes.map((node) => (node.node === 'n2' ? { ...node, wireguard: { key: 'a', port: 51_820 } } : node))
    const sealed = { ...overlay, networks: [{ ...network, encrypted: true }], nodes: keyed }
    const want = forwardingOf(sealed, { self: 'n1', tasks: [], ...here, vxlanPort: 4_790 })
    expect([...want.ports]).toEqual([[`${tunnelName('net')} ${nodeMac('n2')}`, `${innerAddress('n2')} port 4789`]])
  })

  test('with IPv6 each address has its second beside it', () => {
    const dual = networkDevices({ ...network, ipv6: { subnet: 'fd09::/64', gateway: 'fd09::1' } }, site)
    const at = { ...here, networks: new Map([['net', dual]]) }
    const { neighbours } = forwardingOf(overlay, { self: 'n1', tasks: [local], ...at })
    expect([...neighbours.keys()].map((key) => key.split(' ')[1])).toEqual([
      ...['10.0.9.12', 'fd09::c', '10.0.9.11', 'fd09::b'],
    ])
  })

  test('one place that moves among five thousand is one line', () => {
    const many = Array.from({ length: 5_000 }, (_, i) => ({
      ...{ network: 'net', address: `10.0.${i >> 8}.${i & 255}`, task: `m${i}` },
      node: i % 2 === 0 ? 'n2' : 'n4',
    }))
    const nodes = [...overlay.nodes, { ...overlay.nodes[0]!, node: 'n4', address: '192.0.2.4' }]
    const of = (places: Overlay['places']) =>
      forwardingOf({ networks, nodes, places }, { self: 'n1', tasks: [], ...here })
    const moved = many.map((place, i) => (i === 77 ? { ...place, node: 'n2' } : place))
    expect(difference(of(many), of(moved))).toEqual({
      ip: [`neighbour replace 10.0.0.77 lladdr ${nodeMac('n2')} dev ${bridgeName('net')} nud permanent`],
      bridge: [],
    })
  })
})

describe('networks', () => {
  test.each([
    ['10.0.9.0/24', '10.0.9.0/25', true],
    ['10.0.9.0/24', '10.0.0.0/8', true],
    ['10.0.9.0/24', '10.0.9.77', true],
    ['10.0.9.0/24', '10.0.8.0/24', false],
    ['10.0.9.0/24', 'default', false],
    ['10.0.9.0/24', '0.0.0.0/1', false],
    ['10.0.9.0/24', 'fd09::/64', false],
    ['fd09::/64', 'fd09::/80', true],
    ['fd09::/64', 'fd09::/32', true],
    ['fd09::/64', 'fd09::7', true],
    ['fd09::/64', 'fd0a::/64', false],
    ['fd09::/64', 'default', false],
    ['fd09::/64', 'fc00::/7', false],
  ])('%s and the route %s: clash %s', (subnet, dst, clash) => {
    expect(clashingRoute(subnet, [{ dst, dev: 'eth0' }]) !== undefined).toBe(clash)
  })

  test('packets are as large as the path carries, or as small as was asked, and never larger', () => {
    const mtu = (asked: number | undefined) => networkDevices({ ...network, mtu: asked }, site).mtu
    expect([mtu(undefined), mtu(1_300), mtu(9_000)]).toEqual([1_450, 1_300, 1_450])
  })

  test('an encrypted network ends in WireGuard, and its packets leave room for both', () => {
    const encrypted = { ...network, encrypted: true }
    const sizes = [1_500, 1_400].map((pathMtu) => networkDevices(encrypted, { ...site, pathMtu }).mtu)
    expect(sizes).toEqual([1_500 - 60 - 70, 1_400 - 60 - 70])
    expect(networkDevices(encrypted, { ...site, underlay: '2001:db8::1' }).mtu).toBe(1_500 - 80 - 70)
    expect(networkDevices({ ...encrypted, mtu: 1_200 }, site).mtu).toBe(1_200)
    const lines = makeLines(networkDevices(encrypted, site), site, { bridge: false, tunnel: false, cables: [] })
    expect(lines.filter((line) => line.includes('type vxlan'))).toEqual([
      expect.stringContaining(` local ${innerAddress('n1')} dstport 4789 nolearning`),
    ])
  })

  test('the mark of a network that is whole comes last, and changes with all that it was made of', () => {
    const devices = networkDevices(network, site)
    expect(makeLines(devices, site, { bridge: false, tunnel: false, cables: [] }).at(-1)).toContain(devices.alias)
    const others = [
      networkDevices({ ...network, subnet: '10.0.8.0/24' }, site),
      networkDevices({ ...network, gateway: '10.0.9.2' }, site),
      networkDevices(network, { ...site, pathMtu: 1_400 }),
      networkDevices(network, { ...site, underlay: '192.0.2.9' }),
      networkDevices(network, { ...site, vxlanPort: 4_790 }),
      networkDevices({ ...network, ipv6: { subnet: 'fd09::/64', gateway: 'fd09::1' } }, site),
      networkDevices({ ...network, ipv6: { subnet: 'fd09::/64', gateway: 'fd09::2' } }, site),
    ]
    expect(new Set([devices, ...others].map(({ alias }) => alias)).size).toBe(8)
    expect(others.filter(({ alias }) => alias.length > 255)).toEqual([])
  })

  test('a network is whole only with everything that belongs to it', () => {
    const { bridge, tunnel, alias } = networkDevices(network, site)
    const group = String(site.group)
    const up = { flags: ['UP'], group, mtu: 1450 }
    const whole = {
      links: [
        { ifname: bridge, ifalias: alias, ...up },
        { ifname: tunnel, master: bridge, ...up },
      ],
      addresses: [{ ifname: bridge, addr_info: [{ local: '10.0.9.1' }] }],
      routes: [{ dst: '10.0.9.0/24', dev: bridge }],
      neighbours: [],
      forwarding: [],
    }
    const judge = (changed: Partial<typeof whole>) =>
      isWhole(networkDevices(network, site), foundIn({ ...whole, ...changed }, site.group))
    expect(judge({})).toBe(true)
    const [ours, port] = whole.links
    expect([
      judge({ addresses: [] }),
      judge({ routes: [] }),
      judge({ links: [ours!] }),
      judge({ links: [ours!, { ...port!, flags: [] }] }),
      judge({ links: [{ ...ours!, ifalias: 'grapevine:abcd1234' }, port!] }),
    ]).toEqual([false, false, false, false, false])
    const second = { subnet: 'fd09::/64', gateway: 'fd09::1' }
    const dual = networkDevices({ ...network, ipv6: second }, site)
    const found = (addresses: readonly string[], routes: readonly string[]) => {
      const links = [{ ...ours!, ifalias: dual.alias }, port!]
      const ofBridge = { ifname: bridge, addr_info: addresses.map((text) => ({ local: text })) }
      const rows = routes.map((dst) => ({ dst, dev: bridge }))
      return isWhole(dual, foundIn({ ...whole, links, addresses: [ofBridge], routes: rows }, site.group))
    }
    const all = [
      ['10.0.9.1', 'fd09::1'],
      ['10.0.9.0/24', 'fd09::/64'],
    ] as const
    expect([found(...all), found(['10.0.9.1'], all[1]), found(all[0], ['10.0.9.0/24'])]).toEqual([true, false, false])
  })
})

describe('what is found', () => {
  test('half of a tunnel entry counts as one that leads nowhere, so that it is set again; devices of others are not seen', () => {
    const tables = {
      links: [
        { ifname: 'vxaaaaaaaaa', group: '77' },
        { ifname: 'docker0', group: 'default' },
        { ifname: 'vtaaaaaaaaa', group: '77' },
      ],
      addresses: [],
      routes: [],
      neighbours: [{ dst: '172.17.0.2', dev: 'docker0', lladdr: '02:42:00:00:00:01' }],
      forwarding: [
        { mac: '02:a', ifname: 'vxaaaaaaaaa', master: 'vb', state: 'static' },
        { mac: '02:a', ifname: 'vxaaaaaaaaa', dst: '192.0.2.2', state: 'permanent' },
        { mac: '02:b', ifname: 'vxaaaaaaaaa', dst: '192.0.2.3', state: 'permanent' },
        { mac: '02:c', ifname: 'vxaaaaaaaaa', master: 'vb', state: 'static' },
        { mac: '06:d', ifname: 'vtaaaaaaaaa', master: 'vb', state: 'static' },
        { mac: '0a:e', ifname: 'vtaaaaaaaaa', master: 'vb', state: 'permanent' },
      ],
    }
    const { forwarding } = foundIn(tables, 77)
    expect(forwarding.neighbours.size).toBe(0)
    expect(Object.fromEntries(forwarding.ports)).toEqual({
      'vxaaaaaaaaa 02:a': '192.0.2.2',
      'vxaaaaaaaaa 02:b': '',
      'vxaaaaaaaaa 02:c': '',
      'vtaaaaaaaaa 06:d': 'here',
    })
  })

  test('a task is known again by what stands on its cables, in the order of its interfaces', () => {
    const link = fc.record({ network: fc.oneof(id, fc.constant('ingress')), address: fc.ipV4() })
    const task = fc.record({
      task: id,
      links: fc.array(link, { minLength: 1, maxLength: 9 }),
      resolver: fc.record({ host: fc.ipV4(), port: fc.nat(65_535) }),
    })
    const byTask = (tasks: readonly TaskLinks[]) => new Map(tasks.map((one) => [one.task, one]))
    fc.assert(
      fc.property(fc.uniqueArray(task, { selector: (one) => one.task }), (tasks) => {
        const aliases = tasks.flatMap((one) => one.links.map((_, index) => cableAlias(one, index, 'abcd1234')))
        expect(aliases.filter((alias) => alias.length > 255)).toEqual([])
        expect(tasksOf(aliases.reverse(), 'abcd1234')).toEqual(byTask(tasks))
        expect(tasksOf(aliases, 'ffff1234').size).toBe(0)
      }),
    )
    expect(tasksOf(['', 'grapevine:abcd1234', 'uplink to rack 4'], 'abcd1234').size).toBe(0)
  })
})
