// Whatever is sent, the API answers with a status and goes on; correct clients are answered meanwhile.

import net from 'node:net'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { routes } from '../../../agent/api/routes.ts'
import { fuzzRuns, fuzzSeed, fuzzTimeoutMs, manyInputs } from '../../fuzz.ts'
import { type Running, spec, startApi } from './client.ts'

let api: Running
let failures: string[]
beforeEach(async () => {
  failures = []
  api = await startApi()
  api.fake.context.log.error = (message, fields) => failures.push(`${message} ${JSON.stringify(fields)}`)
  await api.post('/services/create', spec('web'))
  api.fake.run()
})
afterEach(() => api.stop())

const word = fc.oneof(
  fc.constantFrom('web', 'n1', 'self', 'back', '1', '', '__proto__', 'constructor', '%', '..'),
  fc.string(),
)
const filled = fc
  .constantFrom(...routes)
  .chain(({ path }) => word.map((name) => path.replace(/\{[^}]+\}/g, encodeURIComponent(name))))
const query = fc.dictionary(
  fc.constantFrom(
    'filters',
    'version',
    'rollback',
    'status',
    'since',
    'until',
    'tail',
    'stdout',
    'node',
    'task',
    'name',
    'type',
    'force',
  ),
  fc.oneof(word, fc.json(), fc.integer().map(String)),
)
/** A good service or network with one field replaced by anything: reaches the checks behind the schema. */
const fields = [
  'Name',
  'Labels',
  'TaskTemplate',
  'Mode',
  'UpdateConfig',
  'EndpointSpec',
  'Networks',
  'Driver',
  'IPAM',
  'Options',
  'Availability',
]
const bent = fc
  .record({ field: fc.constantFrom(...fields), value: fc.anything(), name: word })
  .map(({ field, value, name }) => {
    const good = {
      ...spec(name),
      Driver: 'overlay',
      Availability: 'active',
      EndpointSpec: { Ports: [{ TargetPort: 80 }] },
    }
    return JSON.stringify({ ...good, [field]: value }) ?? ''
  })
const body = fc.oneof(
  bent,
  fc.json(),
  fc.string(),
  fc.anything().map((thing) => JSON.stringify(thing) ?? ''),
  fc
    .record({
      Name: word,
      TaskTemplate: fc.anything(),
      Mode: fc.anything(),
      EndpointSpec: fc.anything(),
      Labels: fc.anything(),
    })
    .map((thing) => JSON.stringify(thing)),
)
/** Streams that follow would hold the test; they end at once with `until` in the past. */
const ended = (url: string) => `${url}${url.includes('?') ? '&' : '?'}until=1&follow=0`

test(
  `API: ${manyInputs} are each answered, and none is the agent's own failure`,
  async () => {
    const request = fc.record({
      method: fc.constantFrom('GET', 'POST', 'DELETE', 'HEAD', 'PUT', 'PATCH', 'OPTIONS'),
      path: fc.oneof({ weight: 4, arbitrary: filled }, fc.webPath()),
      version: fc.constantFrom('', '/v1.50', '/v1.1', '/v9.9'),
      query,
      body,
    })
    await fc.assert(
      fc.asyncProperty(request, async (asked) => {
        failures.length = 0
        const search = new URLSearchParams(asked.query)
        search.delete('until')
        const url = ended(`${asked.version}${asked.path || '/'}?${search}`)
        const answer = await api.request(
          asked.method,
          url,
          asked.method === 'GET' || asked.method === 'HEAD' ? undefined : asked.body,
        )
        expect(answer.status).toBeGreaterThanOrEqual(200)
        expect(failures).toEqual([])
      }),
      { numRuns: fuzzRuns, seed: fuzzSeed },
    )
    expect((await api.get('/_ping')).status).toBe(200)
  },
  fuzzTimeoutMs,
)

test(
  'bytes that are no HTTP end their connection, and only that',
  async () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 4_000 }),
      fc.string().map((text) => Buffer.from(`GET ${text} HTTP/1.1\r\n${text}\r\n\r\n`)),
    )
    await fc.assert(
      fc.asyncProperty(bytes, async (garbage) => {
        const socket = net.connect(api.socket)
        socket.on('error', () => {})
        socket.end(garbage)
        socket.resume()
        expect((await api.get('/services/web')).status).toBe(200)
      }),
      { numRuns: Math.ceil(fuzzRuns / 8), seed: fuzzSeed },
    )
    expect(failures).toEqual([])
  },
  fuzzTimeoutMs,
)
