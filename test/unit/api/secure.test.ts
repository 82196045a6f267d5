// The API over TCP: only for who holds a certificate of the authority, and then all of it.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, expect, test } from 'vitest'
import { type ApiServer, createApiServer } from '../../../agent/api/server.ts'
import { readConfig } from '../../../agent/config.ts'
import { serve } from '../../../agent/start/serve.ts'
import type { Mesh } from '../../../agent/world.ts'
import { vine } from '../cli/vine.ts'
import { type Folder, makeCertificates } from './certificates.ts'
import { createFake } from './fake.ts'

const root = mkdtempSync(join(tmpdir(), 'vine-tls-'))
let running: ApiServer | undefined
afterEach(async () => {
  await running?.close()
  running = undefined
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

let made: ReturnType<typeof makeCertificates> | undefined
const certificates = () => (made ??= makeCertificates(root))

async function start(server: Folder): Promise<number> {
  const tcp = { host: '127.0.0.1', port: 0, ca: server.ca, cert: server.cert, key: server.key }
  running = await createApiServer(createFake().context, { socket: join(root, 'vine.sock'), tcp })
  return running.tcpPort ?? 0
}

interface Shown {
  readonly ca: Folder
  readonly own: Folder | undefined
}

/** The status of a question, or the code of the error that came in its place. */
function ask(port: number, { ca, own }: Shown): Promise<number | string> {
  const mine = own === undefined ? {} : { cert: readFileSync(own.cert), key: readFileSync(own.key) }
  return new Promise((resolve) => {
    const options = { host: '127.0.0.1', port, path: '/v1.50/nodes', agent: false, ca: readFileSync(ca.ca), ...mine }
    const request = https.request(options, (response) => {
      response.resume()
      response.on('end', () => resolve(response.statusCode ?? 0))
    })
    request.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    request.end()
  })
}

test('a client whose certificate the authority signed is answered', async () => {
  const { server, client } = certificates()
  expect(await ask(await start(server), { ca: server, own: client })).toBe(200)
})

test('a client without a certificate, or with one of another authority, gets no answer', async () => {
  const { server } = certificates()
  const stranger = makeCertificates(root, 'other').client
  const port = await start(server)
  expect(await ask(port, { ca: server, own: undefined })).toMatch(/ALERT|ECONNRESET|EPROTO/)
  expect(await ask(port, { ca: server, own: stranger })).toMatch(/ALERT|ECONNRESET|EPROTO/)
})

test('a certificate for servers does not make a client', async () => {
  const { server } = certificates()
  expect(await ask(await start(server), { ca: server, own: server })).toMatch(/ALERT|ECONNRESET|EPROTO/)
})

test('HTTP without TLS gets no answer, and the next client is answered', async () => {
  const { server, client } = certificates()
  const port = await start(server)
  const plain = await new Promise((resolve) => {
    http
      .get({ host: '127.0.0.1', port, path: '/_ping', agent: false }, () => resolve('answered'))
      .on('error', () => resolve('refused'))
  })
  expect(plain).toBe('refused')
  expect(await ask(port, { ca: server, own: client })).toBe(200)
})

test('an agent whose files do not fit says which', async () => {
  const { server, client } = certificates()
  await expect(start({ ...server, key: client.key })).rejects.toThrow(/--tls-key .* do not fit together/)
  await expect(start({ ...server, ca: join(root, 'none.pem') })).rejects.toThrow(/--tls-ca cannot be read: ENOENT/)
  const garbage = join(root, 'garbage.pem')
  writeFileSync(garbage, 'garbage')
  await expect(start({ ...server, cert: garbage })).rejects.toThrow(/do not fit together/)
})

test('an address that is taken is named, and the socket is not left behind', async () => {
  const { server } = certificates()
  const port = await start(server)
  const tcp = { host: '127.0.0.1', port, ca: server.ca, cert: server.cert, key: server.key }
  const second = createApiServer(createFake().context, { socket: join(root, 'second.sock'), tcp })
  await expect(second).rejects.toThrow(`--api 127.0.0.1:${port} cannot be bound: the port is in use`)
})

test('an agent that is told --api and its files answers there', async () => {
  const { server, client } = certificates()
  const free = await start(server)
  await running?.close()
  running = undefined
  const files = { 'tls-ca': [server.ca], 'tls-cert': [server.cert], 'tls-key': [server.key] }
  const flags = { api: [`127.0.0.1:${free}`], socket: [join(root, 'agent.sock')], ...files }
  const machine = { hostname: 'n1', isRoot: false, home: root, routeAddress: undefined, socket: '' }
  const config = readConfig({ flags, env: {}, file: undefined, machine })
  const mesh: Pick<Mesh, 'onStream'> = { onStream: () => {} }
  const serving = await serve(config, createFake().context, mesh as Mesh)
  expect(await ask(free, { ca: server, own: client })).toBe(200)
  await serving.close()
})

test('vine --socket tcp://… asks with the certificates of DOCKER_CERT_PATH', async () => {
  const { server, client } = certificates()
  const port = await start(server)
  const env = { DOCKER_CERT_PATH: client.path }
  const listed = await vine(['--socket', `tcp://127.0.0.1:${port}`, 'node', 'ls', '--format', '{{.Hostname}}'], { env })
  expect(listed).toEqual({ code: 0, err: '', out: 'n1\nn2\nn3\n' })
  expect((await vine(['node', 'ls', '-q'], { socket: `tcp://localhost:${port}`, env })).code).toBe(0)
})

test('vine says what is wrong with its certificates', async () => {
  const { server, client } = certificates()
  const socket = `tcp://127.0.0.1:${await start(server)}`
  const stranger = makeCertificates(root, 'other').client
  const distrusted = await vine(['node', 'ls'], { socket, env: { VINE_CERT_PATH: stranger.path } })
  expect([distrusted.code, distrusted.err]).toEqual([1, expect.stringContaining('do not trust each other')])
  const none = await vine(['node', 'ls'], { socket, env: { VINE_CERT_PATH: join(root, 'nowhere') } })
  expect([none.code, none.err]).toEqual([
    1,
    expect.stringMatching(/nowhere\/ca\.pem cannot be read: ENOENT.*\n.*VINE_CERT_PATH/),
  ])
  await running?.close()
  running = undefined
  const gone = await vine(['node', 'ls'], { socket, env: { VINE_CERT_PATH: client.path } })
  expect(gone.err).toBe(`No agent answers at ${socket}\nSee that its agent runs, with --api\n`)
})
