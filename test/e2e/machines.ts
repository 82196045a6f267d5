/**
 * Machines on a switch, for tests: each a network, mount, process and host-name namespace with a cable, an address, a default route and a disk.
 *
 * What a cluster on loopback cannot show: agents with no flags at all, cables that are pulled, one-way drops, power that fails. Everything hangs
 * below one process that ends when this one does, however that is: the kernel then takes all of it back, and nothing is left even by a crash.
 * Never touches the host's interfaces, rules or files. See namespaces(7).
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { onTestFailed, onTestFinished } from 'vitest'
import { type Client, createClient } from '../../agent/cli/client.ts'
import { needs, needsMachines } from '../needs.ts'
import { root } from '../tidy/source.ts'
import { until } from '../until.ts'
import { type Ran, see } from './cluster.ts'
import { isAlive, signal } from './processes.ts'

export interface Machine {
  readonly name: string
  /** On the switch that its default route leads to. */
  readonly address: string
  /** Its files, as the host sees them. */
  readonly root: string
  /** Of the agent's standard socket. */
  readonly client: Client
  /** Runs a line of shell on it; `vine` is on its PATH. */
  run(line: string): Promise<Ran>
  /** Like `run`, and fails unless the exit code is 0. Returns stdout without the last line's end. */
  ok(line: string): Promise<string>
  /** Starts a program that goes on; its standard output, line by line. */
  begin(line: string, onLine: (line: string) => void): void
  /** Like `begin`, in its network alone: whoever kills all that it runs does not meet the program. */
  observe(line: string, onLine: (line: string) => void): void
  /** SIGKILL to everything it runs, agent and tasks, as far as the kernel goes on. */
  killAll(): Promise<void>
  /** SIGKILL to its agent alone: tasks go on. */
  killAgent(): Promise<void>
  /** Starts an agent with this command line and waits until it answers. Default: `vine agent`. */
  start(line?: string): Promise<void>
  /** Starts an agent without waiting. */
  launch(line?: string): void
  ready(): Promise<void>
  /** What the agent printed and logged, over all its starts. */
  said(): string
  /** The cable is pulled, or plugged in again. */
  pull(): Promise<void>
  plug(): Promise<void>
  /** Drops what comes from other machines; what goes there still arrives. `hear` ends it for all. */
  ignore(...others: readonly Machine[]): Promise<void>
  hear(): Promise<void>
  /** Ends at once, without a word to anyone. Its disk stays. */
  powerOff(): Promise<void>
  powerOn(): Promise<void>
}

export interface Lan {
  /** A machine more, running but for its agent. */
  add(options?: MachineOptions): Promise<Machine>
  machines(): readonly Machine[]
  /** A line of shell at the switch's own address: somebody who is no member. */
  outside(line: string): Promise<Ran>
  /** Starts a program there that goes on; its standard output, line by line. */
  begin(line: string, onLine: (line: string) => void): void
  /** What the agents said, for a test that failed. */
  said(): string
  close(): Promise<void>
}

export interface MachineOptions {
  /** A second cable, its interface named first, into a switch of its own. */
  readonly second?: boolean
  /** Default true. */
  readonly defaultRoute?: boolean
  /** Lines of shell on its first start and every further one. */
  readonly setUp?: string
}

/** Address of the switch: the default route, and where an outsider comes from. */
export const outsideAddress = '10.77.0.254'

/** An agent is ready within 1.5 s; a busy machine may take ten times as long. */
const readyMs = 20_000
const program = `${process.execPath} ${join(root, 'agent', 'main.ts')}`
const path = '/run/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
/** `GRAPEVINE_DATAPLANE=linux` before the test command runs all that machines do on that data plane; what does not ask for one takes user space. */
const dataplane = process.env.GRAPEVINE_DATAPLANE ?? 'userspace'
const environment = [
  '-i',
  `PATH=${path}`,
  'HOME=/root',
  `NODE_COMPILE_CACHE=${join(root, 'node_modules/.cache/vine')}`,
  `GRAPEVINE_DATAPLANE=${dataplane}`,
]

const cabinet = `
  set -e
  mount -t tmpfs disks /var/lib
  ip link set lo up
  for n in 7 8; do
    ip link add name switch$n type bridge
    ip address add 10.7$n.0.254/24 dev switch$n
    ip link set switch$n up
  done
  echo up
  exec cat`

