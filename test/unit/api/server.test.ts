// The server itself: its socket, its bounds, and what clients negotiate by.
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { duplexPair } from 'node:stream'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { requestOver } from '../../../agent/api/relay.ts'
import { createApiServer } from '../../../agent/api/server.ts'
import { limits } from '../../../protocol/limits.ts'
import { until } from '../../until.ts'
import { type Running, spec, startApi } from './client.ts'
import { createFake } from './fake.ts'

let api: Running
beforeEach(async () => {
  api = await startApi()
})
afterEach(() => api.stop())

describe('the socket', () => {
  let folder: string
  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'vine-sock-'))
  })
  afterEach(() => fs.rmSync(folder, { recursive: true }))

  test('is for its owner only, in a directory for its owner only', async () => {
    const socket = path.join(folder, 'made', 'vine.sock')
    const server = await createApiServer(createFake().context, { socket })
    expect(fs.statSync(socket).mode & 0o777).toBe(0o600)
    expect(fs.statSync(path.dirname(socket)).mode & 0o777).toBe(0o700)
    await server.close()
    expect(fs.existsSync(socket)).toBe(false)
  })

  test('of a live agent is refused, with a sentence', async () => {
    await expect(createApiServer(createFake().context, { socket: api.socket })).rejects.toMatchObject({
      code: 'conflict',
      message: `An agent already answers at unix://${api.socket}`,
    })
    expect((await api.get('/_ping')).status).toBe(200)
  })

  test('of a dead agent is taken over', async () => {
    const socket = path.join(folder, 'vine.sock')
    leaveStale(socket)
    const server = await createApiServer(createFake().context, { socket })
    await server.close()
  })

  test('is not made where a file is, or where its path is too long', async () => {
    const file = path.join(folder, 'file')
    fs.writeFileSync(file, 'precious')
    await expect(createApiServer(createFake().context, { socket: file })).rejects.toMatchObject({ code: 'conflict' })
    expect(fs.readFileSync(file, 'utf8')).toBe('precious')
    const long = path.join(folder, 'x'.repeat(120))
    await expect(createApiServer(createFake().context, { socket: long })).rejects.toMatchObject({ code: 'invalid' })
  })

  /** A socket file that nobody listens on: a hard link survives the close that unlinks the name it was bound to. */
  function leaveStale(socket: string): void {
    const bound = net.createServer().listen(`${socket}.bound`)
    fs.linkSync(`${socket}.bound`, socket)
    bound.close()
  }
})

describe('what clients negotiate by', () => {
  test('ping answers HEAD and GET with the headers of Docker', async () => {
    for (const method of ['HEAD', 'GET']) {
      const { status, headers, bytes } = await api.request(method, '/_ping')
      expect([status, bytes.toString()]).toEqual([200, method === 'GET' ? 'OK' : ''])
      expect(headers).toMatchObject({
        'api-version': '1.56',
        'docker-experimental': 'false',
        ostype: 'linux',
        swarm: 'active/manager',
      })
    }
  })

  test.each([
    ['/v1.24/services', 200, undefined],
    ['/v1.56/services', 200, undefined],
    ['/services', 200, undefined],
    ['/v1.23/services', 400, /too old. Minimum supported API version is 1.24/],
    ['/v1.57/services', 400, /too new. Maximum supported API version is 1.56/],
    ['/v2.0/services', 400, /too new/],
    ['/nowhere', 404, /page not found/],
    ['/v1.50/nowhere', 404, /page not found/],
    ['/v1.50/containers/json', 503, /no Docker engine/],
    ['/v1.50/containers/web/json', 404, /^No such container: web /],
    ['/services/%E0%A4%A', 400, /the path is not valid/],
  ])('GET %s answers %i', async (url, status, message) => {
    const answer = await api.get(url)
    expect(answer.status).toBe(status)
    if (message !== undefined) expect(answer.body.message).toMatch(message)
  })

  test("a look-up in a registry is a 404, which Docker's client takes", async () => {
    expect((await api.get('/distribution/docker.io/library/busybox:latest/json')).status).toBe(404)
  })
})

