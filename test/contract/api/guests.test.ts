// Containers and networks of the cluster as Docker's clients ask for them: what is ours, what is passed to the engine, and what the engine is told instead.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createContainers, readContainer } from '../../../agent/api/engine/containers.ts'
import { createEngine } from '../../../agent/api/engine/engine.ts'
import type { Wish } from '../../../agent/core/guests.ts'
import { fault } from '../../../agent/fault.ts'
import { type Running, startApi } from '../../unit/api/client.ts'
import { createFake, nodeIds } from '../../unit/api/fake.ts'
import { until } from '../../until.ts'
import { type FakeEngine, startEngine } from './fake-engine.ts'

let engine: FakeEngine
let api: Running
let asked: unknown[]
/** Bodies of /containers/create as the engine got them. */
let made: { readonly [key: string]: unknown }[]

beforeEach(async () => {
  engine = await startEngine()
  asked = []
  made = []
  const fake = createFake()
  const guests = {
    async connect({ value }: { value: { spec: { Name: string } } }, container: string, wish: Wish) {
      if (container === 'none') throw fault('not-found', 'No such container: none')
      asked.push(['connect', value.spec.Name, container, wish])
      return []
    },
    async disconnect({ value }: { value: { spec: { Name: string } } }, container: string) {
      asked.push(['disconnect', value.spec.Name, container])
    },
    expect: (network: string, container: object, wish: Wish) => void asked.push(['expect', network, container, wish]),
  }
  api = await startApi({ ...fake, context: { ...fake.context, guests, engine: createEngine(engine.socket) } })
  const self = fake.view.members.get(nodeIds[0])!
  const record = { ...self.record, value: { ...self.record.value, dataplane: 'linux' } }
  fake.view.members.set(nodeIds[0], { ...self, record })
  await api.post('/networks/create', { Name: 'app', Driver: 'overlay', Attachable: true })
  await api.post('/networks/create', { Name: 'closed', Driver: 'overlay' })
  engine.answers.set('POST /containers/create', ((incoming, response) => {
    const chunks: Buffer[] = []
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.on('end', () => {
      made.push(JSON.parse(Buffer.concat(chunks).toString()))
      response.writeHead(201, { 'Content-Type': 'application/json' })
      response.end(JSON.stringify({ Id: 'f'.repeat(64), Warnings: [] }))
    })
  }) satisfies (incoming: IncomingMessage, response: ServerResponse) => void)
  engine.answers.set(`GET /containers/${'f'.repeat(64)}/json`, { Name: '/box' })
})
afterEach(async () => {
  await api.stop()
  await engine.stop()
})

describe('connect and disconnect', () => {
  test('of a network of ours are ours, with all that the client asked for', async () => {
    const connect = (body: object) => api.post('/v1.41/networks/app/connect', { Container: 'box', ...body })
    expect((await connect({ EndpointConfig: { Aliases: ['a', 'a'], IPAMConfig: {}, Links: null } })).status).toBe(200)
    await connect({ EndpointConfig: { IPAMConfig: { IPv4Address: '10.0.1.9' }, Links: ['x'] } })
    expect((await api.post('/networks/app/disconnect', { Container: 'box', Force: true })).status).toBe(200)
    expect(asked).toEqual([
      ['connect', 'app', 'box', { aliases: ['a'], address: undefined, unknown: undefined }],
      ['connect', 'app', 'box', { aliases: [], address: '10.0.1.9', unknown: 'links (--link)' }],
      ['disconnect', 'app', 'box'],
    ])
    expect(engine.asked.filter((line) => line.includes('connect'))).toEqual([])
  })

  test('answer with the status of what went wrong', async () => {
    expect((await api.post('/networks/app/connect', { Container: 'none' })).status).toBe(404)
    expect((await api.post('/networks/app/connect', {})).status).toBe(400)
    expect((await api.post('/networks/gone/connect', { Container: 'box' })).status).toBe(404)
  })
})

test('a container that runs on a network is shown there and keeps it', async () => {
  const { view } = api.fake
  const [network] = [...view.networks.values()].filter(({ value }) => value.spec.Name === 'app')
  const { boot } = view.members.get(nodeIds[0])!.record.value
  const value = {
    network: network!.id,
    node: nodeIds[0],
    boot,
    created: network!.value.created,
    container: 'c1',
    name: 'box',
  }
  const address = network!.value.subnet.replace('0/24', '77')
  view.guests.set('g', { ...network!, id: 'g', value: { ...value, aliases: [], alone: false, address } })
  expect((await api.get('/networks/app')).body.Containers).toEqual({
    c1: { Name: 'box', EndpointID: 'g', MacAddress: '', IPv4Address: `${address}/24`, IPv6Address: '' },
  })
  const refused = await api.delete('/networks/app')
  expect([refused.status, refused.body.message]).toEqual([
    403,
    expect.stringMatching(/has active endpoints: container box/),
  ])
  expect((await api.post('/networks/prune', {})).body.NetworksDeleted).toEqual(['closed'])
  view.guests.clear()
  expect((await api.delete('/networks/app')).status).toBe(204)
})

