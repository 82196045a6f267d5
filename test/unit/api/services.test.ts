// Services over the API: what is stored, and the sentence for everything that is refused.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { refusals } from '../../../agent/core/admit/unsupported.ts'
import { type Running, spec, startApi } from './client.ts'

let api: Running
beforeEach(async () => {
  api = await startApi()
})
afterEach(() => api.stop())

async function create(name: string, more: Readonly<Record<string, unknown>> = {}) {
  return api.post('/services/create', spec(name, more))
}

/** A spec whose field at a dotted path is the value. */
function withField(path: string, value: unknown) {
  const made: Record<string, unknown> = structuredClone(spec('web'))
  const keys = path.split('.')
  let at = made
  for (const key of keys.slice(0, -1)) {
    at[key] = typeof at[key] === 'object' ? at[key] : {}
    at = at[key] as Record<string, unknown>
  }
  at[keys.at(-1) ?? ''] = value
  return made
}

const port = (published: number, more = {}) => ({
  EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: published, ...more }] },
})
const template = (more: object) => ({ TaskTemplate: { ContainerSpec: { Image: 'node' }, ...more } })
const container = (more: object) => ({ TaskTemplate: { ContainerSpec: { Image: 'node', ...more } } })

describe('creating a service', () => {
  test('stores the spec as it was given, with network names made ids', async () => {
    const network = (await api.post('/networks/create', { Name: 'back', Driver: 'overlay' })).body.Id
    const { status, body } = await create('web', template({ Networks: [{ Target: 'back', Aliases: ['www'] }] }))
    expect(status).toBe(201)
    expect(body.ID).toMatch(/^[0-9a-z]{25}$/)
    const read = (await api.get('/services/web')).body
    expect(read.Spec).toEqual(spec('web', template({ Networks: [{ Target: network, Aliases: ['www'] }] })))
    expect(read.Endpoint.VirtualIPs).toEqual([{ NetworkID: network, Addr: expect.stringMatching(/^10\..*\/24$/) }])
  })

  test.each([undefined, {}, { Replicated: {} }, { Replicated: { Replicas: null } }])(
    'one replica is meant by mode %j, and told as Docker tells it',
    async (mode) => {
      await create('web', { Mode: mode })
      expect((await api.get('/services/web')).body.Spec.Mode).toEqual({ Replicated: { Replicas: 1 } })
    },
  )

  test('makes up a name when none is given', async () => {
    const { Name: _none, ...nameless } = spec('x')
    const { body } = await api.post('/services/create', nameless)
    expect((await api.get(`/services/${body.ID}`)).body.Spec.Name).toMatch(/^[a-z]+_[a-z]+\d\d$/)
  })

  test("takes what Go clients send for nothing, and swagger's spelling of the health check", async () => {
    await create('web', container({ Env: null, HealthCheck: { Test: ['NONE'] } }))
    expect((await api.get('/services/web')).body.Spec.TaskTemplate.ContainerSpec).toEqual({
      Image: 'node',
      Healthcheck: { Test: ['NONE'] },
    })
  })

  test('accepts dnsrr with a published port, which Swarm refuses, and gives no VIP', async () => {
    await api.post('/networks/create', { Name: 'back', Driver: 'overlay' })
    const { status } = await create('web', {
      ...template({ Networks: [{ Target: 'back' }] }),
      EndpointSpec: { Mode: 'dnsrr', Ports: [{ TargetPort: 80, PublishedPort: 80 }] },
    })
    expect(status).toBe(201)
    expect((await api.get('/services/web')).body.Endpoint.VirtualIPs).toBeUndefined()
  })

  test('a port without a number gets one of 30000 to 32767', async () => {
    await create('web', port(0))
    const [chosen] = (await api.get('/services/web')).body.Endpoint.Ports
    expect(chosen.PublishedPort).toBeGreaterThanOrEqual(30_000)
    expect(chosen.PublishedPort).toBeLessThan(32_768)
  })

  test('knows every label of its own', async () => {
    const labels = { 'grapevine.ttl': '30', 'grapevine.affinity': 'client-ip', 'grapevine.expose': '80,53/udp' }
    expect((await create('web', { Labels: labels })).body.Warnings ?? []).toEqual([])
    expect((await create('db', { Labels: { 'grapevine.ttl': 'long' } })).status).toBe(400)
  })

  test('warns when only this node holds it, when a program is missing, and of a label that means nothing', async () => {
    api.fake.set.held = 'here-only'
    api.fake.set.missing = [[...api.fake.view.members.keys()][1] ?? '']
    const { body } = await create('web', { Labels: { 'grapevine.prot': 'fixed' } })
    expect(body.Warnings).toEqual([
      'held by this node only',
      'program node is missing on n2',
      'label grapevine.prot has no meaning to Grapevine',
    ])
  })

  test.each([
    [['busybox', 'httpd'], ['program busybox is missing on n2']],
    [['./serve.sh'], undefined],
    [['{{.Node.Hostname}}'], undefined],
  ])('the program %j is looked for in place of the image, where every node finds the same', async (Command, told) => {
    api.fake.set.missing = [[...api.fake.view.members.keys()][1] ?? '']
    const { body } = await create('web', { TaskTemplate: { ContainerSpec: { Image: 'whatever', Command } } })
    expect(body.Warnings).toEqual(told)
  })

  test.each<[string, object, number, RegExp]>([
    ['a bad name', spec('-bad'), 400, /name must be valid as a DNS name component/],
    ['a long name', spec('a'.repeat(64)), 400, /63 characters or fewer/],
    ['no template', { Name: 'web' }, 400, /TaskTemplate is not valid/],
    [
      'no image',
      spec('web', { TaskTemplate: { ContainerSpec: { Image: '' } } }),
      400,
      /image reference must be provided/,
    ],
    ['an unknown network', spec('web', template({ Networks: [{ Target: 'nope' }] })), 404, /network nope not found/],
    [
      'the ingress network',
      spec('web', template({ Networks: [{ Target: 'ingress' }] })),
      400,
      /cannot be explicitly attached to the ingress network/,
    ],
    [
      'target port 0',
      spec('web', { EndpointSpec: { Ports: [{ TargetPort: 0 }] } }),
      400,
      /EndpointSpec\.Ports\.0\.TargetPort is not valid/,
    ],
    ['port 70000', spec('web', port(70_000)), 400, /PublishedPort is not valid/],
    [
      'one port twice',
      spec('web', {
        EndpointSpec: {
          Ports: [
            { TargetPort: 1, PublishedPort: 9 },
            { TargetPort: 2, PublishedPort: 9 },
          ],
        },
      }),
      400,
      /duplicate|twice/,
    ],
    [
      'a constraint without operator',
      spec('web', template({ Placement: { Constraints: ['node.role=manager'] } })),
      400,
      /constraint expected one operator from ==, !=/,
    ],
    [
      'a constraint on nothing',
      spec('web', template({ Placement: { Constraints: ['nod.role==manager'] } })),
      400,
      /key 'nod.role' is invalid/,
    ],
    [
      'a bad constraint value',
      spec('web', template({ Placement: { Constraints: ['node.role=={'] } })),
      400,
      /value '\{' is invalid/,
    ],
    [
      'a spread over nothing',
      spec('web', template({ Placement: { Preferences: [{ Spread: { SpreadDescriptor: 'rack' } }] } })),
      400,
      /spread over "rack"/,
    ],
    [
      'too little cpu',
      spec('web', template({ Resources: { Reservations: { NanoCPUs: 10 } } })),
      400,
      /invalid cpu value .* Must be at least 0.001/,
    ],
    [
      'too little memory',
      spec('web', template({ Resources: { Reservations: { MemoryBytes: 5 } } })),
      400,
      /invalid memory value 5: Must be at least 4MiB/,
    ],
    ['a bad environment', spec('web', container({ Env: ['=x'] })), 400, /invalid environment variable: =x/],
    ['a host without an address', spec('web', container({ Hosts: ['host-gateway me'] })), 400, /invalid host entry/],
    ['a host with a line more', spec('web', container({ Hosts: ['192.0.2.1 a\n::1 b'] })), 400, /invalid host entry/],
    ['a bad signal', spec('web', container({ StopSignal: 'SIGFOO' })), 400, /Invalid signal: SIGFOO/],
    [
      'a bad health check',
      spec('web', container({ Healthcheck: { Test: ['FOO', 'x'] } })),
      400,
      /Unknown healthcheck type "FOO"/,
    ],
    [
      'a hasty health check',
      spec('web', container({ Healthcheck: { Test: ['CMD', 'x'], Interval: 5 } })),
      400,
      /Interval in Healthcheck cannot be less than 1ms/,
    ],
    ['both modes', spec('web', { Mode: { Replicated: {}, Global: {} } }), 400, /either replicated or global/],
    [
      'a million replicas',
      spec('web', { Mode: { Replicated: { Replicas: 1e6 } } }),
      400,
      /replicas must be 10000 or fewer/,
    ],
    ['SCTP', spec('web', port(80, { Protocol: 'sctp' })), 501, /No node of this cluster forwards SCTP/],
    [
      'a label of ours with a bad value',
      spec('web', { Labels: { 'grapevine.port': 'maybe' } }),
      400,
      /label grapevine.port cannot be "maybe"/,
    ],
    ['a list', [], 400, /must be a JSON object/],
    [
      'a spec too large to gossip',
      spec('web', container({ Env: Array.from({ length: 900 }, (_, i) => `A${i}=${'x'.repeat(400)}`) })),
      400,
      /too large/,
    ],
  ])('refuses %s', async (_what, body, status, sentence) => {
    const answer = await api.post('/services/create', body)
    expect([answer.status, answer.body.message]).toEqual([status, expect.stringMatching(sentence)])
    expect(api.fake.view.services.size).toBe(0)
  })

  test('refuses a name and a port that are taken', async () => {
    await create('web', port(8080))
    const name = await create('web')
    expect([name.status, name.body.message]).toEqual([
      409,
      'name conflicts with an existing object: service web already exists',
    ])
    const taken = await create('other', port(8080))
    expect([taken.status, taken.body.message]).toEqual([
      409,
      expect.stringMatching(/8080.*in use by service .*web.* as an ingress port/),
    ])
    expect((await create('third', port(8080, { PublishMode: 'host' }))).status).toBe(409)
    expect((await create('udp', port(8080, { Protocol: 'udp' }))).status).toBe(201)
  })

  test.each(refusals.map(({ path, what }) => [what, path]))(
    'refuses %s (%s) instead of ignoring it',
    async (_what, path) => {
      const value = path === 'UpdateConfig.Parallelism' ? 0 : path.startsWith('Mode.') ? {} : asking(path)
      const answer = await api.post('/services/create', withField(path, value))
      expect([answer.status, answer.body.message]).toEqual([501, expect.stringContaining(path)])
    },
  )

  test('refuses a login for a registry, and takes an empty one', async () => {
    const auth = (told: unknown) => ({ 'x-registry-auth': Buffer.from(JSON.stringify(told)).toString('base64') })
    const body = withField('Mode.Replicated', { Replicas: 1 })
    const refused = await api.request('POST', '/services/create', body, auth({ username: 'me', password: 'hush' }))
    expect([refused.status, JSON.stringify(refused.body)]).toEqual([501, expect.not.stringContaining('hush')])
    expect((await api.request('POST', '/services/create', body, auth({ serveraddress: 'x' }))).status).toBe(201)
  })

  test('refuses what needs a container where no node runs any, and takes it where one does', async () => {
    const asked = container({ Mounts: [{ Type: 'tmpfs', Target: '/tmp' }] })
    const refused = await create('web', asked)
    expect([refused.status, refused.body.message]).toEqual([501, expect.stringContaining('mounts')])
    const wrong = await create('web', container({ Mounts: [{ Type: 'npipe', Target: '/tmp' }] }))
    expect([wrong.status, wrong.body.message]).toEqual([501, expect.stringContaining('"npipe"')])
  })

  test("takes the defaults that Docker's client sends along", async () => {
    const update = { Parallelism: 1, FailureAction: 'pause', Monitor: 5e9, MaxFailureRatio: 0, Order: 'start-first' }
    const { status } = await create('web', {
      ...container({ Init: false, DNSConfig: {}, Isolation: 'default' }),
      UpdateConfig: update,
    })
    expect(status).toBe(201)
  })

  test('a node whose clock is off takes no writes and says by how much', async () => {
    api.fake.set.clockOffsetMs = -12_000
    const { status, body } = await create('web')
    expect([status, body.message]).toEqual([503, expect.stringContaining('12 s behind')])
    expect((await api.get('/services')).status).toBe(200)
  })
})

