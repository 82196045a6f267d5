/**
 * The demo's machines: real agents as child processes, each with an address, a data directory and a door (gate.ts) of its own.
 *
 * Owns every process that it starts, tasks included, and leaves none behind.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { extname, join } from 'node:path'
import { type Client, createClient } from '../cli/client.ts'
import { fault } from '../fault.ts'
import { createGate, type Gate } from './gate.ts'

export interface Machine {
  readonly name: string
  /** Where its published ports answer. */
  readonly address: string
  readonly client: Client
  readonly state: 'down' | 'starting' | 'up' | 'frozen'
  readonly pid: number | undefined
}

export interface Machines {
  readonly all: readonly Machine[]
  /** Starts every agent, the first founds and the others join. */
  start(): Promise<void>
  /** SIGKILL to the agent and everything it runs, at one moment. Returns that moment (monotonic ms). */
  kill(machine: Machine): number
  freeze(machine: Machine): number
  /** Starts a killed machine again, thaws a frozen one. */
  bringBack(machine: Machine): Promise<number>
  /** Cuts the first machine off from the others, and mends it. */
  cut(): number
  mend(): void
  close(): Promise<void>
}

export interface MachinesOptions {
  readonly count: number
  /** Directory for data and sockets; removed by the caller. */
  readonly dir: string
  readonly env: Readonly<Record<string, string | undefined>>
}

const main = new URL(`../main${extname(import.meta.filename)}`, import.meta.url).pathname
const controlPort = 7766
/** An agent is ready within 1.5 s; a busy machine may take ten times as long. */
const startMs = 20_000
const lookMs = 25

