// The API against Docker's own description of it: each swarm path is served, or refused with a reason, and what is served has Docker's shape.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { refusedPaths } from '../../../agent/api/handlers/refused.ts'
import { routes } from '../../../agent/api/routes.ts'
import { type Running, spec, startApi } from '../../unit/api/client.ts'
import { createFake } from '../../unit/api/fake.ts'
import { misfits, type Schema, swagger } from './schema.ts'

const swarmTags = new Set(['Service', 'Node', 'Swarm', 'Task', 'Network', 'Secret', 'Config'])
const systemPaths = ['/_ping', '/version', '/info', '/events', '/distribution/{name}/json']

/** Every operation of Docker's API that a swarm has, as `GET /nodes/{id}`. */
function swarmOperations(): readonly string[] {
  return Object.entries(swagger.paths).flatMap(([path, operations]) =>
    Object.entries(operations)
      .filter(([, operation]) => systemPaths.includes(path) || operation.tags?.some((tag) => swarmTags.has(tag)))
      .map(([method]) => `${method.toUpperCase()} ${path}`),
  )
}

function ours(): readonly string[] {
  return routes
    .filter(({ path }) => !path.startsWith('/grapevine/'))
    .map(({ method, path }) => `${method} ${path.replace('...', '')}`)
}

describe('the paths of the API', () => {
  test('every swarm path of Docker is served or refused with a reason', () => {
    const answered = new Set(ours())
    expect(swarmOperations().filter((operation) => !answered.has(operation))).toEqual([])
  })

  test('no path outside /grapevine/ is our invention', () => {
    const known = new Set(swarmOperations())
    expect(ours().filter((operation) => !known.has(operation))).toEqual([])
  })

  test('a refusal says why', () => {
    expect(refusedPaths.filter(({ sentence }) => sentence.length < 20)).toEqual([])
  })
})