describe('updating a service', () => {
  async function update(name: string, body: object, query = '') {
    const { Version } = (await api.get(`/services/${name}`)).body
    return api.post(`/services/${name}/update?version=${Version.Index}${query}`, body)
  }

  test('a template change makes a new generation, scaling does not', async () => {
    await create('web')
    const generation = () => [...api.fake.view.services.values()][0]?.value.generation
    await update('web', spec('web', { Mode: { Replicated: { Replicas: 5 } } }))
    expect(generation()).toBe(0)
    await update('web', spec('web', container({ Env: ['A=b'] })))
    expect(generation()).toBe(1)
  })

  test('names its predecessor and keeps the last 16', async () => {
    await create('web')
    for (let i = 0; i < 18; i++) await update('web', spec('web', { Labels: { i: String(i) } }))
    const { value } = [...api.fake.view.services.values()][0] ?? {}
    expect(value?.ancestors).toHaveLength(16)
    expect(value?.parent).toEqual(value?.ancestors[0])
  })

  test('a stale version is out of sequence', async () => {
    await create('web')
    const { Version } = (await api.get('/services/web')).body
    await update('web', spec('web', { Labels: { a: 'b' } }))
    const { status, body } = await api.post(`/services/web/update?version=${Version.Index}`, spec('web'))
    expect([status, body.message]).toEqual([500, 'update out of sequence'])
  })

  test('a missing version is an error of the request', async () => {
    await create('web')
    expect((await api.post('/services/web/update', spec('web'))).status).toBe(400)
  })

  test('rollback goes to the spec before, and back again', async () => {
    await create('web', container({ Env: ['A=1'] }))
    expect((await update('web', {}, '&rollback=previous')).body.message).toBe(
      'service web does not have a previous spec',
    )
    await update('web', spec('web', container({ Env: ['A=2'] })))
    expect((await update('web', {}, '&rollback=previous')).status).toBe(200)
    const read = (await api.get('/services/web')).body
    expect(read.Spec.TaskTemplate.ContainerSpec.Env).toEqual(['A=1'])
    expect(read.PreviousSpec.TaskTemplate.ContainerSpec.Env).toEqual(['A=2'])
  })

  test('refuses a new name and a new mode', async () => {
    await create('web')
    expect((await update('web', spec('other'))).body.message).toBe('renaming services is not supported')
    expect((await update('web', { ...spec('web'), Mode: { Global: {} } })).body.message).toBe(
      'service mode change is not allowed',
    )
  })

  test('keeps its VIP and its dynamic port', async () => {
    await api.post('/networks/create', { Name: 'back', Driver: 'overlay' })
    const body = spec('web', { ...template({ Networks: [{ Target: 'back' }] }), ...port(0) })
    await api.post('/services/create', body)
    // Another address than a new choice would give: it was chosen when that one was taken.
    const [[id, stored] = ['', undefined]] = [...api.fake.view.services]
    if (stored === undefined) throw new Error('no service')
    const vips = stored.value.vips.map(({ network }) => ({ network, address: '10.7.7.7' }))
    api.fake.view.services.set(id, { ...stored, value: { ...stored.value, vips } })
    const before = (await api.get('/services/web')).body.Endpoint
    await update('web', { ...body, Labels: { a: 'b' } })
    const after = (await api.get('/services/web')).body.Endpoint
    expect([after.VirtualIPs, after.Ports]).toEqual([before.VirtualIPs, before.Ports])
  })

  test('tells how far it has come, until every task runs the new spec', async () => {
    await create('web')
    api.fake.run()
    expect((await api.get('/services/web')).body.UpdateStatus).toBeUndefined()
    await update('web', spec('web', container({ Env: ['A=b'] })))
    expect((await api.get('/services/web')).body.UpdateStatus).toMatchObject({
      State: 'updating',
      Message: '0 of 2 tasks run the new spec',
    })
    const id = [...api.fake.view.services.keys()][0] ?? ''
    for (const [task, { value }] of [...api.fake.view.tasks]) {
      api.fake.putTask(task, { service: id, slot: value.slot, node: value.node })
    }
    // Docker's client would leave before it has seen all tasks run, and say nothing of it.
    expect((await api.get('/services/web')).body.UpdateStatus).toMatchObject({ State: 'updating' })
    api.fake.set.wallMs += 5_000
    expect((await api.get('/services/web')).body.UpdateStatus).toMatchObject({ State: 'completed' })
  })

  test('tells nothing of an earlier change when the last one asked for no other tasks', async () => {
    await create('web')
    await update('web', spec('web', container({ Env: ['A=b'] })))
    api.fake.run()
    api.fake.set.wallMs += 5_000
    expect((await api.get('/services/web')).body.UpdateStatus).toMatchObject({ State: 'completed' })
    await update('web', { ...spec('web', container({ Env: ['A=b'] })), Mode: { Replicated: { Replicas: 3 } } })
    expect((await api.get('/services/web')).body.UpdateStatus).toBeUndefined()
  })
})

