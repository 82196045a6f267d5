// TCP through the userspace data plane, with real sockets: what a client of a published port may rely on.
import { connect, createServer, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest'
import { until } from '../../until.ts'
import {
  type Agent,
  backendOf,
  host,
  published,
  request,
  type TestTask,
  tcpTask,
  type World,
  webPort,
  world,
} from './cluster.ts'

let cluster: World
let a: Agent
let b: Agent
const tasks: TestTask[] = []

beforeEach(async () => {
  cluster = await world(2)
  ;[a, b] = cluster.agents as [Agent, Agent]
})

afterEach(async () => {
  for (const task of tasks.splice(0)) await task.close()
  await cluster.close()
})

async function task(agent: Agent, id: string, handler: (socket: Socket) => void): Promise<TestTask> {
  const made = await tcpTask(agent, id, handler)
  tasks.push(made)
  return made
}

/** Answers its id and closes, having heard nothing. */
const greeter = (id: string) => (socket: Socket) => void socket.end(id)

function ask(agent: Agent, port = webPort, send?: Buffer | string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: agent.address, port, allowHalfOpen: true })
    const parts: Buffer[] = []
    socket.on('data', (chunk) => parts.push(chunk))
    socket.on('end', () => resolve(Buffer.concat(parts)))
    socket.on('error', reject)
    socket.end(send ?? '')
  })
}

test.for([0, 1])('a published port reaches a task, whichever node runs it (agent %i)', async (at) => {
  const web = await task(cluster.agents[at]!, 't1', greeter('t1'))
  expect(await a.plane.apply(published(a, [web.backend]))).toEqual([])
  expect((await ask(a)).toString()).toBe('t1')
})

test.for([0, 1])(
  'bytes come through whole in both directions, and each direction ends by itself (agent %i)',
  async (at) => {
    // Answers only after the client has ended its direction: without half-close this never ends.
    const web = await task(cluster.agents[at]!, 't1', (socket) => {
      const parts: Buffer[] = []
      socket.on('data', (chunk) => parts.push(chunk))
      socket.on('end', () => socket.end(Buffer.concat(parts)))
    })
    await a.plane.apply(published(a, [web.backend]))
    const bytes = Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => (i * 7) % 251))
    expect((await ask(a, webPort, bytes)).equals(bytes)).toBe(true)
  },
)

test.for([0, 1])('a client that reads by fits and starts gets every byte in order (agent %i)', async (at) => {
  const bytes = Buffer.from(Array.from({ length: 6_000_000 }, (_, i) => (i * 31 + (i >> 12)) % 251))
  const web = await task(cluster.agents[at]!, 't1', (socket) => {
    // Pieces of all sizes: some fit in a small read, some fill a large one.
    for (let at = 0, size = 1; at < bytes.length; at += size, size = (size * 7 + 13) % 200_000) {
      socket.write(bytes.subarray(at, at + size))
    }
    socket.end()
  })
  await a.plane.apply(published(a, [web.backend]))
  const client = connect({ host: a.address, port: webPort })
  const parts: Buffer[] = []
  let ended = false
  client.on('end', () => {
    ended = true
  })
  client.on('data', (chunk) => {
    parts.push(Buffer.from(chunk))
    if (parts.length % 20 === 0) client.pause()
  })
  await until(
    () => {
      client.resume()
      return ended
    },
    { deadlineMs: 15_000, everyMs: 5, what: 'the last byte' },
  )
  expect(Buffer.concat(parts).equals(bytes)).toBe(true)
})

test.for([0, 1])('a task that does not read stops the client, and memory stays bounded (agent %i)', async (at) => {
  let stuck: Socket | undefined
  const web = await task(cluster.agents[at]!, 't1', (socket) => {
    socket.pause()
    stuck = socket
  })
  await a.plane.apply(published(a, [web.backend]))
  const client = connect({ host: a.address, port: webPort })
  let taken = 0
  const chunk = Buffer.alloc(256 * 1024)
  const pump = () => {
    while (taken < 200_000_000 && client.write(chunk)) taken += chunk.length
    taken += chunk.length
  }
  client.on('drain', pump)
  client.once('connect', pump)
  await until(() => stuck !== undefined, { deadlineMs: 5_000, what: 'the task to be reached' })
  let last = -1
  await until(
    () => {
      const still = a.plane.flows()[0]?.bytesIn === last && last > 0
      last = a.plane.flows()[0]?.bytesIn ?? -1
      return still
    },
    { deadlineMs: 10_000, everyMs: 300, what: 'the client to be stopped' },
  )
  expect(a.plane.flows()[0]!.bytesIn).toBeLessThan(40_000_000)
  stuck!.resume()
  await until(() => a.plane.flows()[0]!.bytesIn > last, { deadlineMs: 5_000, what: 'the client to go on' })
  client.destroy()
})