export async function createMachines(options: MachinesOptions): Promise<Machines> {
  const net = await freeNet()
  const machines = Array.from({ length: options.count }, (_, i) => createMachine(i + 1, net, options))
  const agents = () => machines.flatMap((m) => (m.pid === undefined ? [] : [m.pid]))
  for (const machine of machines) machine.gates = gatesOf(machine, agents)

  async function start(): Promise<void> {
    const [first, ...others] = machines as [Owned, ...Owned[]]
    await launch(first, [])
    const { token } = await first.client.post<{ token: string }>('/grapevine/token', {})
    first.token = token
    const join = ['--join', `/ip4/${first.door}/tcp/${controlPort}`]
    // The secret goes by environment, never by argv.
    await Promise.all(others.map((machine) => launch(machine, join, { GRAPEVINE_TOKEN: token })))
  }

  async function launch(machine: Owned, args: readonly string[], env: Record<string, string> = {}): Promise<void> {
    mkdirSync(machine.dir, { recursive: true, mode: 0o700 })
    const child = spawn(process.execPath, [main, 'agent', ...machine.args, ...args], {
      // The demo's programs are on the machine, not in images.
      env: { ...options.env, GRAPEVINE_RUNTIME: 'process', ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    machine.child = child
    let complaint = ''
    child.stderr?.on('data', (chunk: Buffer) => {
      complaint = (complaint + chunk.toString()).slice(-2_000)
    })
    child.on('exit', () => {
      if (machine.child !== child) return
      machine.state = 'down'
      for (const gate of machine.gates) gate.shut()
    })
    for (const gate of machine.gates) await gate.open()
    machine.state = 'starting'
    const untilMs = performance.now() + startMs
    for (;;) {
      if (child.exitCode !== null)
        throw fault('internal', `the agent ${machine.name} ended at once: ${lastLine(complaint)}`)
      const nodes = await machine.client.get<readonly unknown[]>('/nodes').catch(() => undefined)
      if (nodes !== undefined && nodes.length > 0) {
        machine.state = 'up'
        return
      }
      if (performance.now() > untilMs)
        throw fault('timeout', `the agent ${machine.name} did not start: ${lastLine(complaint)}`)
      await pause(lookMs)
    }
  }

  return {
    all: machines,
    start,
    kill(machine) {
      const owned = machine as Owned
      const pids = [...processesOf(owned.dir)]
      const atMs = performance.now()
      for (const pid of [owned.child?.pid, ...pids]) if (pid !== undefined) signal(pid, 'SIGKILL')
      owned.state = 'down'
      return atMs
    },
    freeze(machine) {
      const owned = machine as Owned
      const pids = [owned.child?.pid, ...processesOf(owned.dir)]
      const atMs = performance.now()
      for (const pid of pids) if (pid !== undefined) signal(pid, 'SIGSTOP')
      owned.state = 'frozen'
      return atMs
    },
    async bringBack(machine) {
      const owned = machine as Owned
      const atMs = performance.now()
      if (owned.state === 'frozen') thaw(owned)
      else if (owned.state === 'down') await launch(owned, [])
      return atMs
    },
    cut() {
      const atMs = performance.now()
      const [lone, ...rest] = machines as [Owned, ...Owned[]]
      const others = new Set(rest.map((m) => m.pid))
      for (const gate of lone.gates) gate.cut((pid) => others.has(pid))
      for (const machine of rest) for (const gate of machine.gates) gate.cut((pid) => pid === lone.pid)
      return atMs
    },
    mend() {
      for (const machine of machines) for (const gate of machine.gates) gate.mend()
    },
    async close() {
      for (const machine of machines) {
        if (machine.state === 'frozen') thaw(machine)
        for (const pid of [machine.child?.pid, ...processesOf(machine.dir)])
          if (pid !== undefined) signal(pid, 'SIGKILL')
        for (const gate of machine.gates) gate.shut()
      }
    },
  }
}

interface Owned extends Machine {
  state: 'down' | 'starting' | 'up' | 'frozen'
  readonly inner: string
  readonly door: string
  readonly dir: string
  readonly args: readonly string[]
  child: ChildProcess | undefined
  gates: readonly Gate[]
  token: string | undefined
}

function createMachine(index: number, net: number, options: MachinesOptions): Owned {
  const name = `n${index}`
  const [inner, door] = [`127.${net}.1.${index}`, `127.${net}.2.${index}`]
  const address = `127.0.0.${index}`
  const socket = join(options.dir, `${name}.sock`)
  const dir = join(options.dir, name)
  const args = Object.entries({
    name,
    listen: `/ip4/${inner}/tcp/${controlPort}`,
    advertise: door,
    address,
    'data-dir': dir,
    socket,
    preset: 'local',
    'log-level': 'warn',
  }).flatMap(([flag, value]) => [`--${flag}`, value])
  return {
    name,
    address,
    inner,
    door,
    dir,
    args,
    client: createClient(socket),
    state: 'down',
    child: undefined,
    gates: [],
    token: undefined,
    get pid() {
      return this.state === 'down' ? undefined : this.child?.pid
    },
  }
}

function thaw(machine: Owned): void {
  for (const pid of [machine.child?.pid, ...processesOf(machine.dir)]) if (pid !== undefined) signal(pid, 'SIGCONT')
  machine.state = 'up'
}

/** One door for the control plane, one for the mesh on the next port. */
function gatesOf(machine: Owned, agents: () => readonly number[]): readonly Gate[] {
  return [controlPort, controlPort + 1].map((port) =>
    createGate({ from: { host: machine.door, port }, to: { host: machine.inner, port }, agents }),
  )
}

/** Processes below a data directory: shims name it in their arguments, and programs are their children. */
function processesOf(dir: string): ReadonlySet<number> {
  const parents = new Map<number, number>()
  const found = new Set<number>()
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid)) continue
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
      parents.set(pid, Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]))
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      if (command.includes(`${dir}/`) && !command.includes('\0agent\0')) found.add(pid)
    } catch {
      // It ended while we looked.
    }
  }
  for (let size = -1; size !== found.size; ) {
    size = found.size
    for (const [pid, parent] of parents) if (found.has(parent)) found.add(pid)
  }
  return found
}

/** A second octet of 127.x in which nobody listens on our ports. */
async function freeNet(): Promise<number> {
  for (let net = 90 + (process.pid % 100); net < 250; net++) {
    if ((await isFree(`127.${net}.1.1`, controlPort)) && (await isFree(`127.${net}.2.1`, controlPort))) return net
  }
  throw fault('unavailable', 'no loopback net is free for the demo', 'End another demo that runs on this machine')
}

/** Whether a TCP port can be bound now. */
export function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => resolve(true)))
  })
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // Gone already.
  }
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? ''
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms))
}
