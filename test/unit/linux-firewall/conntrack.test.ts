// Which UDP connections are forgotten: those that only we translated, to a backend that is gone.
import { expect, test } from 'vitest'
import { currentBackends, outdated, readTracked } from '../../../agent/dataplane/linux/conntrack.ts'
import { backend, published, routes, service } from './world.ts'

const ports = [{ protocol: 'udp' as const, target: 53, actual: 53 }]
const dns = published([backend('t1', 'n2', '10.255.0.4', { ports })], { protocol: 'udp', port: 5300, target: 53 })
const vip = service([backend('t2', 'n2', '10.0.1.22', { ports })])

function forgotten(table: ReturnType<typeof routes>, lines: readonly string[]): readonly string[] {
  const current = currentBackends(table, ['10.77.0.1', 'fd77::1'])
  return outdated(
    lines.flatMap((line) => readTracked(line) ?? []),
    current,
  ).map(({ destination, port, backend: end }) => `${destination}:${port} by ${end}`)
}

/** As conntrack 1.4.7 prints it. */
function entry(from: string, to: string, port: number, by: string, byPort: number): string {
  return (
    `udp      17 28 src=${from} dst=${to} sport=40000 dport=${port} [UNREPLIED] ` +
    `src=${by} dst=${from} sport=${byPort} dport=40000 mark=0 use=1`
  )
}

const live = entry('192.0.2.7', '10.77.0.1', 5300, '10.255.0.4', 53)
const stale = entry('192.0.2.7', '10.77.0.1', 5300, '10.255.0.5', 53)
const staleVip = entry('10.0.1.30', '10.0.1.10', 53, '10.0.1.23', 53)

test('an entry whose backend is current stays, one whose backend is gone goes', () => {
  const table = routes({ published: [dns], services: [vip] })
  expect(forgotten(table, [live, stale])).toEqual(['10.77.0.1:5300 by 10.255.0.5'])
  expect(forgotten(table, [entry('10.0.1.30', '10.0.1.10', 53, '10.0.1.22', 53), staleVip])).toEqual([
    '10.0.1.10:53 by 10.0.1.23',
  ])
})

test('entries go when the service has no endpoints left, and when the service itself is gone', () => {
  for (const table of [routes({ published: [{ ...dns, backends: [] }] }), routes()]) {
    expect(forgotten(table, [live, staleVip])).toHaveLength(2)
  }
})

test('an unhealthy backend keeps its clients: its entry is not in the way of anybody', () => {
  const sick = [
    backend('t1', 'n2', '10.255.0.4', { ports, healthy: false }),
    backend('t3', 'n2', '10.255.0.6', { ports }),
  ]
  expect(forgotten(routes({ published: [{ ...dns, backends: sick }] }), [live])).toEqual([])
})

test('a datagram that a listener served before the kernel did finds a backend next time', () => {
  expect(
    forgotten(routes({ published: [dns] }), [entry('192.0.2.7', '10.77.0.1', 5300, '10.77.0.1', 5300)]),
  ).toHaveLength(1)
})

test('the entries of other programs, of tunnels and of this machine itself stay', () => {
  const others = [
    entry('192.0.2.7', '10.77.0.1', 9999, '172.17.0.2', 53),
    entry('10.77.0.2', '10.77.0.1', 4789, '10.77.0.1', 4789),
    entry('10.77.0.1', '10.77.0.1', 5300, '10.77.0.1', 5300),
    entry('10.0.1.30', '10.0.1.31', 53, '10.0.1.31', 53),
    entry('10.0.1.30', '198.51.100.1', 53, '198.51.100.1', 53),
    'tcp      6 119 TIME_WAIT src=10.0.1.30 dst=10.0.1.10 sport=1 dport=53 src=10.0.1.23 dst=10.0.1.30 sport=53 dport=1',
  ]
  expect(forgotten(routes({ published: [dns], services: [vip] }), others)).toEqual([])
})

test('IPv6 entries go by the same rule, and those that a listener serves at an IPv6 address stay', () => {
  const dual = published([backend('t1', 'n2', '10.255.0.4', { ports, host6: 'fdff::4' })], {
    ...{ protocol: 'udp', port: 5300, target: 53 },
  })
  const web = service([backend('t2', 'n2', '10.0.1.22', { ports, host6: 'fd01::16' })], { vip6: 'fd01::a' })
  const lines = [
    entry('2001:db8::7', 'fd77::1', 5300, 'fdff::4', 53),
    entry('2001:db8::7', 'fd77::1', 5300, 'fdff::5', 53),
    entry('fd01::1e', 'fd01::a', 53, 'fd01::16', 53),
    entry('fd01::1e', 'fd01::a', 53, 'fd01::17', 53),
    entry('fd01::1e', '2001:db8::53', 53, '2001:db8::53', 53),
  ]
  expect(forgotten(routes({ published: [dual], services: [web] }), lines)).toEqual([
    'fd77::1:5300 by fdff::5',
    'fd01::a:53 by fd01::17',
  ])
  const served = [entry('2001:db8::7', 'fd77::1', 5300, 'fd77::1', 5300)]
  expect(forgotten(routes({ published: [dns] }), served)).toEqual([])
  expect(forgotten(routes({ published: [dual] }), served)).toHaveLength(1)
})
