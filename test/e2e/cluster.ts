/**
 * A cluster of real agents on loopback, for tests: each with an address, a data directory, a socket and, on demand, doors that can be cut.
 *
 * Owns every process and file it makes, tasks included, and leaves none behind: `close` kills by directory, not by memory. The second octet of
 * all addresses is claimed by a socket, so runs and demos side by side never meet. Agents tell what they said when a test fails.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFailed, onTestFinished } from 'vitest'
import { type Client, createClient } from '../../agent/cli/client.ts'
import { createGate, type Gate } from '../../agent/demo/gate.ts'
import { root } from '../tidy/source.ts'
import { until } from '../until.ts'
import { isAlive, processesOf, signal } from './processes.ts'

export interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

export interface StartOptions {
  /** Agents to join through. */
  readonly join?: readonly Agent[]
  readonly token?: string
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** Words before the agent's command line: a shell that sets limits, a namespace. */
  readonly prefix?: readonly string[]
}

export interface Agent {
  readonly name: string
  /** Where its published ports answer, and its tasks are reached. */
  readonly address: string
  /** Where members reach it. */
  readonly multiaddr: string
  /** Host of the control plane (port 7766) and the mesh (7767), behind the door. */
  readonly inner: string
  readonly dir: string
  readonly socket: string
  readonly client: Client
  readonly pid: number
  isRunning(): boolean
  /** Everything that the agent printed and logged, over all its starts. */
  said(): string
  /** Starts the process; `ready` waits until it answers. */
  launch(options?: StartOptions): Promise<void>
  ready(): Promise<void>
  start(options?: StartOptions): Promise<void>
  /** The exit code, or the negative signal number that ended it. */
  ended(): Promise<number>
  /** Runs `vine` against this agent. */
  vine(...args: readonly string[]): Promise<Ran>
  /** Like `vine`, and fails unless the exit code is 0. Returns stdout without the last line's end. */
  ok(...args: readonly string[]): Promise<string>
  signal(name: NodeJS.Signals): void
  /** All strings in the agent's memory that are reachable, as a heap snapshot holds them. */
  heap(): Promise<string>
  /** SIGKILL to the agent alone: its tasks go on. */
  killAgent(): Promise<void>
  /** SIGKILL to the agent and everything it runs. */
  killNode(): Promise<void>
  /** SIGSTOP to the agent and everything it runs: the machine goes silent. */
  freeze(): void
  thaw(): void
}

/** So many agents, so that a test may name each of them. */
interface Counted {
  readonly 1: readonly [Agent]
  readonly 2: readonly [Agent, Agent]
  readonly 3: readonly [Agent, Agent, Agent]
  readonly 4: readonly [Agent, Agent, Agent, Agent]
  readonly 5: readonly [Agent, Agent, Agent, Agent, Agent]
}

export interface Cluster<N extends keyof Counted = keyof Counted> {
  readonly dir: string
  /** Those it was made with. */
  readonly agents: Counted[N]
  /** A machine more; it does not run yet. */
  add(): Agent
  /** Nothing passes between the two sides from now on; what was open goes silent. Needs doors. */
  cut(side: readonly Agent[], other: readonly Agent[]): void
  mend(): void
  close(): Promise<void>
}

export interface ClusterOptions<N extends keyof Counted = keyof Counted> {
  readonly nodes: N
  /** Doors that can be cut stand before control plane and mesh of each agent. */
  readonly doors?: boolean
  /** Start the agents, join them, and wait until each sees all. Default true. */
  readonly started?: boolean
}

const controlPort = 7766
/** An agent is ready within 1.5 s; a busy machine may take ten times as long. */
const readyMs = 20_000
/**
 * As bin/vine starts it, less the look at the set-up: launch.test.ts holds the two together. Without them V8 takes 130 MB for nurseries and malloc
 * arenas for each thread, which says nothing of agents as users have them.
 */
export const nodeFlags = ['--max-semi-space-size=2', '--'] as const
export const mallocArenas = '2'
const program = [process.execPath, ...nodeFlags, join(root, 'agent', 'main.ts')] as const

/** A cluster that is closed at the end of the test. */
export async function createCluster<N extends keyof Counted>(options: ClusterOptions<N>): Promise<Cluster<N>> {
  const cluster = await openCluster(options)
  onTestFinished(cluster.close)
  onTestFailed(() => {
    for (const agent of cluster.agents) process.stderr.write(`--- ${agent.name} said:\n${agent.said().slice(-4_000)}\n`)
  })
  return cluster
}

