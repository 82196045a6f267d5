// Holds 5,000 idle connections to a task here and as many to a task on another node, says what an agent needs for one, and that each still
// works. node test/bench/mesh/idle.ts [--connections 5000]
import { connect, createServer, type Socket } from 'node:net'
import { parseArgs } from 'node:util'
import { until } from '../../until.ts'
import { benchAgents, publish } from './agents.ts'

const { values } = parseArgs({ options: { connections: { type: 'string', default: '5000' } } })
const count = Number(values.connections)

const agents = await benchAgents(2)
const task = createServer((socket) => {
  socket.on('error', () => {})
  socket.on('data', (chunk) => socket.write(chunk))
})
await new Promise<void>((resolve) => task.listen(18_290, '127.0.0.1', 4_096, resolve))
try {
  await publish(agents, [
    { port: 18_291, agent: 0, actual: 18_290, protocol: 'tcp' },
    { port: 18_292, agent: 1, actual: 18_290, protocol: 'tcp' },
  ])
  for (const [way, port] of [
    ['local', 18_291],
    ['remote', 18_292],
  ] as const) {
    const before = await agents[0]!.report()
    const clients: Socket[] = []
    let lost = 0
    for (let i = 0; i < count; i++) {
      const client = connect({ host: '127.0.0.1', port })
      client.on('error', () => lost++)
      clients.push(client)
      // In bursts that fit the backlog.
      if (i % 500 === 499) {
        await until(() => clients.every((c) => !c.connecting), { deadlineMs: 20_000, what: 'connections' })
      }
    }
    await until(async () => (await agents[0]!.report()).flows >= count, { deadlineMs: 20_000, what: `${count} flows` })
    const held = await agents[0]!.report()
    let answered = 0
    for (const client of clients) {
      client.once('data', () => answered++)
      client.write('x')
    }
    await until(() => answered + lost >= count, { deadlineMs: 20_000, what: 'every answer' })
    const kilobytes = Math.round((held.rssBytes - before.rssBytes) / 1_024 / count)
    console.log(JSON.stringify({ way, connections: count, lost, answered, kilobytesEach: kilobytes }))
    for (const client of clients) client.destroy()
    await until(async () => (await agents[0]!.report()).flows === 0, { deadlineMs: 20_000, what: 'the flows to end' })
  }
} finally {
  for (const agent of agents) agent.stop()
  task.close()
}
