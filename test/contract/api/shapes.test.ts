// The fields that a real one-node Swarm answers (Docker 20.10.24, API 1.41, asked after the same commands; swarm-shapes.json) are those that
// are answered here, less the ones in `without`, each with its reason. swagger.test.ts sees to types, and to fields that Docker does not have.
import fs from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Running, spec, startApi } from '../../unit/api/client.ts'
import { fieldsOf } from './fields.ts'

const shapes: Readonly<Record<string, readonly string[]>> = JSON.parse(
  fs.readFileSync(path.join(import.meta.dirname, 'swarm-shapes.json'), 'utf8'),
)

/** Absent says "not known" to Docker's clients. */
const without: readonly (readonly [pattern: RegExp, reason: string])[] = [
  [/TLSInfo\./, 'there is no authority of managers: a node vouches for its own key'],
  [/^Spec\.(Raft|Dispatcher|CAConfig)\./, 'there is no raft, dispatcher or certificate authority to set'],
  [/ContainerSpec\.Isolation$/, 'Windows alone has kinds of isolation'],
  [/TaskTemplate\.Runtime$/, 'there is one kind of task, and Docker’s clients take its absence for that'],
  [/Options\.\*$/, 'the VXLAN id of a network follows from its id and is no option'],
  [/Network\.DriverState\.Options/, 'as above'],
  [/Network\.Spec\.Ingress$/, 'tasks are not attached to the network of published ports in user space'],
]

let api: Running

beforeAll(async () => {
  api = await startApi()
  const network = (await api.post('/networks/create', { Name: 'app', Driver: 'overlay', Labels: { a: 'b' } })).body.Id
  // As Docker's client sends what was typed for the record.
  await api.post('/services/create', {
    Name: 'web',
    Labels: { x: 'y' },
    TaskTemplate: {
      ContainerSpec: {
        Image: 'sleep:latest',
        Args: ['sleep', '1000'],
        Env: ['A=b'],
        Init: false,
        Healthcheck: { Test: ['CMD-SHELL', 'true'] },
        DNSConfig: {},
      },
      Resources: { Limits: {}, Reservations: { MemoryBytes: 8 * 1024 * 1024 } },
      Placement: { Constraints: ['node.platform.os==linux'] },
      Networks: [{ Target: network }],
      ForceUpdate: 0,
    },
    Mode: { Replicated: { Replicas: 2 } },
    EndpointSpec: {
      Mode: 'vip',
      Ports: [{ Protocol: 'tcp', TargetPort: 80, PublishedPort: 8080, PublishMode: 'ingress' }],
    },
  })
  await api.post('/services/create', spec('other'))
  api.fake.run()
  const { Spec, Version } = (await api.get('/services/web')).body
  const template = { ...Spec.TaskTemplate, ContainerSpec: { ...Spec.TaskTemplate.ContainerSpec, Env: ['B=c'] } }
  await api.post(`/services/web/update?version=${Version.Index}`, { ...Spec, TaskTemplate: template })
  const self = api.fake.view.members.get(api.fake.view.self)
  if (self === undefined) throw new Error('no member')
  const own = { ...self.record, value: { ...self.record.value, networks: [network] } }
  api.fake.view.members.set(self.id, { ...self, record: own })
  for (const [id, task] of api.fake.view.tasks)
    api.fake.view.tasks.set(id, { ...task, value: { ...task.value, node: self.id, boot: own.value.boot } })
  api.fake.view.revision++
})
afterAll(() => api.stop())

test.each(Object.entries(shapes))('%s has the fields of a real Swarm', async (url, fields) => {
  const ours = new Set(fieldsOf((await api.get(url)).body))
  const missing = fields.filter((field) => !ours.has(field) && !without.some(([pattern]) => pattern.test(field)))
  expect(missing).toEqual([])
})

test('what is left out is something that Docker has', () => {
  const all = Object.values(shapes).flat()
  expect(without.filter(([pattern]) => !all.some((field) => pattern.test(field)))).toEqual([])
})
