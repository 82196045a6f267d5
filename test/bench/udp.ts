/**
 * UDP through the mesh: 20,000 datagrams/s of 200 bytes to a task here, and how long a flow is silent when its task is killed.
 *
 * The sender is a process of its own; the task counts what it gets, and tells on request.
 */
import { fork } from 'node:child_process'
import { createSocket, type Socket } from 'node:dgram'
import { until } from '../until.ts'
import { atMost, type Figure, pause, told } from './figure.ts'
import { type Machine, openSwarm, type Swarm } from './swarm.ts'

const rate = 20_000
const seconds = 5
const rounds = 3
const moves = 10
const ports = { here: 18_191, there: 18_192, echo: 18_193 } as const

/** Counts; answers to `?` with the count, to anything else of one byte with its own name. Then waits for the next. */
const task = `const e = process.env, s = require('dgram').createSocket({ type: 'udp4', recvBufferSize: 4194304 })
let n = 0
s.on('message', (m, r) => {
  if (m.length > 1) n++
  else s.send(m[0] === 63 ? String(n) : e.GRAPEVINE_TASK, r.port, r.address)
})
s.bind(+e.PORT, e.GRAPEVINE_ADDRESS)`

export const udp: Figure = {
  name: 'udp',
  title: 'UDP mesh: 20,000 datagrams/s of 200 B for 5 s, 3 times; a flow whose task is killed, 10 times',
  tools: [],
  async measure(say) {
    const swarm = await openSwarm({ nodes: 2 })
    try {
      await serve(swarm)
      const [near] = swarm.machines as [Machine]
      const lost = { here: [] as number[], there: [] as number[] }
      for (let i = 0; i < rounds; i++) {
        for (const way of ['here', 'there'] as const) {
          lost[way].push(await flood(near.address, ports[way]))
          say(`to a task ${way}: ${lost[way].at(-1)} of ${rate * seconds} lost`)
        }
      }
      const silent: number[] = []
      for (let i = 0; i < moves; i++) {
        silent.push(await killUnder(swarm, near))
        say(`a flow moved after ${told(silent.at(-1)!)} ms`)
      }
      return {
        raw: { lost, silent },
        rows: [
          {
            what: 'loss at 20,000 datagrams/s, task here',
            wanted: 'none',
            measured: `${lost.here.join(', ')} of ${rate * seconds} (task on another node: ${lost.there.join(', ')})`,
            ok: lost.here.every((count) => count === 0),
          },
          atMost({ what: 'a flow moves when its task dies', values: silent, unit: 'ms', most: { 0.95: 1_000 } }),
        ],
      }
    } finally {
      await swarm.close()
    }
  },
}

async function serve({ vine, machines }: Swarm): Promise<void> {
  for (const [way, machine] of [
    ['here', machines[0]!],
    ['there', machines[1]!],
  ] as const) {
    const where = ['--constraint', `node.hostname==${machine.name}`]
    await vine('service', 'create', '--name', way, ...where, '--publish', `${ports[way]}:53/udp`, 'node', '-e', task)
  }
  const several = ['--replicas', '2', '--restart-delay', '3s']
  await vine('service', 'create', '--name', 'echo', ...several, '--publish', `${ports.echo}:53/udp`, 'node', '-e', task)
}

/** Sends at the rate from another process; returns how many did not arrive. */
async function flood(host: string, port: number): Promise<number> {
  const before = await countAt(host, port)
  const sender = fork(import.meta.filename, [host, String(port)])
  await new Promise((resolve) => sender.once('exit', resolve))
  let last = -1
  const heard = await until(
    async () => {
      const now = await countAt(host, port)
      const settled = now === last
      last = now
      return settled ? { now } : undefined
    },
    { deadlineMs: 10_000, everyMs: 300, what: 'the last datagram' },
  )
  return rate * seconds - (heard.now - before)
}

async function countAt(host: string, port: number): Promise<number> {
  return until(async () => Number(await askOnce(host, port)) + 1, { deadlineMs: 10_000, what: 'the count' }).then(
    (plusOne) => plusOne - 1,
  )
}

/** A socket of its own each time: nothing of the flood lies before the question. */
function askOnce(host: string, port: number): Promise<string> {
  const socket = createSocket('udp4')
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => end(() => reject(new Error('no answer'))), 1_000)
    const end = (then: () => void) => {
      clearTimeout(timer)
      socket.close()
      then()
    }
    socket.on('error', (error) => end(() => reject(error)))
    socket.on('message', (message) => end(() => resolve(message.toString())))
    socket.send('?', port, host)
  })
}

interface ApiTask {
  readonly ID: string
  readonly DesiredState: string
  readonly Status: { readonly State: string; readonly ContainerStatus?: { readonly PID?: number } }
}

/** Kills the task that a flow is at; returns the ms until the same socket hears from another one. */
async function killUnder({ first }: Swarm, near: Machine): Promise<number> {
  const running = async () => {
    const filters = JSON.stringify({ service: ['echo'] })
    const tasks = await first.client.get<readonly ApiTask[]>('/tasks', { filters })
    return tasks.filter((one) => one.DesiredState === 'running' && one.Status.State === 'running')
  }
  await until(async () => (await running()).length === 2, { deadlineMs: 30_000, what: 'both tasks to run' })
  await pause(500)
  const socket = createSocket('udp4')
  let [from, at] = ['', 0]
  socket.on('message', (message) => {
    ;[from, at] = [message.toString(), performance.now()]
  })
  const timer = setInterval(() => socket.send('!', ports.echo, near.address), 10)
  try {
    await until(() => from !== '', { deadlineMs: 10_000, what: 'an answer' })
    const before = from
    const pid = (await running()).find(({ ID }) => ID === before)?.Status.ContainerStatus?.PID
    if (pid === undefined) throw new Error(`no task ${before} is listed`)
    const killedMs = performance.now()
    process.kill(pid, 'SIGKILL')
    await until(() => from !== before, { deadlineMs: 10_000, everyMs: 2, what: 'an answer of the other task' })
    return at - killedMs
  } finally {
    clearInterval(timer)
    await closeSocket(socket)
  }
}

function closeSocket(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.close(() => resolve()))
}

/** Sends evenly: in each turn what is due by now. */
function send(host: string, port: number): void {
  const socket = createSocket('udp4')
  const payload = Buffer.alloc(200, 'u')
  const total = rate * seconds
  const startedMs = performance.now()
  let sent = 0
  socket.connect(port, host, turn)
  function turn(): void {
    const due = Math.min(total, Math.floor(((performance.now() - startedMs) / 1_000) * rate))
    while (sent < due) {
      socket.send(payload)
      sent++
    }
    // Twenty a ms; a sender that spins would take a core from those it measures.
    if (sent < total) setTimeout(turn, 1)
    else socket.close()
  }
}

if (import.meta.main) send(process.argv[2] ?? '', Number(process.argv[3]))
