// Tasks with network namespaces of their own, on nodes with the linux data plane: what they claim, what they are told, where they are dialled.
import { expect, test } from 'vitest'
import type { TaskPlan } from '../../../agent/world.ts'
import { memberValue } from '../placement/build.ts'
import { FakeWorld } from './world.ts'

const published = { target: 80, published: 8080, protocol: 'tcp', mode: 'ingress' } as const

/** One node, with the networks `net` 10.0.1.0/24 and `ingress` 10.255.0.0/16. */
async function aNode(dataplane: 'linux' | 'userspace'): Promise<FakeWorld> {
  const world = await new FakeWorld(['n1']).start()
  const n1 = world.node('n1')
  world.write(n1, { scope: 'cluster', kind: 'member', id: 'n1', value: memberValue('n1', { dataplane }) })
  for (const [id, subnet, gateway] of [
    ['ingress', '10.255.0.0/16', '10.255.0.1'],
    ['net', '10.0.1.0/24', '10.0.1.1'],
  ] as const) {
    const created = { ms: 0, counter: 0, node: '' }
    world.write(n1, { scope: 'cluster', kind: 'network', id, value: { spec: { Name: id }, created, subnet, gateway } })
  }
  return world
}

async function networksOf(world: FakeWorld, service: string): Promise<readonly string[] | undefined> {
  await world.until(() => world.servingOf(service).length === 1)
  return world.servingOf(service)[0]?.value.addresses.map(({ network }) => network)
}

test('a task that publishes has an address on ingress, and so has one that has no network at all', async () => {
  const world = await aNode('linux')
  world.createService('web', { networks: ['net'], ports: [published] })
  world.createService('host', { networks: ['net'], ports: [{ ...published, published: 81, mode: 'host' }] })
  world.createService('quiet', { networks: ['net'] })
  world.createService('alone', {})
  expect(await networksOf(world, 'web')).toEqual(['net', 'ingress'])
  expect(await networksOf(world, 'host')).toEqual(['net', 'ingress'])
  expect(await networksOf(world, 'quiet')).toEqual(['net'])
  expect(await networksOf(world, 'alone')).toEqual(['ingress'])
})

test('a task of a userspace node claims no address on ingress', async () => {
  const world = await aNode('userspace')
  world.createService('web', { networks: ['net'], ports: [published] })
  world.createService('alone', {})
  expect(await networksOf(world, 'web')).toEqual(['net'])
  expect(await networksOf(world, 'alone')).toEqual([])
})

test('a node holds the networks of its tasks while they run, and never asks to hold or drop ingress', async () => {
  const world = await aNode('linux')
  world.createService('web', { networks: ['net'], ports: [published] })
  expect(await networksOf(world, 'web')).toEqual(['net', 'ingress'])
  expect(world.node('n1').held.networks).toEqual(['net'])
  world.write(world.node('n1'), { scope: 'cluster', kind: 'service', id: 'web', value: null })
  await world.until(() => world.node('n1').view.tasks.size === 0)
  await world.run(100)
  expect(world.node('n1').held.networks).toEqual([])
})

test('an endpoint is dialled at its address on that very network, at the port that the service declares', async () => {
  const world = await aNode('linux')
  world.createService('web', { networks: ['net'], ports: [published] })
  world.createService('host', { ports: [{ ...published, published: 81, mode: 'host' }] })
  await networksOf(world, 'web')
  await networksOf(world, 'host')
  const { view } = world.node('n1')
  for (const { id, value } of [...world.servingOf('web'), ...world.servingOf('host')]) {
    for (const { network, address } of value.addresses) {
      const endpoint = view.endpoints.get(network)?.get(id)?.value
      expect(endpoint).toMatchObject({ host: address, address, ports: [{ target: 80, actual: 80 }] })
    }
  }
  expect([...(view.endpoints.get('ingress') ?? [])]).toHaveLength(2)
})

test('a task is told to listen on all its addresses at its target port, and to ask 127.0.0.11', async () => {
  const world = await aNode('linux')
  world.createService('web', { networks: ['net'], ports: [published] })
  await networksOf(world, 'web')
  const plans: readonly TaskPlan[] = [...world.node('n1').running.values()].map(({ plan }) => plan)
  expect(plans[0]?.env).toMatchObject({
    GRAPEVINE_ADDRESS: '0.0.0.0',
    PORT: '80',
    PORT_80: '80',
    GRAPEVINE_DNS: '127.0.0.11:53',
  })
})

test.for([true, false])(
  'whether a task listens for IPv6 too (%s) is said of each of its endpoints',
  async (listens) => {
    const world = await aNode('linux')
    world.listensIpv6 = listens
    world.createService('web', { networks: ['net'], ports: [published] })
    await networksOf(world, 'web')
    const { view } = world.node('n1')
    const endpoints = () => ['net', 'ingress'].flatMap((id) => [...(view.endpoints.get(id)?.values() ?? [])])
    await world.until(() => endpoints().length === 2 && endpoints().every(({ value }) => value.ready))
    await world.run(100)
    expect(endpoints().map(({ value }) => value.ipv6 === true)).toEqual([listens, listens])
  },
)