describe('bounds', () => {
  test('a body beyond the limit is 413, and the client gets to read it', async () => {
    const { status, body } = await api.request(
      'POST',
      '/services/create',
      Buffer.alloc(limits.apiBodyBytesMax + 1, 'x'),
    )
    expect([status, body.message]).toEqual([413, expect.stringContaining('larger than')])
  })

  test('a body that is no JSON is 400, also when it is empty or deep', async () => {
    for (const body of ['{', '', 'true', '[1]', `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`]) {
      expect((await api.request('POST', '/services/create', body)).status).toBe(400)
    }
  })

  test('a refusal that needs no body waits for it, so that a client that still sends it gets to read why', async () => {
    const socket = net.connect(api.socket)
    let told = ''
    let ended = false
    socket.on('data', (chunk) => {
      told += chunk
    })
    socket.on('end', () => {
      ended = true
    })
    socket.on('error', (error) => {
      told += error.message
    })
    socket.write('POST /networks/x/connect HTTP/1.1\r\nHost: vine\r\nContent-Length: 2\r\n\r\n')
    await api.get('/_ping')
    await api.get('/_ping')
    expect([told, ended]).toEqual(['', false])
    socket.write('{}')
    await until(() => told.includes('no Docker engine to ask'), { deadlineMs: 5_000, what: 'the refusal' })
    expect(told).toMatch(/^HTTP\/1\.1 503 /)
    socket.destroy()
  })

  test("Docker's client, which prints no remedy, is told it in the sentence of what is not supported", async () => {
    const bridge = { Name: 'x', Driver: 'bridge' }
    const docker = { 'user-agent': 'Docker-Client/28.2.2 (linux)' }
    expect((await api.request('POST', '/networks/create', bridge, docker)).body.message).toBe(
      'Grapevine does not support the network driver "bridge". Every network here spans the cluster: create it with --driver overlay',
    )
    expect((await api.post('/networks/create', bridge)).body.message).toBe(
      'Grapevine does not support the network driver "bridge"',
    )
    const missing = await api.request('GET', '/networks/nope', undefined, docker)
    expect(missing.body.message).toBe('network nope not found')
  })

  test('clients that send half a request and stay do not keep others from an answer', async () => {
    const idle = Array.from({ length: 50 }, () => net.connect(api.socket))
    for (const socket of idle) socket.write('POST /services/create HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{')
    expect((await api.post('/services/create', spec('web'))).status).toBe(201)
    for (const socket of idle) socket.destroy()
  })

  test('a client that reads nothing of a stream holds no more than the socket takes', async () => {
    let made = 0
    api.fake.set.logs = async function* (task) {
      for (;;) {
        made++
        yield { task, stream: 'stdout', atMs: 1, text: 'x'.repeat(10_000) }
      }
    }
    await api.post('/services/create', spec('web', { Mode: { Replicated: { Replicas: 1 } } }))
    const service = [...api.fake.view.services.keys()][0] ?? ''
    api.fake.putTask('t'.repeat(25), { service, slot: '1', node: api.fake.view.self })
    const socket = net.connect(api.socket)
    socket.pause()
    socket.write('GET /services/web/logs?stdout=1&follow=1 HTTP/1.1\r\nHost: x\r\n\r\n')
    await until(() => made > 10, { deadlineMs: 5_000, what: 'lines to flow' })
    let before = -1
    await until(
      () => {
        const still = made === before
        before = made
        return still
      },
      { deadlineMs: 5_000, everyMs: 100, what: 'the source to pause' },
    )
    expect(made).toBeLessThan(2_000)
    expect((await api.get('/_ping')).status).toBe(200)
    socket.destroy()
  })
})

describe('relayed requests', () => {
  test('come over any byte stream and are answered by the same handlers', async () => {
    const [ours, theirs] = duplexPair()
    api.server.serve(theirs)
    const signal = new AbortController().signal
    const response = await requestOver(ours, { method: 'GET', path: '/v1.50/nodes/self', headers: {}, signal })
    const text = (await response.body.toArray()).join('')
    expect([response.status, JSON.parse(text).Description.Hostname]).toEqual([200, 'n1'])
  })

  test('that break off leave the server as it was', async () => {
    const [ours, theirs] = duplexPair()
    api.server.serve(theirs)
    ours.on('error', () => {})
    ours.write('GET /services HTTP/1.1\r\nHost')
    ours.destroy(new Error('gone'))
    theirs.destroy(new Error('gone'))
    expect((await api.get('/services')).status).toBe(200)
  })
})