describe('reading services', () => {
  test('finds one by id, name and start of its id', async () => {
    const { ID } = (await create('web')).body
    for (const name of [ID, 'web', ID.slice(0, 6)]) expect((await api.get(`/services/${name}`)).body.ID).toBe(ID)
    expect((await api.get('/services/nope')).body.message).toBe('service nope not found')
  })

  test('filters as Docker does', async () => {
    await create('web', { Labels: { tier: 'front' } })
    await create('web2')
    await create('all', { Mode: { Global: {} } })
    const names = async (filters: unknown) =>
      (await api.get(`/services?filters=${encodeURIComponent(JSON.stringify(filters))}`)).body.map(
        (s: { Spec: { Name: string } }) => s.Spec.Name,
      )
    expect(await names({ name: ['web'] })).toEqual(['web', 'web2'])
    expect(await names({ name: { web2: true } })).toEqual(['web2'])
    expect(await names({ mode: ['global'] })).toEqual(['all'])
    expect(await names({ label: ['tier=front'] })).toEqual(['web'])
    expect(await names({ label: ['tier', 'other'] })).toEqual([])
    const bad = await api.get('/services?filters=%7B%22foo%22%3A%5B%5D%7D')
    expect([bad.status, bad.body.message]).toEqual([400, "invalid filter 'foo'"])
    expect((await api.get('/services?filters=nonsense')).status).toBe(400)
  })

  test('counts what runs on nodes that are up', async () => {
    await create('web', { Mode: { Replicated: { Replicas: 3 } } })
    api.fake.run()
    const status = async () => (await api.get('/services?status=true')).body[0].ServiceStatus
    expect(await status()).toMatchObject({ RunningTasks: 3, DesiredTasks: 3 })
    const lost =
      [...api.fake.view.tasks.values()].find((task) => task.value.node !== api.fake.view.self)?.value.node ?? ''
    api.fake.setLiveness(lost, 'dead')
    expect((await status()).RunningTasks).toBeLessThan(3)
  })

  test('removing one answers 200 and it is gone', async () => {
    await create('web')
    expect((await api.delete('/services/web')).status).toBe(200)
    expect((await api.get('/services/web')).status).toBe(404)
    expect((await api.delete('/services/web')).status).toBe(404)
  })
})

/** A value that asks for something, in the type of that field. */
function asking(path: string): unknown {
  const field = path.split('.').at(-1) ?? ''
  if (['Isolation', 'Runtime', 'FailureAction'].includes(field)) return 'other'
  if (['SwapBytes', 'MemorySwappiness', 'Delay', 'Monitor', 'MaxFailureRatio'].includes(field)) return 1
  if (field === 'RollbackConfig') return { Parallelism: 2 }
  return field === 'Nameservers' ? ['192.0.2.1'] : { Name: 'x' }
}

test('a write that another one overtook between reading and writing is out of sequence', async () => {
  await create('web')
  const { Version } = (await api.get('/services/web')).body
  api.fake.set.overtake = true
  const { status, body } = await api.post(
    `/services/web/update?version=${Version.Index}`,
    spec('web', { Labels: { a: 'b' } }),
  )
  expect([status, body.message]).toEqual([500, 'update out of sequence'])
})
