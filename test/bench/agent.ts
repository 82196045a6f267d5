/** The agent itself: how soon it answers after its start, and how long `vine service ls` takes, both by the wall clock of who types it. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from '../until.ts'
import { atMost, type Figure } from './figure.ts'
import { openSwarm, plainEnv, runVine, vine } from './swarm.ts'

const rounds = 15

export const agent: Figure = {
  name: 'agent',
  title: 'An agent founds a cluster, and lists its services, 15 times each',
  tools: [],
  async measure(say) {
    const ready: number[] = []
    for (let i = 0; i < rounds; i++) ready.push(await readyAfter())
    say('started')
    const swarm = await openSwarm({ nodes: 3 })
    const listed: number[] = []
    try {
      for (const name of ['a', 'b', 'c'])
        await swarm.vine('service', 'create', '--detach', '--name', name, '--replicas', '1', 'sleep', '1000')
      for (let i = 0; i < rounds; i++) {
        const beganMs = performance.now()
        await runVine(swarm.first.socket, ['service', 'ls'])
        listed.push(performance.now() - beganMs)
      }
    } finally {
      await swarm.close()
    }
    return {
      raw: { ready, listed },
      rows: [
        atMost({ what: 'agent ready after start', values: ready, unit: 'ms', most: { 0.95: 1_500 } }),
        atMost({ what: 'vine service ls', values: listed, unit: 'ms', most: { 0.95: 250 } }),
      ],
    }
  },
}

/** From spawn to an API that answers. */
async function readyAfter(): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), 'vine-bench-'))
  const socket = join(dir, 'vine.sock')
  const host = '127.29.0.1'
  const beganMs = performance.now()
  const child = spawn(
    vine,
    ['agent', '--data-dir', join(dir, 'data'), '--socket', socket, '--listen', `/ip4/${host}/tcp/7766`].concat([
      ...['--advertise', host, '--address', host, '--dns-port', '10053', '--preset', 'local', '--name', 'alone'],
    ]),
    { env: plainEnv(), stdio: 'ignore' },
  )
  try {
    await until(() => answers(socket), { deadlineMs: 20_000, everyMs: 2, what: 'the API to answer' })
    return performance.now() - beganMs
  } finally {
    child.kill('SIGKILL')
    await new Promise((resolve) => (child.exitCode === null ? child.once('exit', resolve) : resolve(undefined)))
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** Whether the node lists itself: a raw request, so that the observer costs little. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    socket.once('error', () => resolve(false))
    socket.setEncoding('utf8').once('data', (text: string) => {
      socket.destroy()
      resolve(text.startsWith('HTTP/1.1 200'))
    })
    socket.once('connect', () => socket.write('GET /nodes HTTP/1.1\r\nHost: vine\r\nConnection: close\r\n\r\n'))
  })
}
