// UDP through the userspace data plane, with real sockets.
import { createSocket, type Socket } from 'node:dgram'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { until } from '../../until.ts'
import { type Agent, backendOf, published, type TestTask, udpTask, type World, webPort, world } from './cluster.ts'

let cluster: World
let a: Agent
let b: Agent
const tasks: TestTask[] = []
const clients: Socket[] = []

async function begin(options: { readonly udpIdleMs?: number } = {}): Promise<void> {
  cluster = await world(2, options)
  ;[a, b] = cluster.agents as [Agent, Agent]
}

beforeEach(() => begin())

afterEach(async () => {
  for (const client of clients.splice(0)) client.close()
  for (const task of tasks.splice(0)) await task.close()
  await cluster.close()
})

async function task(agent: Agent, id: string): Promise<TestTask> {
  const made = await udpTask(agent, id)
  tasks.push(made)
  return made
}

/** A client that keeps every answer. */
function client(agent: Agent): { readonly socket: Socket; readonly heard: string[]; say(text: string): void } {
  const socket = createSocket('udp4')
  const heard: string[] = []
  socket.on('message', (bytes) => heard.push(bytes.toString('latin1')))
  clients.push(socket)
  return { socket, heard, say: (text) => socket.send(text, webPort, agent.address) }
}

const udp = { protocol: 'udp' } as const
const soon = { deadlineMs: 10_000, what: 'the answer' }

test.for([0, 1])(
  'datagrams reach a task and its answers come back, whichever node runs it (agent %i)',
  async (host) => {
    const dns = await task(cluster.agents[host]!, 't1')
    await a.plane.apply(published(a, [dns.backend], udp))
    const asker = client(a)
    asker.say('one')
    asker.say('two')
    await until(() => asker.heard.length === 2, soon)
    expect(asker.heard.sort()).toEqual(['t1:one', 't1:two'])
    expect(a.plane.flows()).toMatchObject([{ protocol: 'udp', task: 't1', bytesIn: 6 }])
  },
)

test.for([0, 1])('the largest datagram comes through (agent %i)', async (host) => {
  const dns = await task(cluster.agents[host]!, 't')
  await a.plane.apply(published(a, [dns.backend], udp))
  const asker = client(a)
  const text = 'x'.repeat(65_000)
  // A busy kernel may drop a datagram: asked again until it is answered.
  await until(() => asker.heard.length > 0 || asker.say(text), { ...soon, everyMs: 500 })
  expect(asker.heard[0]!.length).toBe(65_002)
})

test.for([0, 1])('a flow moves as soon as its endpoint has gone (agent %i)', async (host) => {
  const first = await task(cluster.agents[host]!, 't1')
  const second = await task(a, 't2')
  await a.plane.apply(published(a, [first.backend], udp))
  const asker = client(a)
  asker.say('x')
  await until(() => asker.heard.includes('t1:x'), soon)
  await a.plane.apply(published(a, [second.backend], udp))
  asker.say('y')
  await until(() => asker.heard.includes('t2:y'), soon)
  expect(a.plane.flowLog()).toMatchObject([{ task: 't1', cause: 'endpoint went' }])
})

test.for([0, 1])('a flow moves within 1 s when its task has died and nobody has told yet (agent %i)', async (host) => {
  const first = await udpTask(cluster.agents[host]!, 't1')
  const second = await task(a, 't2')
  await a.plane.apply(published(a, [first.backend], udp))
  const asker = client(a)
  asker.say('x')
  await until(() => asker.heard.includes('t1:x'), soon)
  await a.plane.apply(published(a, [first.backend, second.backend], udp))
  await first.close()
  const diedMs = performance.now()
  await until(
    () => {
      asker.say('y')
      return asker.heard.includes('t2:y')
    },
    { deadlineMs: 3_000, what: 'an answer of the other task' },
  )
  expect(performance.now() - diedMs).toBeLessThan(1_000)
})

test('an endpoint that refuses is passed over before the first answer', async () => {
  const dns = await task(a, 't1')
  await a.plane.apply(published(a, [{ ...backendOf(b, 't0', 'udp', 1) }, dns.backend], udp))
  const askers = Array.from({ length: 8 }, () => client(a))
  for (const asker of askers) asker.say('x')
  await until(() => askers.every((asker) => asker.heard[0] === 't1:x'), soon)
})

test('a flow without datagrams ends after its idle time, at both agents', async () => {
  await cluster.close()
  await begin({ udpIdleMs: 100 })
  const dns = await task(b, 't1')
  await a.plane.apply(published(a, [dns.backend], udp))
  const asker = client(a)
  asker.say('x')
  await until(() => asker.heard.length === 1, soon)
  await until(() => a.plane.flows().length === 0 && b.plane.flows().length === 0, {
    deadlineMs: 4_000,
    what: 'the flow to end',
  })
  expect(a.plane.flowLog()[0]!.cause).toBe('finished')
  asker.say('y')
  await until(() => asker.heard.includes('t1:y'), soon)
})
