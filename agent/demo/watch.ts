/**
 * What every node says of the cluster, asked all the time from outside: its API for nodes and counts, a task's resolver for names.
 */
import { createSocket } from 'node:dgram'
import * as dnsPacket from 'dns-packet'
import { type Machine, pause } from './agents.ts'

/** One node's view at one moment. */
export interface Seen {
  readonly by: string
  readonly atMs: number
  /** States of all nodes by name: ready, suspect, down. */
  readonly nodes: ReadonlyMap<string, string>
  /** Slot to the node that runs it. */
  readonly running: ReadonlyMap<string, string>
  /** Addresses of `tasks.web` as a task on this node is told; undefined when no task here could ask. */
  readonly addresses: ReadonlySet<string> | undefined
}

export interface Watch {
  readonly last: ReadonlyMap<string, Seen>
  onSeen(listener: (seen: Seen) => void): void
  /** Address of each slot as each node's tasks know it: by `<node>/<slot>`. */
  readonly slotAddresses: ReadonlyMap<string, string>
  stop(): void
}

const everyMs = 20
const slotsEveryMs = 1_000
const dnsTimeoutMs = 1_000

interface ApiNode {
  readonly ID: string
  readonly Description: { readonly Hostname: string }
  readonly Spec: { readonly Name?: string }
  readonly Status: { readonly State: string; readonly Message?: string }
}
interface ApiTask {
  readonly Slot?: number
  readonly NodeID?: string
  readonly DesiredState: string
  readonly Status: { readonly State: string }
}

export function watchAll(machines: readonly Machine[], service: string, resolvers: ReadonlyMap<string, string>): Watch {
  const last = new Map<string, Seen>()
  const slotAddresses = new Map<string, string>()
  const listeners: ((seen: Seen) => void)[] = []
  let stopped = false

  async function loop(machine: Machine): Promise<void> {
    let slotsAtMs = 0
    while (!stopped) {
      const startedMs = performance.now()
      if (machine.state === 'up') {
        const seen = await look(machine, service, resolvers.get(machine.name))
        if (seen !== undefined && !stopped) {
          last.set(machine.name, seen)
          for (const listener of listeners) listener(seen)
        }
        const resolver = resolvers.get(machine.name)
        if (resolver !== undefined && startedMs - slotsAtMs > slotsEveryMs) {
          slotsAtMs = startedMs
          await learnSlots(machine.name, seen, resolver)
        }
      }
      await pause(Math.max(1, everyMs - (performance.now() - startedMs)))
    }
  }

  async function learnSlots(name: string, seen: Seen | undefined, resolver: string): Promise<void> {
    for (const slot of seen?.running.keys() ?? []) {
      const [address] = (await resolve(resolver, `${slot}.${service}`)) ?? []
      if (address !== undefined) slotAddresses.set(`${name}/${slot}`, address)
    }
  }

  for (const machine of machines) void loop(machine)
  return {
    last,
    slotAddresses,
    onSeen: (listener) => void listeners.push(listener),
    stop() {
      stopped = true
    },
  }
}

async function look(machine: Machine, service: string, resolver: string | undefined): Promise<Seen | undefined> {
  try {
    const [nodes, tasks, addresses] = await Promise.all([
      machine.client.get<readonly ApiNode[]>('/nodes'),
      machine.client.get<readonly ApiTask[]>('/tasks', { filters: JSON.stringify({ service: [service] }) }),
      resolver === undefined ? undefined : resolve(resolver, `tasks.${service}`),
    ])
    const names = new Map(nodes.map((node) => [node.ID, node.Spec.Name || node.Description.Hostname]))
    const states = new Map(nodes.map((node) => [names.get(node.ID) ?? node.ID, stateOf(node)]))
    const running = new Map(
      tasks
        .filter((task) => task.Status.State === 'running' && task.DesiredState === 'running')
        .map((task) => [String(task.Slot), names.get(task.NodeID ?? '') ?? ''] as const)
        .filter(([, node]) => states.get(node) !== 'down'),
    )
    return {
      by: machine.name,
      atMs: performance.now(),
      nodes: states,
      running,
      addresses: addresses === undefined ? undefined : new Set(addresses),
    }
  } catch {
    // It died between two looks; the next look tells.
    return undefined
  }
}

/** A suspect is ready in Docker's words; its message says that new connections avoid it. */
function stateOf({ Status }: ApiNode): string {
  return Status.Message?.startsWith('suspect') ? 'suspect' : Status.State
}

/** A addresses of a name, asked of a resolver `address:port`; undefined when it does not answer. */
export function resolve(resolver: string, name: string): Promise<readonly string[] | undefined> {
  const at = resolver.lastIndexOf(':')
  const socket = createSocket('udp4')
  return new Promise((done) => {
    const end = (answer: readonly string[] | undefined) => {
      clearTimeout(timer)
      socket.close()
      done(answer)
    }
    const timer = setTimeout(() => end(undefined), dnsTimeoutMs)
    socket.on('error', () => end(undefined))
    socket.on('message', (message) => {
      const answers = dnsPacket.decode(message).answers ?? []
      end(answers.flatMap((a) => (a.type === 'A' ? [a.data] : [])))
    })
    // Connected, so that the resolver of a task that has ended is known as gone at once.
    socket.connect(Number(resolver.slice(at + 1)), resolver.slice(0, at), () => {
      socket.send(dnsPacket.encode({ type: 'query', id: 1, questions: [{ name, type: 'A' }] }))
    })
  })
}
