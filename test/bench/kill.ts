/** A node killed, 5 nodes, 20 kills: SIGKILL to agent and tasks at once, observed by DNS, API, flow log and clients of the survivors. */
import { spawn } from 'node:child_process'
import { connect } from 'node:net'
import { until } from '../until.ts'
import { atMost, type Figure, quantile, told } from './figure.ts'
import { loseNodes, outMs, slowest } from './loss.ts'
import { requestsRow } from './requests.ts'
import { program } from './web.ts'

export const kill: Figure = {
  name: 'kill',
  title: 'A node killed with its tasks, 5 nodes, 20 kills (slowest survivor of each)',
  tools: [],
  async measure(say) {
    const starts = await programStarts(10)
    const startMs = quantile(starts, 0.95)
    say(`the program itself starts in p95 ${told(startMs)} ms`)
    const losses = await loseNodes({ how: 'kill', rounds: 20, say })
    const { rounds } = losses
    return {
      raw: { starts, ...losses },
      rows: [
        atMost({ what: 'out of DNS and picks', values: rounds.map(outMs), unit: 'ms', most: { 0.95: 500 } }),
        {
          ...atMost({
            what: 'replacement running',
            values: rounds.map((round) => slowest(round, 'replacedMs')),
            unit: 'ms',
            most: { 0.95: 1_500 + startMs },
          }),
          wanted: `p95 <= 1,500 ms + the program's start (${told(startMs)})`,
        },
        requestsRow(
          losses.requests,
          rounds.flatMap(({ failures }) => failures),
        ),
      ],
    }
  },
}

/** From spawn to an accepted connection, without any agent: what the replacement cannot be faster than. */
async function programStarts(count: number): Promise<readonly number[]> {
  const took: number[] = []
  for (let i = 0; i < count; i++) {
    const port = 18_500 + i
    const startedMs = performance.now()
    const child = spawn('node', ['-e', program], {
      env: { PATH: process.env.PATH, PORT: String(port), GRAPEVINE_ADDRESS: '127.0.0.1' },
      stdio: 'ignore',
    })
    await until(() => accepts(port), { deadlineMs: 10_000, everyMs: 2, what: 'the program to accept' })
    took.push(performance.now() - startedMs)
    child.kill('SIGKILL')
  }
  return took
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
