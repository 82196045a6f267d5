// The paths that Docker does not have.
import { duplexPair } from 'node:stream'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { requestOver } from '../../../agent/api/relay.ts'
import { createHttpServer } from '../../../agent/api/server.ts'
import { type Running, spec, startApi } from './client.ts'
import { createFake, nodeIds } from './fake.ts'

let api: Running
beforeEach(async () => {
  api = await startApi()
})
afterEach(() => api.stop())

describe('status', () => {
  test('is one line when all is well', async () => {
    await api.post('/services/create', spec('web'))
    api.fake.run()
    const { body } = await api.get('/grapevine/status')
    expect([body.well, body.problems, body.summary]).toEqual([
      true,
      [],
      'All is well in test: 3 nodes, 1 service, 2 tasks',
    ])
  })

  test('has a sentence for each thing that is not', async () => {
    await api.post(
      '/services/create',
      spec('web', {
        TaskTemplate: { ContainerSpec: { Image: 'node' }, Placement: { Constraints: ['node.labels.rack==x'] } },
      }),
    )
    api.fake.setLiveness(nodeIds[2], 'dead')
    Object.assign(api.fake.set, {
      need: 2,
      clockOffsetMs: 15_000,
      warnings: ['port 8080 is bound by another program on 192.0.2.1'],
    })
    const { body } = await api.get('/grapevine/status')
    expect(body.well).toBe(false)
    expect(body.problems).toEqual([
      'Node n3 is down.',
      expect.stringMatching(/^Service "web" runs 0 of 2: web\.1: no suitable node/),
      'This node still lacks 2 records.',
      "The clock of this node is 15 s ahead of the cluster's: it takes no changes.",
      'port 8080 is bound by another program on 192.0.2.1',
    ])
  })

  test('notes a suspicion without calling it a problem', async () => {
    api.fake.setLiveness(nodeIds[1], 'suspect')
    const { body } = await api.get('/grapevine/status')
    expect([body.well, body.notes]).toEqual([true, ['Node n2 is suspect: it does not answer probes.']])
  })

  test('names a member whose tasks and logs are out of reach from here, and the port to open', async () => {
    api.fake.set.unreached = [nodeIds[1]]
    const { body } = await api.get('/grapevine/status')
    expect(body.problems).toEqual([
      'Node n2 takes no connections for tasks and logs at 192.0.2.2:7767: open TCP port 7767 there.',
    ])
  })

  test('on the linux data plane, names a node that has only an address of its own machine', async () => {
    for (const [id, dataplane, address] of [
      [nodeIds[0], 'linux', '192.0.2.1'],
      [nodeIds[1], 'userspace', '127.0.0.2'],
    ] as const)
      Object.assign(api.fake.view.members.get(id)!.record.value, { dataplane, addresses: [address] })
    api.fake.view.revision++
    const { body } = await api.get('/grapevine/status')
    expect(body.problems).toEqual([
      "Tasks of node n2 are out of reach of this node's kernel: it has 127.0.0.2; start it with another --address.",
    ])
  })

  test('names two services of one name as a conflict', async () => {
    await api.post('/services/create', spec('web'))
    const [first] = [...api.fake.view.services.values()]
    if (first === undefined) throw new Error('no service')
    const created = { ...first.value.created, ms: first.value.created.ms + 1 }
    api.fake.view.services.set('z'.repeat(25), { ...first, id: 'z'.repeat(25), value: { ...first.value, created } })
    api.fake.view.revision++
    const { body } = await api.get('/grapevine/status')
    expect(body.conflicts).toEqual([
      {
        id: 'z'.repeat(25),
        name: 'web',
        sentence: expect.stringContaining('is in conflict: name "web" belongs to an earlier service'),
      },
    ])
    expect((await api.get(`/grapevine/why/${'z'.repeat(25)}`)).body.conflict).toContain('belongs to an earlier service')
    expect((await api.get('/services/web')).body.ID).toBe(first.id)
  })
})

test('why tells where each slot runs and why nowhere', async () => {
  await api.post('/services/create', spec('web'))
  api.fake.run()
  const { body } = await api.get('/grapevine/why/web')
  expect(body.slots).toHaveLength(2)
  expect(body.slots[0]).toMatchObject({
    slot: '1',
    node: expect.any(String),
    task: expect.any(String),
    sentence: expect.stringMatching(/^it runs on n\d/),
  })
})

describe('token', () => {
  test('gives a token, its join command and its end', async () => {
    const { status, body } = await api.post('/grapevine/token', { ttlMs: 3_600_000 })
    expect([status, body]).toEqual([
      201,
      {
        token: 'VINE-1-secret',
        join: expect.stringContaining('--token VINE-1-secret'),
        expires: '2026-11-01T01:00:00.000Z',
      },
    ])
    expect((await api.post('/grapevine/token', {})).body.expires).toBeNull()
  })

  test('says so when only this node holds it', async () => {
    api.fake.set.held = 'here-only'
    const { headers } = await api.post('/grapevine/token', { rotate: true })
    expect(decodeURIComponent(String(headers['x-grapevine-warnings']))).toBe('["held by this node only"]')
  })

  test('refuses a time that is none', async () => {
    expect((await api.post('/grapevine/token', { ttlMs: -1 })).status).toBe(400)
  })
})