test.for([0, 1])('a reset by the task reaches the client as a reset (agent %i)', async (at) => {
  const web = await task(cluster.agents[at]!, 't1', (socket) => socket.once('data', () => socket.resetAndDestroy()))
  await a.plane.apply(published(a, [web.backend]))
  await expect(ask(a, webPort, 'x')).rejects.toMatchObject({ code: 'ECONNRESET' })
  await until(() => a.plane.flowLog().length === 1, { deadlineMs: 2_000, what: 'the flow to be logged' })
  expect(a.plane.flowLog()[0]!.cause).not.toBe('finished')
  expect(a.plane.flows()).toEqual([])
})

test('an endpoint that refuses is passed over, reported and avoided; the client notices nothing', async () => {
  const web = await task(a, 't1', greeter('t1'))
  const gone = backendOf(a, 't0', 'tcp', 1)
  const seen: string[] = []
  a.plane.onTrouble((id, why) => seen.push(`${id} ${why}`))
  await a.plane.apply(published(a, [gone, web.backend]))
  for (let i = 0; i < 20; i++) expect((await ask(a)).toString()).toBe('t1')
  expect(seen).toEqual(['t0 refused'])
  expect(a.plane.counters().services.get('web')).toMatchObject({ connections: 20, failures: 1, retries: 1 })
})

test('a node that does not answer costs a client 300 ms, not the request', async () => {
  const web = await task(a, 't1', greeter('t1'))
  // b takes the flow and never says that the task accepted.
  b.mesh.onFlow(() => ({
    onAccepted() {},
    onData() {},
    onEnd() {},
    onReset() {},
    onWritable() {},
    onClosed() {},
    onDatagram() {},
  }))
  const seen: string[] = []
  a.plane.onTrouble((id, why) => seen.push(`${id} ${why}`))
  await a.plane.apply(published(a, [backendOf(b, 't0', 'tcp', 1), web.backend]))
  for (let i = 0; i < 8; i++) expect((await ask(a)).toString()).toBe('t1')
  expect(seen).toEqual(['t0 timeout'])
})

test('a service without endpoints holds clients for a moment, and serves them when one comes', async () => {
  await a.plane.apply(published(a, []))
  const answer = ask(a)
  const web = await task(b, 't1', greeter('t1'))
  await a.plane.apply(published(a, [web.backend]))
  expect((await answer).toString()).toBe('t1')
})

test('a service that stays without endpoints resets its clients within 3 s', async () => {
  await a.plane.apply(published(a, []))
  const startedMs = performance.now()
  await expect(ask(a)).rejects.toMatchObject({ code: 'ECONNRESET' })
  expect(performance.now() - startedMs).toBeLessThan(3_500)
  expect(a.plane.counters().refused.get('web')).toBe(1)
})

test('flows through a lost node end at once and the log says why; new ones go elsewhere', async () => {
  const remote = await task(b, 't1', (socket) => socket.write('t1'))
  const local = await task(a, 't2', greeter('t2'))
  await a.plane.apply(published(a, [remote.backend]))
  const client = connect({ host: a.address, port: webPort })
  const closed = new Promise<string | undefined>((resolve) => {
    client.once('error', (error: NodeJS.ErrnoException) => resolve(error.code))
    client.once('end', () => resolve(undefined))
  })
  await new Promise((resolve) => client.once('data', resolve))
  await a.plane.apply(published(a, [local.backend]))
  a.mesh.nodeLost(b.id)
  expect(await closed).toBe('ECONNRESET')
  expect(a.plane.flowLog().at(-1)).toMatchObject({ node: b.id, task: 't1', cause: 'node-lost' })
  expect((await ask(a)).toString()).toBe('t2')
})

test('a removed node gets no flow, in either direction', async () => {
  const web = await task(b, 't1', greeter('t1'))
  const other = await task(a, 't2', greeter('t2'))
  await a.plane.apply(published(a, [web.backend]))
  await b.plane.apply(published(b, [other.backend]))
  expect((await ask(a)).toString()).toBe('t1')
  cluster.members.delete(a.id)
  b.mesh.closeNode(a.id)
  await expect(ask(a)).rejects.toMatchObject({ code: 'ECONNRESET' })
  await expect(ask(b)).rejects.toMatchObject({ code: 'ECONNRESET' })
})

