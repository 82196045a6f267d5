/**
 * What every node says of the web service, asked from outside all the time, and cheaply enough not to change it: names by one UDP socket, tasks
 * and nodes by the API.
 *
 * The demo's watcher (agent/demo/watch.ts) asks ten times as much; five agents on two cores feel that.
 */
import { createSocket, type Socket } from 'node:dgram'
import * as dnsPacket from 'dns-packet'
import { pause } from './figure.ts'
import { type Machine, nodeStates } from './swarm.ts'

export interface Seen {
  /** Slot to the task that runs it, as this machine lists them. */
  readonly running: ReadonlyMap<string, { readonly task: string; readonly node: string }>
  /** Names of nodes that it calls ready. */
  readonly ready: ReadonlySet<string>
  readonly atMs: number
}

export interface Watch {
  last(machine: Machine): Seen | undefined
  /** Told each new look at tasks and nodes. */
  onSeen(listener: (machine: Machine, seen: Seen) => void): void
  /** Told each answer to the service's name: addresses, as tasks of this machine are told. */
  onNames(listener: (machine: Machine, addresses: ReadonlySet<string>, atMs: number) => void): void
  /** The address of a slot as tasks of this machine know it. */
  addressOf(machine: Machine, slot: string): string | undefined
  /** Whether a task on this machine can ask for names. */
  canResolve(machine: Machine): boolean
  /** A task of this machine has told its resolver, address:port. */
  learnResolver(name: string, resolver: string): void
  /** What ran there is gone, and its resolvers with it. */
  forget(machine: Machine): void
  stop(): void
}

const namesEveryMs = 10
const tasksEveryMs = 40
const slotsEveryMs = 1_000

interface ApiTask {
  readonly ID: string
  readonly Slot?: number
  readonly NodeID?: string
  readonly DesiredState: string
  readonly Status: { readonly State: string }
}

interface Watched {
  readonly machine: Machine
  readonly socket: Socket
  readonly addresses: Map<string, string>
  resolver: string | undefined
  last: Seen | undefined
}

export function watchAll(machines: readonly Machine[], service: string): Watch {
  const seenListeners: ((machine: Machine, seen: Seen) => void)[] = []
  const namesListeners: ((machine: Machine, addresses: ReadonlySet<string>, atMs: number) => void)[] = []
  const timers: NodeJS.Timeout[] = []
  let stopped = false
  const watched = new Map(
    machines.map((machine) => {
      const one: Watched = {
        machine,
        socket: createSocket('udp4'),
        addresses: new Map(),
        resolver: undefined,
        last: undefined,
      }
      one.socket.on('error', () => {})
      one.socket.on('message', (message) => hear(one, message))
      return [machine.name, one] as const
    }),
  )
  for (const one of watched.values()) {
    timers.push(setInterval(() => query(one, `tasks.${service}`), namesEveryMs))
    timers.push(
      setInterval(() => {
        for (const slot of one.last?.running.keys() ?? []) query(one, `${slot}.${service}`)
      }, slotsEveryMs),
    )
    void lookOn(one)
  }

  function query({ machine, socket, resolver }: Watched, name: string): void {
    if (machine.state !== 'up' || resolver === undefined) return
    const at = resolver.lastIndexOf(':')
    const message = dnsPacket.encode({ type: 'query', id: 1, questions: [{ name, type: 'A' }] })
    socket.send(message, Number(resolver.slice(at + 1)), resolver.slice(0, at))
  }

  function hear(one: Watched, message: Buffer): void {
    const atMs = performance.now()
    const { questions = [], answers = [] } = dnsPacket.decode(message)
    const name = questions[0]?.name ?? ''
    const addresses = answers.flatMap((answer) => (answer.type === 'A' ? [answer.data] : []))
    if (name === `tasks.${service}`) {
      for (const listener of namesListeners) listener(one.machine, new Set(addresses), atMs)
    } else if (addresses[0] !== undefined) one.addresses.set(name.slice(0, name.indexOf('.')), addresses[0])
  }

  async function lookOn(one: Watched): Promise<void> {
    while (!stopped) {
      const nextMs = performance.now() + tasksEveryMs
      if (one.machine.state === 'up') await look(one).catch(() => {})
      await pause(Math.max(1, nextMs - performance.now()))
    }
  }

  async function look(one: Watched): Promise<void> {
    const filters = JSON.stringify({ service: [service], 'desired-state': ['running'] })
    const [states, tasks] = await Promise.all([
      nodeStates(one.machine),
      one.machine.client.get<readonly ApiTask[]>('/tasks', { filters }),
    ])
    const isReady = (id: string | undefined) => states.get(id ?? '')?.state === 'ready'
    one.last = {
      atMs: performance.now(),
      ready: new Set([...states.values()].filter(({ state }) => state === 'ready').map(({ name }) => name)),
      running: new Map(
        tasks
          .filter(({ Status, NodeID }) => Status.State === 'running' && isReady(NodeID))
          .map((task) => [String(task.Slot), { task: task.ID, node: states.get(task.NodeID ?? '')?.name ?? '' }]),
      ),
    }
    for (const listener of seenListeners) listener(one.machine, one.last)
  }

  const of = (machine: Machine) => watched.get(machine.name)
  return {
    last: (machine) => of(machine)?.last,
    onSeen: (listener) => void seenListeners.push(listener),
    onNames: (listener) => void namesListeners.push(listener),
    addressOf: (machine, slot) => of(machine)?.addresses.get(slot),
    canResolve: (machine) => of(machine)?.resolver !== undefined,
    learnResolver(name, resolver) {
      const one = watched.get(name)
      if (one !== undefined) one.resolver = resolver
    },
    forget(machine) {
      const one = of(machine)
      if (one === undefined) return
      one.resolver = undefined
      one.last = undefined
      one.addresses.clear()
    },
    stop() {
      stopped = true
      for (const timer of timers) clearInterval(timer)
      for (const { socket } of watched.values()) socket.close()
    },
  }
}
