// Which IPv6 addresses a node with the linux data plane tells and sends to: those at which somebody serves.
import { expect, test } from 'vitest'
import { overlayAddressOf, overlayTargetOf } from '../../../agent/core/names/overlay.ts'
import type { Target } from '../../../agent/core/names/table.ts'
import { routes } from '../../../agent/core/routes/routes.ts'
import type { View } from '../../../agent/core/view.ts'
import type { EndpointValue, MemberValue } from '../../../protocol/model.ts'
import { service, view } from '../routes/builders.ts'

const created = { ms: 1, counter: 0, node: 'n1' }
const author = { node: 'n1', log: 'l' }

/** Service s1 at 10.0.1.2 with the task t1 of n2 at 10.0.1.66, on a network with fd01::/64; its own task t2 of n1 does not serve IPv6. */
function seen(endpoint: Partial<EndpointValue>, self: Partial<MemberValue> = {}): View {
  const plain = view({
    services: [service('s1', { networks: ['net'], ports: [] })],
    tasks: [
      { id: 't1', node: 'n2', networks: ['net'], endpoint: { address: '10.0.1.66', host: '10.0.1.66', ...endpoint } },
      { id: 't2', node: 'n1', networks: ['net'], endpoint: { address: '10.0.1.67', host: '10.0.1.67' } },
    ],
  })
  for (const [id, { record }] of plain.members)
    Object.assign(record.value, {
      dataplane: 'linux',
      addresses: [`192.0.2.${id.slice(1)}`],
      ...(id === 'n1' ? self : {}),
    })
  for (const vip of plain.services.get('s1')!.value.vips) Object.assign(vip, { address: '10.0.1.2' })
  const addressing = { subnet: '10.0.1.0/24', gateway: '10.0.1.1', subnet6: 'fd01::/64', gateway6: 'fd01::1' }
  const value = { spec: { Name: 'net', EnableIPv6: true }, created, ...addressing }
  return { ...plain, networks: new Map([['net', { id: 'net', value, version: created, author }]]) }
}

const web: Target = { kind: 'service', network: 'net', id: 's1' }
const t1: Target = { kind: 'task', network: 'net', id: 't1' }
const t2: Target = { kind: 'task', network: 'net', id: 't2' }
const told = (of: View) => [web, t1, t2].map((target) => overlayAddressOf(target, 6, of))
const sentTo = (of: View) => {
  const [route] = routes(of).services
  return [route?.vip6, ...(route?.backends ?? []).map(({ host6 }) => host6)]
}

test('a service and a task that serve IPv6 are told and sent to, a task that does not is not', () => {
  const serving = seen({ ipv6: true })
  expect(told(serving)).toEqual(['fd01::2', 'fd01::42', undefined])
  expect(sentTo(serving)).toEqual(['fd01::2', 'fd01::42', undefined])
  expect([web, t1, t2].map((target) => overlayAddressOf(target, 4, serving))).toEqual([
    ...['10.0.1.2', '10.0.1.66', '10.0.1.67'],
  ])
})

test('where nobody serves IPv6 the service has no IPv6 address to tell, and its virtual one refuses', () => {
  expect(told(seen({}))).toEqual([undefined, undefined, undefined])
  expect(sentTo(seen({}))).toEqual(['fd01::2', undefined, undefined])
})

test.for<readonly [string, Partial<MemberValue>]>([
  ['carries no IPv6', { noIpv6: 'the kernel has no IPv6' }],
  ['forwards in user space', { dataplane: 'userspace' }],
])('a node that %s tells of none and sends to none', ([, self]) => {
  const without = seen({ ipv6: true }, self)
  expect(told(without)).toEqual([undefined, undefined, undefined])
  expect(sentTo(without).filter((address) => address !== undefined)).toEqual([])
  expect(routes(without).overlay?.networks.map(({ ipv6 }) => ipv6) ?? []).not.toContainEqual(expect.anything())
})

test('what an IPv6 address stands for is what the IPv4 address of its place stands for', () => {
  const known = seen({ ipv6: true })
  const asked = ['fd01::2', 'fd01:0:0:0:0000:0:0:42', 'fd01::99', 'fd01::1:0', 'fd02::2', '10.0.1.2']
  expect(asked.map((address) => overlayTargetOf(address, known))).toEqual([
    web,
    t1,
    'unknown',
    undefined,
    undefined,
    web,
  ])
})