describe('resolve', () => {
  beforeEach(async () => {
    await api.post('/services/create', spec('web'))
    const service = [...api.fake.view.services.keys()][0] ?? ''
    api.fake.putTask('a'.repeat(25), { service, slot: '1', node: nodeIds[0] })
    api.fake.putTask('b'.repeat(25), { service, slot: '2', node: nodeIds[1] })
  })

  test("answers as the task's resolver does", async () => {
    expect((await api.get('/grapevine/resolve?name=web&type=a&task=web.1')).body.answers).toEqual([
      { name: 'web', type: 'A', ttlSeconds: 5, data: '10.0.1.2' },
    ])
    expect((await api.get('/grapevine/resolve?name=nope&task=web.1')).body).toEqual({ code: 'NXDOMAIN', answers: [] })
  })

  test('asks the node of the task, and names it when it is not available', async () => {
    const away = await api.get('/grapevine/resolve?name=web&task=web.2')
    expect([away.status, away.body.message]).toEqual([503, expect.stringContaining('node n2 is not available')])
    api.fake.set.relay = async (_node, request) => {
      const there = createFake()
      there.context.resolve = async () => ({
        code: 'NOERROR',
        answers: [{ name: 'web', type: 'A', ttlSeconds: 5, data: '10.0.1.77' }],
      })
      const [ours, theirs] = duplexPair()
      createHttpServer({ ...there.context, view: { ...api.fake.view, self: nodeIds[1] } }).emit('connection', theirs)
      return requestOver(ours, request)
    }
    expect((await api.get('/grapevine/resolve?name=web&task=web.2')).body.answers[0].data).toBe('10.0.1.77')
  })

  test.each([['name=web'], ['task=web.1'], ['name=web&task=web.1&type=FOO']])('refuses %s', async (query) => {
    expect((await api.get(`/grapevine/resolve?${query}`)).status).toBe(400)
  })
})

describe('the node itself', () => {
  test('tells which endpoint records it holds, also of another node', async () => {
    api.fake.view.endpoints.set('net', new Map())
    expect((await api.get('/grapevine/node')).body).toMatchObject({ id: nodeIds[0], endpoints: { net: 0 }, need: 0 })
    expect((await api.get('/grapevine/node?node=n2')).status).toBe(503)
    expect((await api.get('/networks/x?node=n2')).body.message).toContain('node n2 is not available')
  })

  test('gives metrics, flows and findings', async () => {
    const metrics = await api.get('/grapevine/metrics')
    expect([metrics.headers['content-type'], metrics.bytes.toString()]).toEqual([
      expect.stringContaining('version=0.0.4'),
      expect.stringContaining('grapevine_need 0'),
    ])
    expect((await api.get('/grapevine/flows')).body).toEqual([])
    expect((await api.get('/grapevine/doctor')).body[0].check).toBe('ports')
  })

  test('tells single flows of late, so that a failed request can be explained', async () => {
    const flow = { protocol: 'tcp', client: '192.0.2.1:5', entry: 'n1', service: 's', task: 't', node: 'n2' } as const
    const ended = { ...flow, pickedMs: 999, openedMs: 1_000, cause: 'node-lost', bytesIn: 1, bytesOut: 0 }
    api.fake.set.flowLog = [
      { ...ended, endedMs: 2_000 },
      { ...ended, endedMs: 5_000 },
    ]
    const { body } = await api.get('/grapevine/flows?log=1&since=3')
    expect(body).toMatchObject({ open: [], ended: [{ client: '192.0.2.1:5', endedMs: 5_000 }], failed: [] })
    expect((await api.get('/grapevine/flows?log=1')).body.ended).toHaveLength(2)
  })

  test.each([
    ['/grapevine/stop?keep-tasks=true', { keepTasks: true }],
    ['/grapevine/stop', { keepTasks: false }],
    ['/grapevine/leave', { keepTasks: false }],
    ['/swarm/leave?force=1', { keepTasks: false }],
  ])('POST %s answers first and then stops', async (url, options) => {
    expect((await api.request('POST', url)).status).toBe(200)
    expect(api.fake.set.stopped).toEqual(options)
  })

  test('from then on it takes no orders, and answers pings until it has ended', async () => {
    await api.request('POST', '/grapevine/stop')
    expect((await api.get('/_ping')).status).toBe(200)
    const refused = await api.get('/services')
    expect([refused.status, refused.body.message]).toEqual([503, 'this agent is ending and takes no orders any more'])
  })

  test('POST /swarm/leave without force stops nothing and says what leaving would do, as every node is a manager', async () => {
    const refused = await api.request('POST', '/swarm/leave')
    expect([refused.status, refused.body.message]).toEqual([
      503,
      'You are attempting to leave the swarm on a node that is participating as a manager. Leaving stops the tasks of n1, which run elsewhere then, and ends its agent. Use `--force` to leave.',
    ])
    expect(api.fake.set.stopped).toBeUndefined()
    for (const node of nodeIds.slice(1)) api.fake.setLiveness(node, 'dead')
    const last = await api.request('POST', '/swarm/leave?force=false')
    expect(last.body.message).toContain('No other node is up: its tasks stop and run nowhere')
  })
})