/** A cluster that the caller closes: for hooks. */
export async function openCluster<N extends keyof Counted>(options: ClusterOptions<N>): Promise<Cluster<N>> {
  const { net, claim } = await claimNet()
  const dir = mkdtempSync(join(tmpdir(), 'vine-e2e-'))
  const agents: Owned[] = []
  const doors = options.doors ?? false

  function add(): Owned {
    const agent = createAgent({ dir, net, index: agents.length + 1, doors, pids: () => agents.map((a) => a.pid) })
    agents.push(agent)
    return agent
  }

  async function close(): Promise<void> {
    for (const agent of agents) for (const gate of agent.gates) gate.shut()
    await until(
      () => {
        const left = processesOf(dir)
        for (const pid of left) signal(pid, 'SIGKILL')
        return left.every((pid) => !isAlive(pid))
      },
      { deadlineMs: 5_000, what: 'all processes of the cluster to end' },
    )
    claim.close()
    rmSync(dir, { recursive: true, force: true })
  }

  for (let i = 0; i < options.nodes; i++) add()
  const cluster: Cluster<N> = {
    dir,
    agents: [...agents] as readonly Agent[] as Counted[N],
    add,
    cut(side, other) {
      for (const [from, to] of [
        [side, other],
        [other, side],
      ]) {
        const pids = new Set(to?.map((agent) => agent.pid))
        for (const agent of from ?? []) for (const gate of (agent as Owned).gates) gate.cut((pid) => pids.has(pid))
      }
    },
    mend() {
      for (const agent of agents) for (const gate of agent.gates) gate.mend()
    },
    close,
  }
  if (options.started === false) return cluster
  try {
    await startAll(cluster.agents)
  } catch (error) {
    await close()
    throw error
  }
  return cluster
}

/** The first founds, the others join it. */
export async function startAll(agents: readonly Agent[]): Promise<void> {
  const [first, ...others] = agents as readonly [Agent, ...Agent[]]
  await first.start()
  const token = await tokenOf(first)
  await Promise.all(others.map((agent) => agent.start({ join: [first], token })))
  await see(agents, agents)
}

export async function tokenOf(agent: Agent): Promise<string> {
  return (await agent.client.post<{ readonly token: string }>('/grapevine/token', {})).token
}

/** An agent here, or one on a machine of its own. */
type Looker = Pick<Agent, 'name' | 'client'>

/** Waits until each of `lookers` lists exactly `ready` as Ready. */
export async function see(lookers: readonly Looker[], ready: readonly Looker[], deadlineMs = 15_000): Promise<void> {
  const wanted = ready.map(({ name }) => name).sort()
  await until(
    async () => {
      const seen = await Promise.all(lookers.map(readyNodes))
      return seen.every((names) => names.join() === wanted.join()) || Promise.reject(new Error(JSON.stringify(seen)))
    },
    { deadlineMs, everyMs: 50, what: `${lookers.map((l) => l.name)} to list ${wanted} as ready` },
  )
}

async function readyNodes(agent: Looker): Promise<readonly string[]> {
  const nodes =
    await agent.client.get<
      { readonly Description: { readonly Hostname: string }; readonly Status: { readonly State: string } }[]
    >('/nodes')
  return nodes
    .filter((node) => node.Status.State === 'ready')
    .map((node) => node.Description.Hostname)
    .sort()
}

interface Owned extends Agent {
  readonly gates: readonly Gate[]
}

interface Place {
  readonly dir: string
  readonly net: number
  readonly index: number
  readonly doors: boolean
  readonly pids: () => readonly number[]
}

