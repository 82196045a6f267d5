/**
 * Real agents for the bench: started by bin/vine as anyone would, each with an address, a directory and a socket, without anything between them.
 *
 * Owns every process and file that it makes, tasks included, and leaves none behind. Machines fit the observers of agent/demo.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Client, createClient } from '../../agent/cli/client.ts'
import { isAlive, processesOf, signal } from '../e2e/processes.ts'
import { root } from '../tidy/source.ts'
import { until } from '../until.ts'

export interface Machine {
  readonly name: string
  /** Where its published ports answer. */
  readonly address: string
  readonly client: Client
  readonly socket: string
  readonly dir: string
  readonly state: 'down' | 'starting' | 'up' | 'frozen'
  /** Monotonic ms when it was last killed or frozen. */
  readonly lostMs: number
  /** Of the agent. */
  readonly pid: number | undefined
  start(options?: { readonly through?: Machine; readonly token?: string }): Promise<void>
  /** SIGKILL to the agent and everything it runs, at one moment; returns that moment. */
  kill(): Moment
  /** SIGSTOP to the same. */
  freeze(): Moment
  thaw(): void
}

/** The same moment on the monotonic clock and as wall ms. */
export interface Moment {
  readonly atMs: number
  readonly wallMs: number
}

export interface Swarm {
  readonly machines: readonly Machine[]
  readonly first: Machine
  readonly dir: string
  /** Runs `vine` to its end against the first machine; returns stdout. */
  vine(...args: readonly string[]): Promise<string>
  close(): Promise<void>
}

export interface SwarmOptions {
  readonly nodes: number
  readonly preset?: 'local' | 'lan'
}

export const vine = join(root, 'bin', 'vine')
const controlPort = 7766
/** A dozen agents that start at once on two cores take their time. */
const startMs = 60_000
const lookMs = 10
/** Agents that start beside each other: more only wait for the same cores. */
const besides = 4

export async function openSwarm({ nodes, preset = 'local' }: SwarmOptions): Promise<Swarm> {
  const { net, claim } = await claimNet()
  const dir = mkdtempSync(join(tmpdir(), 'vine-bench-'))
  const machines = Array.from({ length: nodes }, (_, i) => createMachine({ dir, net, index: i + 1, preset }))
  const [first] = machines as [Machine, ...Machine[]]
  const swarm: Swarm = {
    machines,
    first,
    dir,
    vine: (...args) => runVine(first.socket, args),
    async close() {
      claim.close()
      await until(
        () => {
          const left = processesOf(dir)
          for (const pid of left) signal(pid, 'SIGKILL')
          return left.every((pid) => !isAlive(pid))
        },
        { deadlineMs: 10_000, what: 'all processes of the bench to end' },
      )
      rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
    },
  }
  try {
    await first.start()
    const { token } = await first.client.post<{ readonly token: string }>('/grapevine/token', {})
    for (let i = 1; i < machines.length; i += besides) {
      await Promise.all(machines.slice(i, i + besides).map((machine) => machine.start({ through: first, token })))
    }
    await until(async () => (await Promise.all(machines.map(readyCount))).every((count) => count === nodes), {
      deadlineMs: startMs,
      everyMs: 100,
      what: `${nodes} agents to see each other`,
    })
  } catch (error) {
    await swarm.close()
    throw error
  }
  return swarm
}

interface ApiNode {
  readonly ID: string
  readonly Description: { readonly Hostname: string }
  readonly Status: { readonly State: string }
}

export interface NodeState {
  readonly name: string
  readonly state: string
}

/** Every node by its id, as one machine lists it. */
export async function nodeStates({ client }: Machine): Promise<ReadonlyMap<string, NodeState>> {
  const nodes = await client.get<readonly ApiNode[]>('/nodes')
  return new Map(nodes.map((node) => [node.ID, { name: node.Description.Hostname, state: node.Status.State }]))
}

/** Node names to ids. */
export async function nodeIds(machine: Machine): Promise<ReadonlyMap<string, string>> {
  return new Map([...(await nodeStates(machine))].map(([id, { name }]) => [name, id]))
}

async function readyCount(machine: Machine): Promise<number> {
  return [...(await nodeStates(machine)).values()].filter(({ state }) => state === 'ready').length
}

interface Place {
  readonly dir: string
  readonly net: number
  readonly index: number
  readonly preset: string
}