describe('a container that is made', () => {
  const create = (body: object) => api.post('/v1.41/containers/create?name=box', body)

  test('for a network of ours has none of the engine, and is expected there', async () => {
    const endpoint = { Aliases: ['cache'] }
    const { status, body } = await create({
      Image: 'box',
      HostConfig: { NetworkMode: 'app', Memory: 1 },
      NetworkingConfig: { EndpointsConfig: { app: endpoint } },
    })
    expect([status, body.Id]).toEqual([201, 'f'.repeat(64)])
    expect(made).toEqual([
      {
        Image: 'box',
        HostConfig: { NetworkMode: 'none', Memory: 1, Dns: ['127.0.0.11'] },
        NetworkingConfig: { EndpointsConfig: {} },
      },
    ])
    const container = { id: 'f'.repeat(64), name: 'box' }
    expect(asked).toEqual([['expect', expect.any(String), container, expect.objectContaining({ aliases: ['cache'] })]])
    expect(engine.asked).toContain('POST /containers/create?name=box')
  })

  test('with published ports is on the bridge of the engine too, and with another network there', async () => {
    await create({ HostConfig: { NetworkMode: 'app', PortBindings: { '80/tcp': [] } } })
    await create({ HostConfig: { NetworkMode: 'shop' }, NetworkingConfig: { EndpointsConfig: { shop: {}, app: {} } } })
    expect(made.map(({ HostConfig }) => HostConfig)).toEqual([
      { NetworkMode: 'bridge', PortBindings: { '80/tcp': [] } },
      { NetworkMode: 'shop' },
    ])
    expect(made[1]?.NetworkingConfig).toEqual({ EndpointsConfig: { shop: {} } })
    expect(asked).toHaveLength(2)
  })

  test('for a network that takes none is not made', async () => {
    const { status, body } = await create({ HostConfig: { NetworkMode: 'closed' } })
    expect([status, body.message]).toEqual([403, expect.stringContaining('not manually attachable')])
    expect([made, asked]).toEqual([[], []])
  })

  test('for networks of the engine alone is its business, as it was asked for', async () => {
    await create({ Image: 'box', HostConfig: { NetworkMode: 'default', Odd: [1] } })
    expect([made, asked]).toEqual([[{ Image: 'box', HostConfig: { NetworkMode: 'default', Odd: [1] } }], []])
  })

  test('is not expected where the engine did not make it', async () => {
    engine.answers.set('POST /containers/create', ((_incoming, response) => {
      response.writeHead(404, { 'Content-Type': 'application/json' })
      response.end('{"message":"No such image: box"}')
    }) satisfies (incoming: IncomingMessage, response: ServerResponse) => void)
    const { status, body } = await create({ HostConfig: { NetworkMode: 'app' } })
    expect([status, body.message, asked]).toEqual([404, 'No such image: box', []])
  })
})

describe('what the engine says of a container', () => {
  const body = {
    Id: 'a'.repeat(64),
    Name: '/box',
    State: { Running: true, Pid: 7 },
    Config: { Labels: { 'grapevine.task': 't' } },
    HostConfig: { NetworkMode: 'container:x', Dns: null },
    NetworkSettings: { Networks: { bridge: {} } },
  }

  test('is read as its API has it, and nothing else is', () => {
    const read = {
      id: 'a'.repeat(64),
      name: 'box',
      pid: 7,
      namespace: 'shared',
      networks: ['bridge'],
      dns: [],
      isTask: true,
    }
    expect(readContainer(body)).toEqual(read)
    expect(readContainer({ ...body, State: { Running: false, Pid: 0 } })?.pid).toBeUndefined()
    for (const odd of [
      {},
      undefined,
      { ...body, Id: '../etc' },
      { ...body, State: { Running: true, Pid: '7; reboot' } },
    ])
      expect(readContainer(odd)).toBeUndefined()
  })

  test('is no container where there is none, and no answer where it gives none', async () => {
    const containers = createContainers(createEngine(engine.socket), { after: () => () => {}, wall: () => 0 })
    expect(await containers.find('gone')).toBeUndefined()
    engine.answers.set('/containers/box/json', { odd: true })
    await expect(containers.find('box')).rejects.toMatchObject({ code: 'unavailable' })
  })

  test('is heard event by event, and after a break anything may have happened', async () => {
    let end = () => {}
    engine.answers.set('GET /events', ((_incoming, response) => {
      response.writeHead(200)
      response.write('no json\n{"Action":"die","Actor":{"ID":"c1"}}\n')
      end = () => void response.end()
    }) satisfies (incoming: IncomingMessage, response: ServerResponse) => void)
    const heard: (string | undefined)[] = []
    const timers: (() => void)[] = []
    const after = (_ms: number, task: () => void) => {
      timers.push(task)
      return () => {}
    }
    const containers = createContainers(createEngine(engine.socket), { after, wall: () => 5_000 })
    const cancel = containers.watch((container) => heard.push(container))
    await until(() => heard.length === 1, { deadlineMs: 5_000, what: 'the event' })
    end()
    await until(() => timers.length === 1, { deadlineMs: 5_000, what: 'the end to be noticed' })
    timers[0]?.()
    await until(() => heard.length === 3, { deadlineMs: 5_000, what: 'the second time' })
    expect(heard).toEqual(['c1', undefined, 'c1'])
    expect(engine.asked.filter((line) => line.includes('since=3&'))).toHaveLength(2)
    cancel()
  })
})
