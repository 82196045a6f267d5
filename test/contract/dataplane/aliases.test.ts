// Loopback aliases, attachments and hosts files: how tasks of a node reach services and tasks by name.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Routes } from '../../../agent/core/routes/types.ts'
import { createUserspaceDataplane } from '../../../agent/dataplane/userspace/dataplane.ts'
import { createClock, createRandom } from '../../../agent/real.ts'
import { until } from '../../until.ts'
import { type Agent, request, seenBy, type TestTask, tcpTask, type World, webPort, world } from './cluster.ts'

let cluster: World
let a: Agent
let b: Agent
let tasks: TestTask[]

beforeEach(async () => {
  cluster = await world(2)
  ;[a, b] = cluster.agents as [Agent, Agent]
  tasks = [
    await tcpTask(a, 't1', (socket) => void socket.end('t1')),
    await tcpTask(b, 't2', (socket) => void socket.end('t2')),
  ]
})

afterEach(async () => {
  for (const task of tasks) await task.close()
  await cluster.close()
})

const service = { kind: 'service', network: 'n1', id: 'web' } as const
const second = { kind: 'task', network: 'n1', id: 't2' } as const

function routes(agent: Agent): Routes {
  const backends = seenBy(
    agent,
    tasks.map((t) => t.backend),
  )
  const options = { affinity: 'none', proxyProtocol: false } as const
  const ports = [{ protocol: 'tcp', target: 80 }] as const
  return {
    revision: 1,
    published: [],
    services: [{ network: 'n1', service: 'web', name: 'web', vip: '10.0.1.2', ports, options, backends }],
    tasks: backends.map((backend) => ({
      network: 'n1',
      task: backend.task,
      service: 'web',
      address: '10.0.1.70',
      backend,
    })),
  }
}

function ask(host: string, port = 80): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port })
    socket.once('data', (chunk) => resolve(chunk.toString()))
    socket.once('error', reject)
  })
}

test('a service and each of its tasks answer at an address of their own, on the target port', async () => {
  await a.plane.apply(routes(a))
  const alias = a.plane.addressOf(service)!
  expect(alias).toMatch(/^127\.\d+\.\d+\.\d+$/)
  const seen = new Set<string>()
  await until(async () => seen.add(await ask(alias)).size === 2, { deadlineMs: 3_000, what: 'both tasks' })
  const own = a.plane.addressOf(second)!
  expect(own).not.toBe(alias)
  for (let i = 0; i < 5; i++) expect(await ask(own)).toBe('t2')
})

test('an alias says what it stands for, and two agents of one machine never share one', async () => {
  await a.plane.apply(routes(a))
  await b.plane.apply(routes(b))
  const alias = a.plane.addressOf(service)!
  expect(a.plane.targetOf(alias)).toEqual(service)
  expect(b.plane.targetOf(alias)).toBe(undefined)
  expect(b.plane.addressOf(service)!.split('.')[1]).not.toBe(alias.split('.')[1])
  expect(a.plane.targetOf(`${alias.split('.').slice(0, 3).join('.')}.0`)).toBe('unknown')
})

test('the alias of what is gone refuses, rests, and comes back as it was', async () => {
  await a.plane.apply(routes(a))
  const alias = a.plane.addressOf(service)!
  await ask(alias)
  await a.plane.apply({ revision: 2, published: [], services: [], tasks: [] })
  expect(a.plane.addressOf(service)).toBe(undefined)
  expect(a.plane.targetOf(alias)).toBe('unknown')
  await expect(ask(alias)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  await a.plane.apply(routes(a))
  expect(a.plane.addressOf(service)).toBe(alias)
  await until(() => ask(alias), { deadlineMs: 2_000, what: 'the alias to answer again' })
})

test('an agent that restarts gives the same aliases again', async () => {
  await a.plane.apply(routes(a))
  const alias = a.plane.addressOf(service)
  await a.plane.close()
  const again = await createUserspaceDataplane({
    self: a.id,
    mesh: a.mesh,
    addresses: [a.address],
    clock: createClock(),
    random: createRandom(),
    log: { debug() {}, info() {}, warn() {}, error() {} },
    resolverFor: () => undefined,
  })
  await again.apply(routes(a))
  expect(again.addressOf(service)).toBe(alias)
  await again.close()
})

test('a task is given a free port for each target; a fixed port that is taken is refused with its holder', async () => {
  const given = await a.plane.attach({
    ...request('t5', 'tcp'),
    targets: [
      { protocol: 'tcp', target: 80 },
      { protocol: 'udp', target: 80 },
      { protocol: 'tcp', target: 443 },
    ],
  })
  const [http, quic, https] = given.ports.map((p) => p.actual)
  expect(http).toBe(quic)
  expect(https).not.toBe(http)
  for (const port of [http!, https!]) expect(port).toBeGreaterThanOrEqual(20_000)

  await expect(a.plane.attach(request('t6', 'tcp', 80, http))).rejects.toMatchObject({
    code: 'port-taken',
    message: `Port ${http}/tcp is used by web.1 on this node`,
  })
  const other = await new Promise<ReturnType<typeof createServer>>((resolve) => {
    const server = createServer().listen(webPort + 2, a.address, () => resolve(server))
  })
  await expect(a.plane.attach(request('t7', 'tcp', 80, webPort + 2))).rejects.toMatchObject({ code: 'port-taken' })
  await new Promise((resolve) => other.close(resolve))
  expect((await a.plane.attach(request('t7', 'tcp', 80, webPort + 2))).ports[0]!.actual).toBe(webPort + 2)
})

test('an adopted task keeps its ports, and flows from other agents reach it', async () => {
  const { backend } = tasks[0]!
  await a.plane.detach('t1')
  await b.plane.apply({ ...routes(b), services: [] })
  const address = b.plane.addressOf({ kind: 'task', network: 'n1', id: 't1' })!
  await expect(ask(address)).rejects.toMatchObject({ code: 'ECONNRESET' })
  await a.plane.adopt(request('t1', 'tcp'), {
    host: a.address,
    ports: backend.ports,
    resolver: undefined,
    hostsFile: undefined,
  })
  expect(await ask(address)).toBe('t1')
})

test('a task finds the names of its networks in its hosts file, and the file follows them', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'gv-hosts-'))
  await a.plane.close()
  let names = [
    { name: 'web', address: '127.20.1.1' },
    { name: 'tasks.web', address: '127.20.1.2' },
  ]
  const plane = await createUserspaceDataplane({
    self: a.id,
    mesh: a.mesh,
    addresses: [a.address],
    clock: createClock(),
    random: createRandom(),
    log: { debug() {}, info() {}, warn() {}, error() {} },
    resolverFor: () => '127.0.0.1:10053',
    hosts: { dir, namesFor: () => names },
  })
  const attachment = await plane.attach(request('t8', 'tcp'))
  expect(attachment.resolver).toBe('127.0.0.1:10053')
  const read = () => readFileSync(attachment.hostsFile!, 'utf8')
  expect(read()).toMatch(/^127\.20\.1\.1 web\n127\.20\.1\.2 tasks\.web\n(.*\n)*127\.0\.0\.1 .*localhost/)
  names = names.slice(0, 1)
  plane.namesChanged()
  expect(read()).toMatch(/^127\.20\.1\.1 web\n(?!127\.20)/)
  await plane.detach('t8')
  expect(read).toThrow('ENOENT')
  await plane.close()
  rmSync(dir, { recursive: true })
})