/** Bash, which as the first process of a machine takes the orphans in and buries them. It ends with its input. */
const boot = (name: string) => `
  set -e
  hostname ${name}
  mkdir -p /var/lib/${name}
  mount --bind /var/lib/${name} /var/lib
  mount -t sysfs sys /sys
  mount -t tmpfs run /run
  mkdir /run/bin
  printf '#!/bin/sh\\nexec ${program} "$@"\\n' > /run/bin/vine
  chmod +x /run/bin/vine
  for i in 1 2 3 4 5 6; do echo 10.77.0.$i n$i; done > /run/hosts
  printf '127.0.0.1 localhost\\n' >> /run/hosts
  mount --bind /run/hosts /etc/hosts
  echo 'nameserver 127.0.0.1' > /run/resolv.conf
  [ -L /etc/resolv.conf ] || mount --bind /run/resolv.conf /etc/resolv.conf
  ip link set lo up
  # A network namespace inherits this, and an engine takes care of what is forwarded only where it turned that on itself.
  echo 0 > /proc/sys/net/ipv4/ip_forward
  echo up
  while read -r _; do :; done`

const isolation = ['--net', '--mount', '--pid', '--uts', '--fork', '--kill-child', '--mount-proc']

/** A switch that is taken away at the end of the test. Ends the test where this machine lets us make no namespaces. */
export async function createLan(): Promise<Lan> {
  const lan = await openLan()
  onTestFinished(lan.close)
  onTestFailed(() => void process.stderr.write(lan.said()))
  return lan
}

/** A switch that the caller closes: for tests that share one, and for measurements. */
export async function openLan(): Promise<Lan> {
  for (const tool of ['nft', 'nsenter', 'bash', 'hostname']) needs(tool)
  const lab = await hold([...needsMachines(), 'sh', '-c', cabinet])
  const machines: Machine[] = []
  const observers: ChildProcess[] = []

  async function close(): Promise<void> {
    // Not in the machines' own tree of processes, with which all else ends.
    for (const observer of observers) observer.kill('SIGKILL')
    lab.child.stdin?.end()
    if (lab.child.exitCode === null) await once(lab.child, 'exit')
  }

  return {
    async add(options = {}) {
      const machine = createMachine({ lab: lab.pid, index: machines.length + 1, observers }, options)
      machines.push(machine)
      await machine.powerOn()
      return machine
    },
    machines: () => machines,
    outside: (line) => shell(lab.pid, line),
    begin: (line, onLine) => void begin(inside(lab.pid, `exec ${line}`), onLine),
    said: () => machines.map(({ name, said }) => `--- ${name} said:\n${said().slice(-4_000)}\n`).join(''),
    close,
  }
}

/** The first founds, the others join it with what it printed. */
export async function startCluster(machines: readonly Machine[]): Promise<void> {
  const [first, ...others] = machines
  if (first === undefined) throw new Error('a cluster has a machine')
  await first.start()
  const line = await joinLine(first)
  await Promise.all(others.map((machine) => machine.start(line)))
  await see(machines, machines)
}

/** The command that the founder printed, to be pasted. */
export function joinLine(founder: Machine): Promise<string> {
  return until(() => /To join from another machine: (vine agent .+)\n/.exec(founder.said())?.[1] ?? '', {
    deadlineMs: 5_000,
    what: `${founder.name} to print the join command`,
  })
}

interface Held {
  readonly child: ChildProcess
  /** Of the first process inside, as the host counts. */
  readonly pid: number
}

interface Place {
  /** The first process of the switch, as the host counts. */
  readonly lab: number
  readonly index: number
  readonly observers: ChildProcess[]
}

