// What a container that is no task is given, and what of it stays its engine's.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { TaskLinks } from '../../../agent/dataplane/linux/devices.ts'
import {
  asRequest,
  type GuestWay,
  guestScript,
  isNamespaceOf,
  nameservers,
  serversOf,
} from '../../../agent/dataplane/linux/guests.ts'
import { networkDevices, type Site } from '../../../agent/dataplane/linux/overlay-devices.ts'

const site: Site = {
  nodeMac: '02:00:00:00:00:01',
  underlay: '192.0.2.1',
  inner: 'fd22::1',
  vxlanPort: 4789,
  pathMtu: 1500,
  filtered: false,
  group: 7,
  mark: 'abcd1234',
}
const network = {
  id: 'net',
  name: 'net',
  subnet: '10.9.0.0/16',
  gateway: '10.9.0.1',
  internal: false,
  encrypted: false,
  mtu: undefined,
}
const links: TaskLinks = {
  task: 'guest1',
  links: [{ network: 'net', address: '10.9.64.9' }],
  resolver: { host: '10.9.0.1', port: 10_100 },
}
const cable = {
  task: 'guest1',
  network: 'net',
  address: '10.9.64.9',
  devices: networkDevices(network, site),
  internal: false,
}

function script(way: Partial<GuestWay> = {}): string {
  const there = { namespace: false, pid: 7, hasDevice: () => false }
  return guestScript(
    links,
    cable,
    { ...there, way: { pid: 7, servers: ['192.0.2.53'], takesWayOut: false, ...way } },
    site,
  )
}

test('it has the way to the subnet, and its engine keeps rules, tracking and its own way out', () => {
  expect(script()).toContain('netns attach gv-guest1-abcd1234 7')
  expect(script()).toContain('route replace 10.9.0.0/16 via 10.9.0.1')
  for (const none of ['rule flush', 'notrack', 'eth0 mtu', 'add default', 'ip_unprivileged'])
    expect(script()).not.toContain(none)
  expect(script({ takesWayOut: true })).toContain('ip route add default via 10.9.0.1')
})

test('questions to its servers come to the agent, from the address of its cable; loopback is opened only for a server there', () => {
  expect(script()).toContain('ip daddr { 192.0.2.53 } udp dport 53 dnat to 10.9.0.1:10100')
  expect(script()).toContain('ip daddr 10.9.0.1 udp dport 10100 masquerade')
  expect(script()).not.toMatch(/route_localnet|guard/)
  expect(script({ servers: ['127.0.0.11'] })).toMatch(/echo 1 >.*route_localnet[\s\S]*chain guard/)
  expect(script({ servers: [] })).not.toContain('dnat')
})

test('servers are those of its resolv.conf, or those that its engine asks for it from inside', () => {
  const request = { guest: 'g', network: 'net', address: '10.9.64.9', pid: process.pid, takesWayOut: false }
  expect(serversOf({ ...request, asks: ['192.0.2.53', '127.0.0.53', '2001:db8::53'] })).toEqual(['192.0.2.53'])
  expect(serversOf({ ...request, asks: undefined, pid: 2 ** 30 })).toEqual([])
  expect(asRequest({ ...request, asks: undefined })).toMatchObject({ task: 'g', service: 'net', targets: [] })
})

test('a name of a namespace is known for that of a process', () => {
  expect(isNamespaceOf('/proc/self/ns/net', process.pid)).toBe(true)
  expect(isNamespaceOf('/proc/self/ns/mnt', process.pid)).toBe(false)
  expect(isNamespaceOf('/run/netns/none-such', process.pid)).toBe(false)
})

test('a container may have anything in the place of its resolv.conf, and holds up nobody with it', () => {
  const folder = mkdtempSync(join(tmpdir(), 'vine-guest-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const [file, pipe] = [join(folder, 'resolv.conf'), join(folder, 'pipe')]
  writeFileSync(file, 'search x\nnameserver 192.0.2.1\nnameserver 192.0.2.1\nnameserver ::1\n')
  execFileSync('mkfifo', [pipe])
  expect([file, pipe, folder, '/dev/zero'].map(nameservers)).toEqual([['192.0.2.1'], [], [], []])
})
