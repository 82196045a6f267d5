// What is seen of the harm that others do to our devices, from two files of /proc/net, and which connections nobody is left to end.
import { expect, test } from 'vitest'
import { parseSubnet } from '../../../agent/core/addresses/ipv4.ts'
import { parseSubnet6 } from '../../../agent/core/addresses/ipv6.ts'
import { departedIn } from '../../../agent/dataplane/linux/departed.ts'
import { harmTo } from '../../../agent/dataplane/linux/harm.ts'
import type { State } from '../../../agent/dataplane/linux/kernel-state.ts'
import { bridgeName, cableName, tunnelName } from '../../../agent/dataplane/linux/names.ts'
import { networkDevices } from '../../../agent/dataplane/linux/overlay-devices.ts'

const net = 'appnet'
const [bridge, tunnel, cable] = [bridgeName(net), tunnelName(net), cableName('t1', net)]
const site = {
  nodeMac: '02:00:00:00:00:01',
  underlay: '10.77.0.1',
  inner: 'fd00::1',
  vxlanPort: 4789,
  pathMtu: 1500,
  filtered: false,
  group: 7,
  mark: 'm',
}
const network = { id: net, name: net, subnet: '10.0.9.0/24', gateway: '10.0.9.1', internal: false, encrypted: false }
const state: State = {
  readAtMs: 0,
  found: {
    links: new Map(),
    addresses: new Set(),
    routes: [],
    forwarding: { neighbours: new Map(), ports: new Map() },
  },
  unproven: new Set(),
  site,
  networks: new Map([[net, networkDevices({ ...network, mtu: undefined }, site)]]),
  bridges: new Set([bridge]),
  tasks: new Map([
    ['t1', { task: 't1', links: [{ network: net, address: '10.0.9.7' }], resolver: { host: '10.0.9.1', port: 1 } }],
  ]),
  forwarding: { neighbours: new Map(), ports: new Map() },
}

/** As the kernel prints them; of `routes` each `device destination mask`. */
function glance(devices: readonly string[], routes: readonly string[]) {
  return {
    devices: `Inter-|   Receive\n face |bytes\n${devices.map((name) => `${name.padStart(6)}: 1 2 3\n`).join('')}`,
    routes: `Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n${routes
      .map((route) => route.split(' '))
      .map(([dev, dst, mask]) => `${dev}\t${dst}\t00000000\t0001\t0\t0\t0\t${mask}\t0\t0\t0\n`)
      .join('')}`,
  }
}

const own = `${bridge} 0009000A 00FFFFFF`
const all = ['lo', bridge, tunnel, cable]

test('nothing is said while all is as it was made, whatever else the machine has', () => {
  expect(harmTo(state, glance([...all, 'docker0'], [own, 'eth0 00000000 00000000', 'eth0 004D0A0A 00FFFFFF']))).toEqual(
    [],
  )
})

test('each device that is gone is named, and a route that is', () => {
  expect(harmTo(state, glance(['lo', bridge], [own]))).toEqual([
    `the device ${tunnel} is gone`,
    `the device ${cable} is gone`,
  ])
  expect(harmTo(state, glance(all, []))).toEqual(['the route to 10.0.9.0/24 is gone'])
})

test('a route that comes to overlap a network is told once it is not known, and once more when it goes', () => {
  const seen = glance(all, [own, 'eth1 8009000A 80FFFFFF'])
  expect(harmTo(state, seen)).toEqual(['a route to 10.0.9.128/25 overlaps 10.0.9.0/24'])
  const known = { ...state, found: { ...state.found, routes: [{ dst: '10.0.9.128/25', dev: 'eth1' }] } }
  expect(harmTo(known, seen)).toEqual([])
  expect(harmTo(known, glance(all, [own]))).toEqual(['nothing overlaps 10.0.9.0/24 any more'])
})

test('a connection is forgotten for whoever spoke on it from an address of ours that nobody has any more, and for no other', () => {
  const now = {
    addresses: new Set(['10.0.9.7', '10.0.9.1', 'fd09::7', 'fd09::1']),
    subnets: [parseSubnet('10.0.9.0/24')!],
    subnets6: [parseSubnet6('fd09::/64')!],
  }
  const line = (from: string, answers: string) =>
    `tcp      6 431999 ESTABLISHED src=${from} dst=10.77.0.1 sport=4 dport=80 src=${answers} dst=${from} sport=80 dport=4 [ASSURED] mark=0 use=1`
  expect(departedIn(line('192.0.2.1', '10.0.9.7'), now)).toEqual([])
  expect(departedIn(line('192.0.2.1', '10.0.9.8'), now)).toEqual([{ end: 'reply', address: '10.0.9.8' }])
  expect(departedIn(line('10.0.9.9', '192.0.2.1'), now)).toEqual([{ end: 'orig', address: '10.0.9.9' }])
  expect(departedIn(line('10.0.9.1', '10.0.9.7'), now)).toEqual([])
  expect(departedIn(line('2001:db8::1', 'fd09::7'), now)).toEqual([])
  expect(departedIn(line('2001:db8::1', 'fd09::8'), now)).toEqual([{ end: 'reply', address: 'fd09::8' }])
  expect(departedIn(line('fd09:0:0:0:0:0:0:1', 'fd09:0:0:0:0:0:0:9'), now)).toEqual([
    { end: 'reply', address: 'fd09:0:0:0:0:0:0:9' },
  ])
})