/** All hosts are of 127.x.0.*: above lie the addresses that agents give to services (dataplane/userspace/aliases.ts). */
function createMachine({ dir: home, net, index, preset }: Place): Machine {
  const name = `n${index}`
  const [address, inner] = [`127.${net}.0.${index}`, `127.${net}.0.${100 + index}`]
  const dir = join(home, name)
  const socket = join(home, `${name}.sock`)
  const client = createClient(socket)
  const multiaddr = `/ip4/${inner}/tcp/${controlPort}`
  const flags = Object.entries({
    name,
    listen: multiaddr,
    advertise: inner,
    address,
    'data-dir': dir,
    socket,
    'dns-port': '10053',
    // The figures are those of user space, also where root could have the kernel forward.
    dataplane: 'userspace',
    preset,
    'log-level': 'warn',
  }).flatMap(([flag, value]) => [`--${flag}`, value])
  let child: ChildProcess | undefined
  let said = ''
  let state: Machine['state'] = 'down'
  let lostMs = Number.NEGATIVE_INFINITY
  const all = () => [...new Set([child?.pid, ...processesOf(dir)])].filter((pid) => pid !== undefined)
  const send = (name: NodeJS.Signals): Moment => {
    const pids = all()
    const moment = { atMs: performance.now(), wallMs: Date.now() }
    for (const pid of pids) signal(pid, name)
    return moment
  }
  return {
    name,
    address,
    client,
    socket,
    dir,
    get state() {
      return state
    },
    get lostMs() {
      return lostMs
    },
    get pid() {
      return state === 'down' ? undefined : child?.pid
    },
    async start({ through, token } = {}) {
      mkdirSync(dir, { recursive: true, mode: 0o755 })
      const join = through === undefined ? [] : ['--join', `/ip4/127.${net}.0.101/tcp/${controlPort}`]
      const started = spawn(vine, ['agent', ...flags, ...join], {
        // The secret goes by environment, never by argv.
        env: { ...plainEnv(), ...(token === undefined ? {} : { GRAPEVINE_TOKEN: token }) },
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      child = started
      state = 'starting'
      started.stderr?.setEncoding('utf8').on('data', (text: string) => {
        said = (said + text).slice(-4_000)
      })
      started.on('exit', () => {
        if (child === started) state = 'down'
      })
      await until(
        async () => {
          if (started.exitCode !== null) return 'ended'
          return (await client.get<readonly unknown[]>('/nodes')).length > 0
        },
        { deadlineMs: startMs, everyMs: lookMs, what: `${name} to answer; it said: ${said}` },
      )
      if (started.exitCode !== null) throw new Error(`${name} ended at its start; it said:\n${said}`)
      state = 'up'
    },
    kill() {
      const moment = send('SIGKILL')
      state = 'down'
      lostMs = moment.atMs
      return moment
    },
    freeze() {
      const moment = send('SIGSTOP')
      state = 'frozen'
      lostMs = moment.atMs
      return moment
    },
    thaw() {
      send('SIGCONT')
      state = 'up'
    },
  }
}

export function runVine(socket: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(vine, args, { env: { ...plainEnv(), VINE_SOCKET: socket }, stdio: ['ignore', 'pipe', 'pipe'] })
    let [out, err] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text
    })
    child.on('error', reject)
    child.on('close', (code) =>
      code === 0 ? resolve(out) : reject(new Error(`vine ${args.join(' ')} ended with ${code}: ${err}`)),
    )
  })
}

/** What a login has. */
export function plainEnv(): Record<string, string> {
  const { PATH = '/usr/bin:/bin', HOME = '/' } = process.env
  return { PATH: `${PATH}:/usr/sbin:/sbin`, HOME }
}

/** The second octet of this swarm's addresses; taken as long as the socket is open. */
async function claimNet(): Promise<{ readonly net: number; readonly claim: Server }> {
  for (let step = 0; step < 200; step++) {
    const net = 30 + ((process.pid + step) % 200)
    const claim = await listen(`127.${net}.0.250`)
    if (claim !== undefined) return { net, claim }
  }
  throw new Error('no 127.x net is free')
}

function listen(host: string): Promise<Server | undefined> {
  const server = createServer((socket) => socket.destroy())
  return new Promise((resolve) => {
    server.once('error', () => resolve(undefined))
    server.listen({ host, port: controlPort, exclusive: true }, () => {
      server.unref()
      resolve(server)
    })
  })
}
