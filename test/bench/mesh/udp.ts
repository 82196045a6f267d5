// UDP forwarding: 20,000 datagrams/s of 200 B through a published port to a task, and how many arrive.
// node test/bench/mesh/udp.ts [--seconds 3] [--rate 20000]. The task counts in this process, the sender is a process of its own.
import { fork } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { parseArgs } from 'node:util'
import { until } from '../../until.ts'
import { benchAgents, publish } from './agents.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    rate: { type: 'string', default: '20000' },
    sendTo: { type: 'string' },
  },
})
const rate = Number(values.rate)
const total = rate * Number(values.seconds)

if (values.sendTo === undefined) await measure()
else send(Number(values.sendTo))

async function measure(): Promise<void> {
  const agents = await benchAgents(2)
  const task = createSocket('udp4')
  let heard = 0
  task.on('message', () => {
    heard++
  })
  await new Promise<void>((resolve) => task.bind(18_190, '127.0.0.1', resolve))
  task.setRecvBufferSize(4 * 1024 * 1024)
  try {
    await publish(agents, [
      { port: 18_191, agent: 0, actual: 18_190, protocol: 'udp' },
      { port: 18_192, agent: 1, actual: 18_190, protocol: 'udp' },
    ])
    for (const [way, port] of [
      ['local', 18_191],
      ['remote', 18_192],
    ] as const) {
      heard = 0
      const sender = fork(import.meta.filename, [
        '--sendTo',
        String(port),
        '--seconds',
        values.seconds,
        '--rate',
        values.rate,
      ])
      await new Promise((resolve) => sender.once('exit', resolve))
      let last = -1
      await until(
        () => {
          const settled = heard === last || heard === total
          last = heard
          return settled
        },
        { deadlineMs: 5_000, everyMs: 200, what: 'the last datagram' },
      )
      const { dropped } = await agents[0]!.report()
      console.log(JSON.stringify({ way, rate, sent: total, lost: total - heard, droppedByAgent: dropped }))
    }
  } finally {
    for (const agent of agents) agent.stop()
    task.close()
  }
}

/** Sends evenly: in each turn what is due by now. */
function send(port: number): void {
  const socket = createSocket('udp4')
  const payload = Buffer.alloc(200, 'u')
  const startedMs = performance.now()
  let sent = 0
  socket.connect(port, '127.0.0.1', turn)
  function turn(): void {
    const due = Math.min(total, Math.floor(((performance.now() - startedMs) / 1_000) * rate))
    while (sent < due) {
      socket.send(payload)
      sent++
    }
    if (sent < total) setImmediate(turn)
    else socket.close()
  }
}
