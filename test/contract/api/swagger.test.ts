// The API against Docker's own description of it: each operation is served, refused with a reason, or passed to the machine's engine, and what
// is served has Docker's shape.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { enginePaths, throughEngine } from '../../../agent/api/engine/paths.ts'
import { refusedPaths, refusedRoutes } from '../../../agent/api/handlers/refused.ts'
import { createRouter } from '../../../agent/api/router.ts'
import { routes } from '../../../agent/api/routes.ts'
import { Fault } from '../../../agent/fault.ts'
import { type Running, spec, startApi } from '../../unit/api/client.ts'
import { createFake } from '../../unit/api/fake.ts'
import { misfits, type Schema, swagger } from './schema.ts'

/** Every operation of Docker's API, as `GET /nodes/{id}`. */
const operations = Object.entries(swagger.paths).flatMap(([path, methods]) =>
  Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
)

const route = createRouter(routes)

/** Who answers an operation; undefined: nobody. */
function answerer(operation: string): 'agent' | 'refused' | 'engine' | undefined {
  const [method = '', path = ''] = operation.split(' ')
  const match = route(method, path.replaceAll(/\{\w+\}/g, 'x'))
  if (match instanceof Fault) return undefined
  if (match.handle === throughEngine) return 'engine'
  return refusedRoutes.some(({ handle }) => handle === match.handle) ? 'refused' : 'agent'
}

describe('the paths of the API', () => {
  test("every operation of Docker's API is served, refused with a reason, or the engine's of this machine", () => {
    expect(operations.length).toBeGreaterThan(100)
    expect(operations.filter((operation) => answerer(operation) === undefined)).toEqual([])
  })

  test('what a swarm has is never left to the engine, which is in none', () => {
    const ofSwarms = ['Service', 'Node', 'Swarm', 'Task', 'Network', 'Secret', 'Config']
    const tagged = operations.filter((operation) => {
      const [method = '', path = ''] = operation.split(' ')
      return swagger.paths[path]?.[method.toLowerCase()]?.tags?.some((tag) => ofSwarms.includes(tag))
    })
    expect(tagged.length).toBeGreaterThan(35)
    expect(tagged.filter((operation) => answerer(operation) === 'engine')).toEqual([])
  })

  test('no path outside /grapevine/ is our invention', () => {
    const own = routes.filter(({ path, method }) => !path.startsWith('/grapevine/') && method !== '*')
    const known = new Set(operations)
    const named = own.map(({ method, path }) => `${method} ${path.replace('...', '')}`)
    expect(named.filter((operation) => !known.has(operation))).toEqual([])
    const begun = enginePaths.map((path) => path.replace('/{rest...}', ''))
    const paths = Object.keys(swagger.paths)
    expect(begun.filter((start) => !paths.some((path) => path.startsWith(start)))).toEqual(['/grpc'])
  })

  test('without an engine each of its operations is a 503, and an inspection a 404, with a sentence', async () => {
    const api = await startApi(createFake())
    const theirs = operations.filter((operation) => answerer(operation) === 'engine')
    expect(theirs.length).toBeGreaterThan(50)
    for (const operation of theirs) {
      const [method = '', path = ''] = operation.split(' ')
      const inspects = /^GET \/(containers|images|plugins)\/\{\w+\}\/json$|^GET \/volumes\/\{name\}$/.test(operation)
      const { status, body } = await api.request(method, path.replaceAll(/\{\w+\}/g, 'x'))
      expect([operation, status]).toEqual([operation, inspects ? 404 : 503])
      if (method !== 'HEAD') expect(body.message, operation).toMatch(/this node has no Docker engine to ask/)
    }
    await api.stop()
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