test('a port that is no longer published closes, and its open flows go on', async () => {
  const web = await task(b, 't1', (socket) => socket.on('data', (chunk) => socket.write(chunk)))
  await a.plane.apply(published(a, [web.backend]))
  const client = connect({ host: a.address, port: webPort })
  const echo = (text: string) =>
    new Promise<string>((resolve) => {
      client.once('data', (chunk) => resolve(chunk.toString()))
      client.write(text)
    })
  expect(await echo('one')).toBe('one')
  await a.plane.apply({ ...published(a, []), published: [] })
  await expect(ask(a)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  expect(await echo('two')).toBe('two')
  client.destroy()
})

test('a port that another program holds is told by its program, hinders no other, and is taken when it is free', async () => {
  const web = await task(a, 't1', greeter('t1'))
  const squatter = await new Promise<ReturnType<typeof createServer>>((resolve) => {
    const server = createServer((socket) => socket.end('squatter')).listen(webPort, a.address, () => resolve(server))
  })
  onTestFinished(() => void squatter.close())
  const both = published(a, [web.backend])
  const routes = { ...both, published: [...both.published, { ...both.published[0]!, port: webPort + 1 }] }
  const problems = await a.plane.apply(routes)
  expect(problems).toHaveLength(1)
  expect(problems[0]).toMatchObject({ port: webPort, service: 'web' })
  expect(problems[0]!.sentence).toMatch(
    new RegExp(
      `^port ${webPort}/tcp is bound by another program \\(.+, pid ${process.pid}\\) on ${a.address.replaceAll('.', '\\.')}$`,
    ),
  )
  expect((await ask(a, webPort + 1)).toString()).toBe('t1')
  await new Promise((resolve) => squatter.close(resolve))
  await until(async () => (await ask(a)).toString() === 't1', { deadlineMs: 5_000, what: 'the port to be taken' })
})

test('a task that serves the published port itself has it, and the agent takes it back afterwards', async () => {
  const web = await task(b, 't1', greeter('t1'))
  await a.plane.apply(published(a, [web.backend]))
  await a.plane.attach(request('t9', 'tcp', 80, webPort))
  const own = await new Promise<ReturnType<typeof createServer>>((resolve) => {
    const server = createServer(greeter('own')).listen(webPort, a.address, () => resolve(server))
  })
  expect(await a.plane.apply(published(a, [web.backend]))).toEqual([])
  expect((await ask(a)).toString()).toBe('own')
  await new Promise((resolve) => own.close(resolve))
  await a.plane.detach('t9')
  expect((await ask(a)).toString()).toBe('t1')
})

test.for([0, 1])('with PROXY protocol the task learns the client (agent %i)', async (at) => {
  let seen = Buffer.alloc(0)
  const web = await task(cluster.agents[at]!, 't1', (socket) => {
    socket.on('data', (chunk) => {
      seen = Buffer.concat([seen, chunk])
      if (seen.includes('hello')) socket.end('bye')
    })
  })
  await a.plane.apply(published(a, [web.backend], { proxyProtocol: true }))
  const client = connect({ host: a.address, port: webPort, localAddress: host(77) })
  client.write('hello')
  await new Promise((resolve) => client.once('end', resolve).resume())
  expect(seen.subarray(0, 12).toString('hex')).toBe('0d0a0d0a000d0a515549540a')
  expect(seen.subarray(12, 16).toString('hex')).toBe('2111000c')
  expect([...seen.subarray(16, 24)]).toEqual([host(77), a.address].flatMap((text) => text.split('.').map(Number)))
  expect(seen.readUInt16BE(26)).toBe(webPort)
  expect(seen.subarray(28).toString()).toBe('hello')
})

test('with client-ip affinity a client stays with its task, through every node', async () => {
  const backends = []
  for (const id of ['t1', 't2', 't3']) {
    backends.push((await task(id === 't2' ? b : a, id, greeter(id))).backend)
  }
  await a.plane.apply(published(a, backends, { affinity: 'client-ip' }))
  await b.plane.apply(published(b, backends, { affinity: 'client-ip' }))
  const from = (agent: Agent, localAddress: string) =>
    new Promise<string>((resolve, reject) => {
      const socket = connect({ host: agent.address, port: webPort, localAddress })
      socket.once('data', (chunk) => resolve(chunk.toString()))
      socket.once('error', reject)
    })
  const reached = new Set<string>()
  for (let client = 10; client < 30; client++) {
    const first = await from(a, host(client))
    reached.add(first)
    expect(await from(a, host(client))).toBe(first)
    expect(await from(b, host(client))).toBe(first)
  }
  expect([...reached].sort()).toEqual(['t1', 't2', 't3'])
})

test('200 connections spread evenly over ready endpoints', async () => {
  const count = new Map<string, number>()
  const backends = []
  for (const id of ['t1', 't2', 't3', 't4']) {
    const counting = (socket: Socket) => {
      count.set(id, (count.get(id) ?? 0) + 1)
      socket.write(id)
    }
    backends.push((await task(id < 't3' ? a : b, id, counting)).backend)
  }
  await a.plane.apply(published(a, backends))
  const clients = Array.from({ length: 200 }, () => connect({ host: a.address, port: webPort }))
  await until(() => [...count.values()].reduce((x, y) => x + y, 0) === 200, { deadlineMs: 15_000, what: '200 flows' })
  for (const [, n] of count) expect(n).toBeGreaterThan(38)
  for (const client of clients) client.resetAndDestroy()
  await until(() => a.plane.flows().length === 0 && b.plane.flows().length === 0, {
    deadlineMs: 5_000,
    what: 'every flow to be gone',
  })
})