describe('the answers of the API have the shape that swagger.yaml states', () => {
  let api: Running
  let service = ''
  let network = ''
  let task = ''

  beforeAll(async () => {
    api = await startApi(createFake())
    network = (await api.post('/networks/create', { Name: 'back', Driver: 'overlay' })).body.Id
    service = (await api.post('/services/create', whole(network))).body.ID
    const read = (await api.get(`/services/${service}`)).body
    await api.post(`/services/${service}/update?version=${read.Version.Index}`, {
      ...read.Spec,
      TaskTemplate: { ...read.Spec.TaskTemplate, ForceUpdate: 1 },
    })
    await api.post('/services/create', {
      ...spec('stuck'),
      TaskTemplate: { ContainerSpec: { Image: 'node' }, Placement: { Constraints: ['node.labels.rack==none'] } },
    })
    await api.post('/services/create', { ...spec('everywhere'), Mode: { Global: {} } })
    api.fake.run()
    task = [...api.fake.view.tasks.values()].find((found) => found.value.service === service)?.id ?? ''
    putEndpoint(task)
    api.fake.setLiveness([...api.fake.view.members.keys()][2] ?? '', 'dead')
  })
  afterAll(() => api.stop())

  test.each([
    ['/nodes'],
    ['/nodes/n2'],
    ['/services?status=true'],
    ['/services/web'],
    ['/services/web?insertDefaults=true'],
    ['/tasks'],
    ['/networks'],
    ['/networks/back'],
    ['/networks/back?verbose=true'],
    ['/swarm'],
    ['/info'],
    ['/version'],
  ])('GET %s', async (url) => {
    const { status, body } = await api.get(url)
    expect(status).toBe(200)
    expect(misfits(body, responseOf('get', url, '200'))).toEqual([])
  })

  test('GET /tasks/{id} of a task, and of a slot that waits', async () => {
    const waiting = (await api.get('/tasks')).body.find(
      (found: { Status: { State: string } }) => found.Status.State === 'pending',
    )
    for (const id of [task, waiting.ID]) {
      expect(misfits((await api.get(`/tasks/${id}`)).body, responseOf('get', '/tasks/x', '200'))).toEqual([])
    }
  })

  test('a list that is empty would hide every mistake: none is', async () => {
    for (const url of ['/nodes', '/services', '/tasks', '/networks']) expect((await api.get(url)).body).not.toEqual([])
    const { Services, Containers, Peers } = (await api.get('/networks/back?verbose=true')).body
    expect([Object.keys(Services).length, Object.keys(Containers).length, Peers.length]).toEqual([1, 1, 1])
  })

  test('create and update answers', async () => {
    const created = await api.post('/services/create', spec('other'))
    expect(created.status).toBe(201)
    expect(misfits(created.body, responseOf('post', '/services/create', '201'))).toEqual([])
    const index = (await api.get('/services/other')).body.Version.Index
    const updated = await api.post(`/services/other/update?version=${index}`, spec('other', { Labels: { a: 'b' } }))
    expect(updated.status).toBe(200)
    expect(misfits(updated.body, responseOf('post', '/services/x/update', '200'))).toEqual([])
    const net = await api.post('/networks/create', { Name: 'front', Driver: 'overlay' })
    expect(net.status).toBe(201)
    expect(misfits(net.body, responseOf('post', '/networks/create', '201'))).toEqual([])
  })

  test('an error has a message', async () => {
    const { status, body } = await api.get('/services/nope')
    expect(status).toBe(404)
    expect(misfits({ message: body.message }, { $ref: '#/definitions/ErrorResponse' })).toEqual([])
  })

  test('an event', async () => {
    const atMs = api.fake.set.wallMs
    api.fake.emit({
      atMs,
      type: 'task',
      action: 'start',
      id: task,
      name: 'web.1',
      sentence: 'web.1 runs',
      attributes: { node: 'n1' },
    })
    const { bytes } = await api.get(`/events?since=${atMs / 1000}&until=${atMs / 1000}`)
    expect(misfits(JSON.parse(bytes.toString()), { $ref: '#/definitions/EventMessage' })).toEqual([])
  })

  function putEndpoint(id: string): void {
    const record = api.fake.view.tasks.get(id)
    if (record === undefined) throw new Error('no task runs')
    const { service: of, slot, node, boot } = record.value
    api.fake.view.tasks.set(id, { ...record, value: { ...record.value, node: api.fake.view.self, boot: 'boot1' } })
    const value = {
      service: of,
      slot,
      node,
      boot,
      address: '10.0.1.9',
      host: '127.0.0.1',
      ports: [],
      aliases: [],
      hostname: 'h',
      ready: true,
      draining: false,
    }
    api.fake.view.endpoints.set(network, new Map([[id, { ...record, value }]]))
    const self = api.fake.view.members.get(api.fake.view.self)
    if (self === undefined) throw new Error('no member')
    const own = { ...self.record, value: { ...self.record.value, networks: [network] } }
    api.fake.view.members.set(self.id, { ...self, record: own })
    api.fake.view.revision++
  }
})

/** A service that uses every part of the spec that Grapevine supports. */
function whole(network: string) {
  return {
    Name: 'web',
    Labels: { 'grapevine.expose': '9000' },
    TaskTemplate: {
      ContainerSpec: {
        Image: 'node',
        Args: ['-e', '0'],
        Env: ['A=b'],
        Healthcheck: { Test: ['CMD', 'true'], Interval: 1e9 },
        StopGracePeriod: 1e9,
      },
      Resources: { Reservations: { NanoCPUs: 1e7, MemoryBytes: 8 * 1024 * 1024 } },
      RestartPolicy: { Condition: 'on-failure', Delay: 1e9, MaxAttempts: 3 },
      Placement: {
        Constraints: ['node.platform.os==linux'],
        Preferences: [{ Spread: { SpreadDescriptor: 'node.labels.rack' } }],
      },
      Networks: [{ Target: network, Aliases: ['www'] }],
    },
    Mode: { Replicated: { Replicas: 3 } },
    UpdateConfig: { Parallelism: 1, Order: 'start-first' },
    EndpointSpec: {
      Ports: [
        { TargetPort: 80, PublishedPort: 8080 },
        { TargetPort: 90, PublishedPort: 9090, PublishMode: 'host' },
      ],
    },
  }
}

function responseOf(method: string, url: string, status: string): Schema {
  const path = (url.split('?')[0] ?? '').replace(/^(\/[a-z]+)\/(?!create$)[^/]+/, '$1/{id}')
  const schema = swagger.paths[path]?.[method]?.responses[status]?.schema
  if (schema === undefined) throw new Error(`swagger.yaml has no ${method} ${path} ${status}`)
  return schema
}