/** All hosts are of 127.x.0.*: above lie the addresses that agents give to services (dataplane/userspace/aliases.ts). */
function createAgent({ dir: home, net, index, doors, pids }: Place): Owned {
  const name = `n${index}`
  const [address, inner, door] = [`127.${net}.0.${index}`, `127.${net}.0.${80 + index}`, `127.${net}.0.${160 + index}`]
  const reach = doors ? door : inner
  const dir = join(home, name)
  const socket = join(home, `${name}.sock`)
  const client = createClient(socket)
  const gates = doors
    ? [controlPort, controlPort + 1].map((port) =>
        createGate({ from: { host: door, port }, to: { host: inner, port }, agents: pids }),
      )
    : []
  const flags = {
    name,
    listen: `/ip4/${inner}/tcp/${controlPort}`,
    advertise: reach,
    address,
    'data-dir': dir,
    socket,
    'dns-port': '10053',
    // An engine of the machine that runs the tests is no part of them.
    'docker-socket': 'none',
    preset: 'local',
  }
  let child: ChildProcess | undefined
  let said = ''

  const agent: Owned = {
    name,
    address,
    multiaddr: `/ip4/${reach}/tcp/${controlPort}`,
    inner,
    dir,
    socket,
    client,
    gates,
    get pid() {
      return child?.pid ?? 0
    },
    isRunning: () => child !== undefined && child.exitCode === null && child.signalCode === null,
    said: () => said,
    async launch({ join: members = [], token, args = [], env = {}, prefix = [] } = {}) {
      mkdirSync(dir, { recursive: true, mode: 0o700 })
      const words = [
        ...prefix,
        ...program,
        'agent',
        ...Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value]),
        ...members.flatMap((member) => ['--join', member.multiaddr]),
        ...args,
      ]
      const [command = '', ...rest] = words
      const started = spawn(command, rest, {
        // The secret goes by environment, never by argv.
        env: {
          ...plainEnv(),
          // Not a fixed port: agents share the loopback.
          NODE_OPTIONS: '--heapsnapshot-signal=SIGUSR2 --inspect-port=0',
          ...(token === undefined ? {} : { GRAPEVINE_TOKEN: token }),
          ...env,
        },
        cwd: home,
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      child = started
      for (const stream of [started.stdout, started.stderr]) {
        stream?.setEncoding('utf8').on('data', (text: string) => {
          said += text
        })
      }
      started.on('exit', () => {
        if (child === started) for (const gate of gates) gate.shut()
      })
      for (const gate of gates) await gate.open()
    },
    async ready() {
      await until(
        async () => {
          if (!agent.isRunning()) return 'ended'
          return (await client.get<readonly unknown[]>('/nodes')).length > 0
        },
        { deadlineMs: readyMs, everyMs: 40, what: `${name} to answer; it said: ${said.slice(-2_000)}` },
      )
      if (!agent.isRunning()) throw new Error(`${name} ended at its start; it said:\n${said.slice(-2_000)}`)
    },
    async start(options) {
      await agent.launch(options)
      await agent.ready()
    },
    async ended() {
      const running = child
      if (running === undefined) throw new Error(`${name} was never started`)
      await until(() => !agent.isRunning(), { deadlineMs: 20_000, what: `${name} to end` })
      return running.exitCode ?? -1
    },
    vine: (...args) => runVine(socket, args),
    async ok(...args) {
      const ran = await runVine(socket, args)
      if (ran.code !== 0) throw new Error(`vine ${args.join(' ')} ended with ${ran.code}: ${ran.out}${ran.err}`)
      return ran.out.trimEnd()
    },
    signal(name) {
      if (child?.pid !== undefined) signal(child.pid, name)
    },
    async heap() {
      const files = () =>
        readdirSync(home).filter((file) => file.startsWith('Heap.') && file.includes(`.${agent.pid}.`))
      agent.signal('SIGUSR2')
      // Written whole when it can be read as JSON: a snapshot of an agent has 20 to 60 MB.
      const snapshot = await until(
        () =>
          files().map(
            (file) => JSON.parse(readFileSync(join(home, file), 'utf8')) as { strings: readonly string[] },
          )[0],
        { deadlineMs: 20_000, everyMs: 300, what: `the heap snapshot of ${name}` },
      )
      return snapshot.strings.join('\n')
    },
    async killAgent() {
      agent.signal('SIGKILL')
      await agent.ended()
    },
    async killNode() {
      for (const pid of [agent.pid, ...processesOf(dir)]) signal(pid, 'SIGKILL')
      await agent.ended()
      for (const pid of processesOf(dir)) signal(pid, 'SIGKILL')
    },
    freeze() {
      for (const pid of [agent.pid, ...processesOf(dir)]) signal(pid, 'SIGSTOP')
    },
    thaw() {
      for (const pid of [agent.pid, ...processesOf(dir)]) signal(pid, 'SIGCONT')
    },
  }
  return agent
}

/** 30 s: the longest command waits for a service to converge. */
function runVine(socket: string, args: readonly string[]): Promise<Ran> {
  const [command, ...words] = [...program, ...args]
  return new Promise((resolve) => {
    execFile(
      command,
      words,
      { env: { ...plainEnv(), VINE_SOCKET: socket }, timeout: 30_000, maxBuffer: 16 * 1024 * 1024 },
      (error, out, err) =>
        resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, out, err }),
    )
  })
}

/** What a login has; nothing of the test runner's reaches agents. */
function plainEnv(): Record<string, string> {
  const { PATH = '/usr/bin:/bin', HOME = '/' } = process.env
  const NODE_COMPILE_CACHE = join(root, 'node_modules', '.cache', 'vine')
  // Docker of the machine that runs the tests is nobody's business.
  return { PATH, HOME, NODE_COMPILE_CACHE, MALLOC_ARENA_MAX: mallocArenas, GRAPEVINE_RUNTIME: 'process' }
}

/** The second octet of this cluster's addresses; taken as long as the socket is open. */
async function claimNet(): Promise<{ readonly net: number; readonly claim: Server }> {
  const start = process.pid % 200
  for (let step = 0; step < 200; step++) {
    const net = 30 + ((start + step) % 200)
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
