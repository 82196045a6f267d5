// What passes through to the Docker engine of this machine, and what engine and swarm answer together, against a fake engine.
import http from 'node:http'
import net from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createEngine } from '../../../agent/api/engine/engine.ts'
import { type Running, spec, startApi } from '../../unit/api/client.ts'
import { createFake } from '../../unit/api/fake.ts'
import { until } from '../../until.ts'
import { type FakeEngine, startEngine } from './fake-engine.ts'

let engine: FakeEngine
let api: Running

beforeEach(async () => {
  engine = await startEngine()
  const fake = createFake()
  api = await startApi({ ...fake, context: { ...fake.context, engine: createEngine(engine.socket) } })
})
afterEach(async () => {
  await api.stop()
  await engine.stop()
})

const deadlineMs = 10_000

describe('what is passed on', () => {
  test('arrives unchanged, and so does the answer', async () => {
    let raw: readonly string[] = []
    engine.answers.set('PUT /containers/x/archive', ((incoming, response) => {
      raw = incoming.rawHeaders
      const chunks: Buffer[] = []
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
      incoming.on('end', () => {
        response.writeHead(418, 'Odd', ['X-One', 'a', 'X-One', 'b', 'X-LOUD', ' c'])
        response.end(Buffer.concat([...chunks, Buffer.from([0, 255, 10])]))
      })
    }) satisfies http.RequestListener)
    const told = await exchange(
      'PUT /v1.41/containers/x/archive?path=%2Fa%20b HTTP/1.1\r\nHost: docker\r\nX-Registry-Auth: e30=\r\nX-b: 1\r\nX-b: 2\r\nContent-Length: 3\r\nConnection: close\r\n\r\n\u0001\u0002\u0003',
    )
    expect(engine.asked).toEqual(['PUT /v1.41/containers/x/archive?path=%2Fa%20b'])
    expect(raw.slice(0, 10)).toEqual([
      'Host',
      'docker',
      'X-Registry-Auth',
      'e30=',
      'X-b',
      '1',
      'X-b',
      '2',
      'Content-Length',
      '3',
    ])
    // Asked to close it, an engine does so while the end of the request is still being written, and its answer is lost.
    expect(raw.slice(10)).toEqual(['Connection', 'keep-alive'])
    expect(told.slice(0, told.indexOf('Date'))).toBe('HTTP/1.1 418 Odd\r\nX-One: a\r\nX-One: b\r\nX-LOUD: c\r\n')
    expect(told.endsWith('\r\n6\r\n\u0001\u0002\u0003\u0000\u00ff\n\r\n0\r\n\r\n')).toBe(true)
  })

  test('streams both ways at once: nothing waits for an end', async () => {
    engine.answers.set('POST /build', ((incoming, response) => {
      response.writeHead(200, { 'Content-Type': 'application/json' })
      incoming.on('data', (chunk) => response.write(`<${chunk}>`))
      incoming.on('end', () => response.end('.'))
    }) satisfies http.RequestListener)
    let told = ''
    const outgoing = http.request({ socketPath: api.socket, method: 'POST', path: '/build', agent: false })
    outgoing.on('response', (response) =>
      response.setEncoding('utf8').on('data', (text) => {
        told += text
      }),
    )
    outgoing.write('one')
    await until(() => told === '<one>', { deadlineMs, what: 'the answer to the first part' })
    outgoing.end('two')
    await until(() => told === '<one><two>.', { deadlineMs, what: 'the rest' })
  })

  test.each(['a client that reads nothing holds up the engine', 'an engine that reads nothing holds up the client'])(
    '%s',
    async (which) => {
      let written = 0
      const fill = (to: NodeJS.WritableStream): void => {
        do written += 64 * 1024
        while (to.write(Buffer.alloc(64 * 1024)))
        to.once('drain', () => fill(to))
      }
      engine.answers.set('/images/get', ((incoming, response) => {
        if (which.startsWith('a client')) fill(response)
        else incoming.pause()
      }) satisfies http.RequestListener)
      const outgoing = http.request({ socketPath: api.socket, method: 'POST', path: '/images/get', agent: false })
      outgoing.on('error', () => {})
      outgoing.on('response', (response) => response.pause())
      if (which.startsWith('a client')) outgoing.end()
      else fill(outgoing)
      let before = -1
      await until(
        () => {
          const still = written === before
          before = written
          return still
        },
        { deadlineMs, everyMs: 100, what: 'the writer to wait' },
      )
      expect(written).toBeLessThan(8 * 1024 * 1024)
      outgoing.destroy()
    },
  )

  test.each(['has begun to answer', 'has not answered yet'])(
    'ends at an engine that %s when the client has gone',
    async (which) => {
      let ended = false
      engine.answers.set('/containers/x/logs', ((_incoming, response) => {
        if (which === 'has begun to answer') response.write('line\n')
        response.on('close', () => {
          ended = true
        })
      }) satisfies http.RequestListener)
      let read = ''
      const outgoing = http.get({ socketPath: api.socket, path: '/containers/x/logs?follow=1', agent: false })
      outgoing.on('error', () => {})
      outgoing.on('response', (response) =>
        response.on('data', (chunk) => {
          read += chunk
        }),
      )
      const asked = () => (which === 'has begun to answer' ? read !== '' : engine.asked.length > 0)
      await until(asked, { deadlineMs, what: 'the request to be there' })
      outgoing.destroy()
      await until(() => ended, { deadlineMs, what: 'the engine to see it' })
    },
  )

  test('a connection that is upgraded is the engine’s: bytes both ways, and an end of stdin that ends nothing else', async () => {
    engine.upgrade = (incoming, socket, head) => {
      socket.write(
        'HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n',
      )
      socket.write(`${incoming.headers['content-type']} `)
      socket.write(head)
      socket.on('data', (chunk) => socket.write(`<${chunk}>`))
      socket.on('end', () => socket.end('bye'))
    }
    const client = net.connect({ path: api.socket, allowHalfOpen: true })
    let told = ''
    let ended = false
    client.setEncoding('latin1').on('data', (text) => {
      told += text
    })
    client.on('end', () => {
      ended = true
    })
    client.write(
      'POST /v1.41/exec/x/start HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 11\r\n\r\n{"Tty":true',
    )
    await until(() => told.includes('{"Tty":true'), { deadlineMs, what: 'the body to arrive' })
    client.write('ls\n')
    await until(() => told.endsWith('<ls\n>'), { deadlineMs, what: 'an answer' })
    client.end('last')
    await until(() => ended, { deadlineMs, what: 'the end' })
    expect(told).toMatch(/^HTTP\/1\.1 101 UPGRADED\r\n[\s\S]*\r\n\r\napplication\/json \{"Tty":true<ls\n><last>bye$/)
  })

  test('a connection that was upgraded ends with the agent', async () => {
    engine.upgrade = (_incoming, socket) =>
      socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n')
    const client = net.connect(api.socket)
    client.write('POST /session HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n')
    await new Promise((resolve) => client.once('data', resolve))
    await api.server.close()
    await until(() => client.destroyed, { deadlineMs, what: 'the connection to end' })
    await api.stop()
    api = await startApi()
  })

  test('an upgrade of a path of the swarm is none: it is answered as HTTP', async () => {
    const told = await exchange('GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n')
    expect(told).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
  })

  test('an engine that is not there is a 503 that says what to do, also to an upgrade; an inspection finds nothing', async () => {
    await engine.stop()
    const docker = { 'user-agent': 'Docker-Client/28.2.2 (linux)' }
    const { status, body } = await api.request('GET', '/containers/json', undefined, docker)
    expect([status, body.message]).toEqual([503, expect.stringMatching(/^no Docker engine answers at .*Start Docker/)])
    expect((await api.get('/containers/web/json')).body.message).toMatch(/^No such container: web \(no Docker engine/)
    expect(
      await exchange('POST /exec/x/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n'),
    ).toMatch(/^HTTP\/1\.1 503 [\s\S]*no Docker engine answers/)
    expect((await api.get('/networks')).body.map((network: { Name: string }) => network.Name)).toEqual(['ingress'])
    engine = await startEngine()
  })

  test('an answer that breaks off breaks off for the client', async () => {
    engine.answers.set('/images/json', ((_incoming, response) => {
      response.writeHead(200, { 'Content-Length': 100 })
      response.write('half', () => response.destroy())
    }) satisfies http.RequestListener)
    await expect(api.get('/images/json')).rejects.toThrow(/aborted|hang up/)
    expect((await api.get('/_ping')).status).toBe(200)
  })

  test('is not for other members', async () => {
    engine.answers.set('/containers/json', [])
    const asked = await api.request('GET', '/containers/json', undefined, { 'x-grapevine-relayed': 'n2' })
    expect([asked.status, engine.asked]).toEqual([403, []])
    expect((await api.get('/containers/json')).status).toBe(200)
  })
})

describe('what engine and swarm answer together', () => {
  test('clients negotiate what both speak', async () => {
    const { headers } = await api.request('HEAD', '/_ping')
    expect(headers).toMatchObject({ 'api-version': '1.41', 'builder-version': '2', swarm: 'active/manager' })
    engine.answers.set('/version', {
      ApiVersion: '1.41',
      MinAPIVersion: '1.12',
      Components: [{ Name: 'Engine' }],
      Os: 'linux',
    })
    const { body } = await api.get('/version')
    expect(body).toMatchObject({ ApiVersion: '1.41', MinAPIVersion: '1.24', Os: 'linux' })
    expect(body.Components.map(({ Name }: { Name: string }) => Name)).toEqual(['Engine', 'Grapevine'])
  })

  test('info is the engine’s with our swarm', async () => {
    engine.answers.set('/info', {
      ID: 'E',
      Containers: 7,
      Driver: 'overlay2',
      Swarm: { LocalNodeState: 'inactive' },
      Warnings: null,
    })
    api.fake.set.warnings = ['a port is taken']
    const { body } = await api.get('/info')
    expect(body).toMatchObject({ ID: 'E', Containers: 7, Driver: 'overlay2', Warnings: ['a port is taken'] })
    expect(body.Swarm).toMatchObject({ LocalNodeState: 'active', ControlAvailable: true, Nodes: 3 })
  })

  test('an engine that hangs holds up no answer of the swarm', async () => {
    engine.hangs = true
    const answers = await Promise.all(
      ['/info', '/version', '/networks', '/_ping', '/services'].map((url) => api.get(url)),
    )
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200])
    expect(answers[0]?.body.Swarm.LocalNodeState).toBe('active')
  })

  test('networks are listed side by side, and each goes to whom it belongs', async () => {
    const bridge = { Name: 'bridge', Id: 'b1', Driver: 'bridge', Scope: 'local' }
    engine.answers.set('GET /networks', [bridge, { Name: 'foreign', Id: 'f1', Driver: 'overlay', Scope: 'swarm' }])
    engine.answers.set('GET /networks/bridge', bridge)
    engine.answers.set('DELETE /networks/bridge', { message: 'removed' })
    engine.answers.set('GET /networks/app', { Name: 'app', Id: 'a1', Driver: 'bridge', Scope: 'local' })
    engine.answers.set('POST /networks/bridge/connect', {})
    engine.answers.set('POST /networks/create', ((incoming, response) => {
      incoming.on('data', (chunk) => response.end(chunk))
    }) satisfies http.RequestListener)
    const overlay = await api.post('/networks/create', { Name: 'app', Driver: 'overlay' })
    expect(overlay.status).toBe(201)
    const local = await api.post('/networks/create', { Name: 'mine', Driver: 'bridge' })
    expect(local.body).toEqual({ Name: 'mine', Driver: 'bridge' })
    const filters = encodeURIComponent('{"name":["b"]}')
    expect((await api.get('/networks')).body.map((n: { Name: string; Scope: string }) => [n.Name, n.Scope])).toEqual([
      ['app', 'swarm'],
      ['ingress', 'swarm'],
      ['bridge', 'local'],
    ])
    await api.get(`/networks?filters=${filters}`)
    expect(engine.asked).toContain(`GET /networks?filters=${filters}`)
    expect((await api.get('/networks/app')).body.Id).toBe(overlay.body.Id)
    expect((await api.get('/networks/app?scope=local')).body.Id).toBe('a1')
    expect((await api.get('/networks/bridge')).body).toEqual(bridge)
    expect((await api.post('/networks/bridge/connect', { Container: 'x' })).status).toBe(200)
    const ours = await api.post('/networks/app/connect', { Container: 'x' })
    expect([ours.status, ours.body.message]).toEqual([503, 'this node has no Docker engine to ask'])
    expect((await api.delete('/networks/bridge')).body).toEqual({ message: 'removed' })
    expect((await api.delete('/networks/app')).status).toBe(204)
    expect(engine.asked).not.toContain('DELETE /networks/app')
    expect((await api.get('/networks/nope')).body.message).toBe('network nope not found')
  })

  test('prune asks both', async () => {
    engine.answers.set('POST /networks/prune', { NetworksDeleted: ['mine'] })
    await api.post('/networks/create', { Name: 'app', Driver: 'overlay' })
    expect((await api.post('/networks/prune', {})).body).toEqual({ NetworksDeleted: ['app', 'mine'] })
  })

  test('events are one stream, which ends with both', async () => {
    const theirs = { Type: 'container', Action: 'start', Actor: { ID: 'c1' }, scope: 'local', time: 1 }
    engine.answers.set('/events', ((_incoming, response) => {
      response.write(`${JSON.stringify(theirs)}\n`)
      response.end()
    }) satisfies http.RequestListener)
    const atMs = api.fake.set.wallMs
    api.fake.emit({ atMs, type: 'service', action: 'create', id: 's', name: 'web', sentence: 'made', attributes: {} })
    const { bytes } = await api.get(`/events?since=${atMs / 1000}&until=${atMs / 1000}`)
    const lines = bytes
      .toString()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines.map(({ Type }) => Type).sort()).toEqual(['container', 'service'])
    expect(engine.asked).toEqual([`GET /events?since=${atMs / 1000}&until=${atMs / 1000}`])
  })

  test('an engine that hangs holds up no events that have an end', async () => {
    engine.hangs = true
    const atMs = api.fake.set.wallMs
    api.fake.emit({ atMs, type: 'service', action: 'create', id: 's', name: 'web', sentence: 'made', attributes: {} })
    const { bytes } = await api.get(`/events?since=${atMs / 1000}&until=${atMs / 1000}`)
    expect(JSON.parse(bytes.toString()).Type).toBe('service')
  })

  test('a registry is asked where this node runs containers, and nowhere else', async () => {
    engine.answers.set('/distribution/busybox/json', { Descriptor: { digest: 'sha256:1' } })
    expect((await api.get('/distribution/busybox/json')).status).toBe(404)
    const self = api.fake.view.members.get(api.fake.view.self)
    if (self === undefined) throw new Error('no member')
    const record = { ...self.record, value: { ...self.record.value, runtimes: ['docker'] } }
    api.fake.view.members.set(self.id, { ...self, record })
    expect((await api.get('/distribution/busybox/json')).body.Descriptor.digest).toBe('sha256:1')
  })

  test('services are the swarm’s alone', async () => {
    await api.post('/services/create', spec('web'))
    expect((await api.get('/services')).body).toHaveLength(1)
    expect(engine.asked).toEqual([])
  })
})

/** Sends bytes on a connection of their own and returns all that comes back; latin1, so that every byte is a character. */
function exchange(bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(api.socket)
    let told = ''
    socket.setEncoding('latin1').on('data', (text) => {
      told += text
    })
    socket.on('error', reject)
    socket.on('end', () => resolve(told))
    socket.write(bytes, 'latin1')
  })
}