function createMachine({ lab, index, observers }: Place, options: MachineOptions): Machine {
  const name = `n${index}`
  const { second = false, defaultRoute = true, setUp = '' } = options
  let held: Held | undefined
  let agent: ChildProcess | undefined
  let said = ''

  function pid(): number {
    if (held === undefined) throw new Error(`${name} is off`)
    return held.pid
  }

  async function wire(cable: { readonly from: string; readonly to: string; readonly net: 7 | 8 }): Promise<void> {
    const { from, to, net } = cable
    await done(
      lab,
      `ip link add name ${from} type veth peer name ${to} netns ${pid()}
      ip link set ${from} master switch${net} up`,
      ['-n'],
    )
    await done(pid(), `ip address add 10.7${net}.0.${index}/24 dev ${to} && ip link set ${to} up`, ['-n'])
  }

  const machine: Machine = {
    name,
    address: `10.77.0.${index}`,
    get root() {
      return `/proc/${pid()}/root`
    },
    get client() {
      return createClient(`${machine.root}/run/grapevine/vine.sock`)
    },
    said: () => said,
    run: (line) => shell(pid(), line),
    ok: (line) => done(pid(), line),
    begin: (line, onLine) => void begin(inside(pid(), `exec ${line}`), onLine),
    observe: (line, onLine) => void observers.push(begin(inside(pid(), `exec ${line}`, ['-n']), onLine)),
    async killAll() {
      // All that the shell can see but itself and the first process, which the kernel keeps from the signals of its children.
      await machine.run('kill -KILL -1')
      await until(() => agent?.exitCode !== null || agent.signalCode !== null, ended(name))
    },
    async killAgent() {
      await machine.ok('kill -KILL $(pgrep -f "[a]gent/main.ts agent")')
      await until(() => agent?.exitCode !== null || agent.signalCode !== null, ended(name))
    },
    launch(line = 'vine agent') {
      const child = spawn('nsenter', inside(pid(), `exec ${line}`), { stdio: ['ignore', 'pipe', 'pipe'] })
      agent = child
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (text: string) => {
          said += text
        })
      }
    },
    async ready() {
      const answers = async () =>
        agent?.exitCode !== null || (await machine.client.get<readonly unknown[]>('/nodes')).length > 0
      await until(answers, { deadlineMs: readyMs, everyMs: 40, what: `the agent of ${name} to answer` })
      if (agent?.exitCode !== null) throw new Error(`the agent of ${name} ended at its start; it said:\n${said}`)
    },
    async start(line) {
      machine.launch(line)
      await machine.ready()
    },
    pull: async () => void (await done(lab, `ip link set ${name} down`, ['-n'])),
    plug: async () => void (await done(lab, `ip link set ${name} up`, ['-n'])),
    ignore: async (...others) =>
      void (await done(
        pid(),
        `nft add table inet cut && nft add chain inet cut in '{ type filter hook input priority 0; }' &&
         nft add rule inet cut in ip saddr { ${others.map(({ address }) => address).join()} } drop`,
      )),
    hear: async () => void (await done(pid(), 'nft delete table inet cut')),
    async powerOff() {
      const dead = pid()
      // First the cables, so that nobody hears its connections end; sockets that nobody acknowledges outlive it otherwise.
      for (const cable of second ? [name, `${name}b`] : [name]) await done(lab, `ip link delete ${cable}`, ['-n'])
      signal(dead, 'SIGKILL')
      held?.child.stdin?.end()
      held = undefined
      await until(() => !isAlive(dead), { deadlineMs: 5_000, what: `${name} to be off` })
    },
    async powerOn() {
      held = await hold(['nsenter', ...into(lab), 'unshare', ...isolation, 'bash', '-c', boot(name)])
      if (second) await wire({ from: `${name}b`, to: 'ens0', net: 8 })
      await wire({ from: name, to: 'eth0', net: 7 })
      if (defaultRoute) await machine.ok(`ip route add default via ${outsideAddress}`)
      if (setUp !== '') await machine.ok(setUp)
    },
  }
  return machine
}

function ended(name: string) {
  return { deadlineMs: 20_000, what: `the agent of ${name} to end` } as const
}

/** A program that goes on, and each line that it prints. */
function begin(words: readonly string[], onLine: (line: string) => void): ChildProcess {
  let rest = ''
  const child = spawn('nsenter', words, { stdio: ['ignore', 'pipe', 'inherit'] })
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const one of lines) onLine(one)
  })
  return child
}

/** Starts namespaces that last as long as their standard input is open. */
async function hold(words: readonly string[]): Promise<Held> {
  const [command = '', ...args] = words
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
  }
  child.stdin.on('error', () => {})
  await until(() => said.startsWith('up') || Promise.reject(new Error(said)), {
    // Once 10 s were not enough, beside the other lane on two cores.
    deadlineMs: 30_000,
    what: 'a machine to be on',
  })
  return { child, pid: innermost(child.pid ?? 0) }
}

/** nsenter and unshare each have one child; the last of the line is the first process inside. */
function innermost(pid: number): number {
  const child = readdirSync('/proc').find((entry) => /^\d+$/.test(entry) && parentOf(entry) === pid)
  return child === undefined ? pid : innermost(Number(child))
}

function parentOf(pid: string): number | undefined {
  try {
    return Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1])
  } catch {
    // It ended while we looked.
    return undefined
  }
}

/** `-n` alone: the host's files and processes, in the other's network. */
function into(pid: number, flags: readonly string[] = ['-m', '-n', '-u', '-p']): readonly string[] {
  const users = process.getuid?.() === 0 ? [] : ['-U', '--preserve-credentials']
  return ['-t', String(pid), ...users, ...flags, '--']
}

function inside(pid: number, line: string, flags?: readonly string[]): readonly string[] {
  return [...into(pid, flags), 'env', ...environment, 'sh', '-c', line]
}

/** 30 s: the longest command waits for a service to converge. */
function shell(pid: number, line: string, flags?: readonly string[]): Promise<Ran> {
  return new Promise((resolve) => {
    execFile('nsenter', inside(pid, line, flags), { timeout: 30_000, maxBuffer: 16 * 1024 * 1024 }, (error, out, err) =>
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, out, err }),
    )
  })
}

async function done(pid: number, line: string, flags?: readonly string[]): Promise<string> {
  const ran = await shell(pid, line, flags)
  if (ran.code !== 0) throw new Error(`${line} ended with ${ran.code}: ${ran.out}${ran.err}`)
  return ran.out.trimEnd()
}
