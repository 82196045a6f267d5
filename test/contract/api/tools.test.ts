// Traefik, Prometheus and Portainer read a cluster as they read a Swarm: each request that they send is answered, with the fields that they use.
import { isIP } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createEngine } from '../../../agent/api/engine/engine.ts'
import { type Running, spec, startApi } from '../../unit/api/client.ts'
import { createFake } from '../../unit/api/fake.ts'
import { type FakeEngine, startEngine } from './fake-engine.ts'
import { type Kind, recorded } from './recorded.ts'

let engine: FakeEngine
let withEngine: Running
let without: Running

beforeAll(async () => {
  engine = await startEngine()
  const lists = ['/containers/json', '/images/json', '/plugins']
  for (const path of lists) engine.answers.set(path, [])
  for (const path of ['/volumes', '/system/df']) engine.answers.set(path, {})
  engine.answers.set('/networks', [])
  const fake = createFake()
  withEngine = await startApi({ ...fake, context: { ...fake.context, engine: createEngine(engine.socket) } })
  without = await startApi(createFake())
  for (const api of [withEngine, without]) await fill(api)
})
afterAll(async () => {
  await withEngine.stop()
  await without.stop()
  await engine.stop()
})

describe.each(recorded)('$tool ($source)', ({ version, requests }) => {
  test.each(requests.map((request) => ({ method: 'GET', ...request })))(
    '$method $path',
    async ({ method, path, filters, reads, engine: isEngines }) => {
      for (const api of [withEngine, without]) {
        const query = filters === undefined ? '' : `?filters=${encodeURIComponent(JSON.stringify(filters))}`
        const url = await named(api, `${path}${query}`)
        const prefix = path === '/_ping' ? '' : `/v${version ?? '1.47'}`
        const { status, headers, body } = await api.request(method, `${prefix}${url}`)
        if (isEngines && (api === without || path.includes('{'))) {
          expect(status).toBe(path.includes('{') ? 404 : 503)
          continue
        }
        expect([url, status]).toEqual([url, 200])
        const from = method === 'HEAD' ? headers : body
        expect(Object.entries(reads).flatMap(([at, kind]) => lacks(from, at, kind))).toEqual([])
      }
    },
  )
})

describe('what the tools make of it', () => {
  test('Traefik balances over tasks: every running one has an address on the network of the service, and its node one too', async () => {
    const [service] = (await without.get('/services?filters={"name":["web"]}')).body
    const query = `{"service":{"${service.ID}":true},"desired-state":{"running":true}}`
    const tasks = (await without.get(`/tasks?filters=${query}`)).body
    const networks = (await without.get('/networks?filters={"scope":{"swarm":true}}')).body
    const ids: readonly string[] = networks.map(({ Id }: { Id: string }) => Id)
    expect(tasks).toHaveLength(2)
    for (const task of tasks) {
      expect(task.Status.State).toBe('running')
      const attached = task.NetworksAttachments.filter((a: { Network: { ID: string } }) => ids.includes(a.Network.ID))
      expect(attached).toHaveLength(1)
      expect((await without.get(`/nodes/${task.NodeID}`)).body.Status.Addr).toMatch(/^192\.0\.2\.\d$/)
    }
  })

  test('Traefik with lbswarm finds the virtual IP of a service whose creator asked for no mode', async () => {
    const [service] = (await without.get('/services?filters={"name":["web"]}')).body
    expect(service.Spec.EndpointSpec.Mode).toBe('vip')
    expect(service.Endpoint.VirtualIPs[0].Addr).toMatch(/^10\.\d+\.\d+\.\d+\/24$/)
  })

  test('a slot that waits is a task without address, which a tool passes over', async () => {
    const tasks = (await without.get('/tasks?filters={"service":["stuck"]}')).body
    expect(tasks.map((task: { Status: { State: string } }) => task.Status.State)).toEqual(['pending', 'pending'])
    expect(tasks[0].NetworksAttachments).toBeUndefined()
  })
})

async function fill(api: Running): Promise<void> {
  const network = (await api.post('/networks/create', { Name: 'app', Driver: 'overlay', Labels: { a: 'b' } })).body.Id
  const template = { ContainerSpec: { Image: 'node' }, Networks: [{ Target: network }] }
  const ports = [
    { TargetPort: 80, PublishedPort: 8080 },
    { TargetPort: 90, PublishedPort: 9090, PublishMode: 'host' },
  ]
  await api.post('/services/create', {
    ...spec('web', { Labels: { 'traefik.enable': 'true' }, EndpointSpec: { Ports: ports } }),
    TaskTemplate: template,
  })
  api.fake.run()
  for (const [id, task] of api.fake.view.tasks) {
    const port = { protocol: 'tcp', target: 90, actual: 9090 } as const
    api.fake.view.tasks.set(id, { ...task, value: { ...task.value, ports: [port] } })
  }
  api.fake.view.revision++
  await api.post('/services/create', {
    ...spec('stuck', { EndpointSpec: {} }),
    TaskTemplate: { ...template, Placement: { Constraints: ['node.labels.rack==none'] } },
  })
}

/** The ids for which `{…}` stands, as the lists tell them. */
async function named(api: Running, url: string): Promise<string> {
  const [service] = (await api.get('/services')).body
  const [task] = (await api.get('/tasks?filters={"desired-state":["running"],"service":["web"]}')).body
  const ids: Readonly<Record<string, string>> = { service: service.ID, task: task.ID, node: task.NodeID }
  return decodeURIComponent(url).replaceAll(/\{(service|task|node)\}/g, (_all, what: string) => ids[what] ?? '')
}

/** What is missing or no such thing, a line each. */
function lacks(body: unknown, at: string, kind: Kind): readonly string[] {
  const { values, missing } = find([body], at)
  if (values.length === 0 && !at.includes('?')) return [`${at} is nowhere`]
  const wrong = values
    .filter((value) => !is[kind](value))
    .map((value) => `${at} is ${JSON.stringify(value)}, no ${kind}`)
  return [...(missing ? [`${at} is missing in some`] : []), ...wrong]
}

function find(from: readonly unknown[], at: string): { values: readonly unknown[]; missing: boolean } {
  let values = from
  let missing = false
  for (const step of at.split(/\.|(?=\[\])/)) {
    const name = step.replace('?', '')
    const next = values.flatMap((value) => (name === '[]' ? (value as unknown[]) : [field(value, name)]))
    // What is in something that may be missing is missing with it; a pending task has no attachments.
    const isOptional = at.includes('?') || name === 'NetworksAttachments' || name === 'VirtualIPs' || name === 'Ports'
    missing ||= next.includes(undefined) && !isOptional
    values = next.filter((value) => value !== undefined)
  }
  return { values, missing }
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>)[name] : undefined
}

const is: Readonly<Record<Kind, (value: unknown) => boolean>> = {
  text: (value) => typeof value === 'string' && value !== '',
  address: (value) => typeof value === 'string' && isIP(value) !== 0,
  cidr: (value) => typeof value === 'string' && /^[^/]+\/\d{1,3}$/.test(value) && isIP(value.split('/')[0] ?? '') !== 0,
  number: (value) => typeof value === 'number',
  boolean: (value) => typeof value === 'boolean',
  map: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
}
