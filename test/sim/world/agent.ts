// Starts the production node on a machine of the world. The identity lies on the machine's disk, so a copied disk is a copied identity; who
// was given one is certified, as if admitted with a token, and any member that it dials lets it in.
import type { World as NodeWorld, SelfFacts } from '../../../agent/node.ts'
import { createNode, type Node } from '../../../agent/node.ts'
import { type Preset, presets } from '../../../agent/presets.ts'
import { type Admission, transportTimes } from '../../../agent/transport/admission.ts'
import type { ReplicatedView } from '../../../agent/view.ts'
import type { Events, Log, NodeEvent } from '../../../agent/world.ts'
import { idFromBytes, type NodeId } from '../../../protocol/ids.ts'
import type { Machine } from './machine.ts'
import { createSimDataplane, type SimDataplane } from './plane.ts'
import { createProcess, type Process } from './process.ts'
import { createSimRuntime } from './programs.ts'
import { createSimTransport, type SimTransport } from './transport.ts'
import type { World } from './world.ts'

export interface Agent {
  readonly machine: Machine
  readonly process: Process
  readonly self: NodeId
  readonly run: string
  readonly startedMs: number
  readonly dataplane: SimDataplane
  transport: SimTransport | undefined
  node: Node | undefined
  /** Takes part: its member record is written and its tasks are adopted. */
  begun: boolean
  /** It said that it leaves, or was told to end for good. */
  saidBackSoon: boolean
  over: 'left' | 'duplicate' | 'removed' | undefined
}

export interface AgentOptions {
  readonly world: World
  readonly machine: Machine
  readonly preset: Preset
  /** Begins a new cluster. */
  readonly founding: boolean
  /** Addresses of members. */
  readonly bootstrap: readonly string[]
}

const identityFile = 'identity'
/** A joiner that hears nothing for so long begins alone and goes on trying, as one with an old journal does. */
const joinWaitMs = 2_000

/** Returns at once; the agent comes up as virtual time passes. */
export function startAgent(options: AgentOptions): Agent {
  const { world, machine } = options
  const { self, isNew } = identityOf(machine, world)
  const process = createProcess(world.time, machine, world.nextRun())
  const chance = world.chance.stream(`${machine.name} run ${process.number}`)
  const agent: Agent = {
    machine,
    process,
    self,
    run: `run-${process.number}`,
    startedMs: machine.wall(),
    dataplane: createSimDataplane(world.time, chance.stream('plane'), process),
    transport: undefined,
    node: undefined,
    begun: false,
    saidBackSoon: false,
    over: undefined,
  }
  machine.process = process
  process.onEnd(() => {
    if (machine.process === process) machine.process = undefined
    if (machine.isOn()) machine.disk.crash('torn')
  })
  const nodeWorld: NodeWorld = {
    clock: process.clock,
    random: chance.stream('random'),
    disk: machine.disk.openFor(process),
    log: quietLog(world, agent),
    events: events(world, agent),
    runtime: createSimRuntime({
      time: world.time,
      chance: chance.stream('programs'),
      process,
      onStart: (program) => world.tell({ is: 'started', agent, program }),
      onEnd: (program) => world.tell({ is: 'ended', agent, program }),
      onStop: (program) => world.tell({ is: 'signalled', agent, program }),
    }),
    dataplane: agent.dataplane,
    transport: (view) => {
      agent.transport = createSimTransport({
        self,
        time: world.time,
        chance: chance.stream('transport'),
        net: world.net,
        process,
        admission: admissionOf(view, world, self),
        listenerAt: world.listenerAt,
        isCertified: (node) => world.certified.has(node),
        bootstrap: options.bootstrap,
        times: transportTimes[options.preset],
      })
      return agent.transport
    },
  }
  world.time.after(0, () => process.enter(() => void bringUp(agent, nodeWorld, { ...options, isNew })))
  return agent
}

async function bringUp(
  agent: Agent,
  nodeWorld: NodeWorld,
  { world, preset, founding, bootstrap, isNew }: AgentOptions & { readonly isNew: boolean },
): Promise<void> {
  const { process, machine } = agent
  const end = (over: 'duplicate' | 'removed') => {
    agent.over = over
    world.tell({ is: 'gave up', agent, why: over })
    world.time.after(0, () => process.end())
  }
  const node = await createNode(nodeWorld, {
    self: agent.self,
    run: agent.run,
    startedMs: agent.startedMs,
    times: presets[preset],
    onDuplicate: (yields) => {
      world.tell({ is: 'met its double', agent, yields })
      if (yields) end('duplicate')
    },
    onRemoved: () => end('removed'),
  })
  agent.node = node
  world.tell({ is: 'made', agent })
  await node.connect()
  if (isNew && !founding && bootstrap.length > 0) await joined(agent, node)
  if (process.state() === 'ended') return
  await node.begin(factsOf(machine), founding ? settings(node.view) : undefined)
  agent.begun = true
  world.tell({ is: 'began', agent })
}

/** Connected, and caught up with somebody. */
function joined({ process, transport }: Agent, node: Node): Promise<void> {
  const untilMs = process.clock.now() + joinWaitMs
  return new Promise((resolve) => {
    const look = () => {
      const isIn = (transport?.connected().length ?? 0) > 0 && node.view.settings !== undefined && node.need() === 0
      if (isIn || process.clock.now() > untilMs) resolve()
      else process.clock.after(20, look)
    }
    look()
  })
}

export function identityOf(machine: Machine, world: World): { readonly self: NodeId; readonly isNew: boolean } {
  const held = machine.disk.image().get(identityFile)
  if (held !== undefined) return { self: Buffer.concat(held).toString(), isNew: false }
  const self = idFromBytes(world.chance.stream(`identity ${machine.name} ${machine.boot()}`).bytes(16))
  machine.disk.put(identityFile, Buffer.from(self))
  world.certified.add(self)
  return { self, isNew: true }
}

export function factsOf(machine: Machine): SelfFacts {
  return {
    name: machine.name,
    peerId: `peer-${machine.name}`,
    boot: machine.boot(),
    listen: [machine.address],
    mesh: [{ host: machine.address, port: 7767 }],
    addresses: [machine.address],
    engineLabels: {},
    platform: { os: 'linux', arch: 'x86_64' },
    resources: { nanoCpus: 4e9, memoryBytes: 8e9 },
    version: 'sim',
    runtimes: ['process'],
    dataplane: 'userspace',
  }
}

function settings(view: ReplicatedView) {
  return { name: 'sim', created: view.stamp(), addressPool: '10.0.0.0/8' }
}

function admissionOf(view: ReplicatedView, world: World, self: NodeId): Admission {
  return {
    isMember: (node) => view.members.has(node),
    isRemoved: (node) => view.removals.has(node),
    token: () => undefined,
    members: () =>
      [...view.members.values()]
        .filter(({ id, liveness }) => id !== self && liveness !== 'left')
        .map(({ id, record }) => ({ node: id, peerId: record.value.peerId, listen: record.value.listen })),
    nameOf: (node) => world.nameOf(node),
    seed: () => new Uint8Array(),
  }
}

function events(world: World, agent: Agent): Events {
  return {
    emit: (event) => {
      if (agent.process.state() === 'ended') return
      world.tell({ is: 'event', agent, event: { ...event, atMs: agent.machine.wall() } satisfies NodeEvent })
    },
  }
}

/** Errors of a node are part of its story; the rest is told by its events. */
function quietLog(world: World, agent: Agent): Log {
  return {
    debug() {},
    info() {},
    warn() {},
    error: (message, fields) => world.tell({ is: 'error', agent, message, fields: fields ?? {} }),
  }
}
