/**
 * The agent of production: createNode over the real world, with its edges and its API, from configuration to exit code.
 *
 * The one place that puts all parts together, in the order in which they begin and, backwards, end. No policy here.
 */
import { resolve } from 'node:path'
import type { AgentConfig } from './config.ts'
import { openDisk } from './disk.ts'
import { createEventRing, type EventRing } from './events.ts'
import { fault, reasonOf } from './fault.ts'
import { createLog } from './log.ts'
import { createNode, type Node } from './node.ts'
import { createClock, createRandom } from './real.ts'
import { admissionOf } from './start/admission.ts'
import { createContext } from './start/context.ts'
import { type Edges, type Outside, openEdges } from './start/edges.ts'
import { createEndingDesk, type EndingDesk } from './start/ending.ts'
import { greeting } from './start/greet.ts'
import { admit, firstWord, type Origin, originOf } from './start/join.ts'
import { type Belonging, lockDirectory, readBelonging, writeBelonging } from './start/place.ts'
import { joinAddress, meshAddresses } from './start/reach.ts'
import { agentVersion, selfFacts, wireguardFacts } from './start/self.ts'
import { type Serving, serve } from './start/serve.ts'
import { transportTimes } from './transport/admission.ts'
import { createTransport, type Libp2pTransport } from './transport/transport.ts'
import { isLateStreamError } from './transport/uncaught.ts'
import { clusterTag, signRemoval } from './trust/certificate.ts'
import { type Identity, loadIdentity } from './trust/identity.ts'
import type { ReplicatedView } from './view.ts'
import type { Disk, Log, Mesh } from './world.ts'

/** For `vine doctor` where no agent runs. */
export { cleanKernel, kernelLeftovers } from './start/leftovers.ts'

/** What the agent needs of its process (cli/io.ts Io fits). */
export interface AgentIo {
  readonly out: { write(text: string): void }
  readonly err: { write(text: string): void; readonly isTTY: boolean }
  onInterrupt(listener: (signal: 'SIGINT' | 'SIGTERM') => void): () => void
}

/** A founder's first token lives a day: long enough to set machines up, short enough to be found in a scroll-back too late. */
const firstTokenMs = 24 * 60 * 60 * 1000
/** The pool that Swarm takes the subnets of overlay networks from. */
const addressPool = '10.0.0.0/8'

/** Runs the agent until it is told to end. Resolves to its exit code: 0 after a good end, 1 after an error, 3 when it was removed. */
export async function startAgent(given: AgentConfig, io: AgentIo): Promise<number> {
  // Shims and their mounts work in other directories, where a relative path leads nowhere.
  const config = { ...given, node: { ...given.node, dataDir: resolve(given.node.dataDir) } }
  const log = createLog(config.log.level, io.err)
  guardProcess(log)
  const disk = await openDisk(config.node.dataDir)
  const unlock = await lockDirectory(config.node.dataDir)
  const ending = createEndingDesk((listener) => io.onInterrupt(listener), log)
  try {
    const identity = loadIdentity(config.node.dataDir)
    const origin = originOf(config, identity, await readBelonging(disk))
    const outside: Outside = { clock: createClock(), random: createRandom(), log }
    const api: Parts['api'] = { serving: undefined }
    let node: Node | undefined
    const edges = await openEdges(config, identity, outside, () => node)
    try {
      const events = createEventRing(outside.clock)
      const parts: Parts = { config, identity, origin, ending, outside, edges, disk, events, api, io }
      const opened = await openNode(parts)
      node = opened.node
      return await live(parts, opened)
    } finally {
      await edges.close()
      await api.serving?.close()
    }
  } finally {
    unlock()
    ending.close()
  }
}

interface Parts {
  readonly config: AgentConfig
  readonly identity: Identity
  readonly origin: Origin
  readonly ending: EndingDesk
  readonly outside: Outside
  readonly edges: Edges
  readonly disk: Disk
  readonly events: EventRing
  /** From when it takes part. Closed last of all: whoever asked the agent to end waits for its silence. */
  readonly api: { serving: Serving | undefined }
  readonly io: AgentIo
}

interface Opened {
  readonly node: Node
  readonly control: Libp2pTransport
}

async function openNode(parts: Parts): Promise<Opened> {
  const { config, identity, origin, ending, outside, edges, disk, events } = parts
  let control: Libp2pTransport | undefined
  const transport = (view: ReplicatedView) => {
    control = createTransport({
      ...outside,
      identity,
      cluster: origin.cluster,
      clusterTag: clusterTag(origin.cluster),
      certificate: origin.certificate,
      listen: config.transport.listen,
      advertise: config.transport.advertise,
      addresses: config.dataplane.addresses,
      admission: admissionOf(view),
      times: transportTimes[config.preset],
      build: agentVersion,
      onRemoved: ending.onRemoved,
    })
    return control
  }
  const { runtime, dataplane, containers } = edges
  const node = await createNode(
    { ...outside, disk, events, runtime, dataplane, containers, transport },
    {
      self: identity.nodeId,
      run: Buffer.from(outside.random.bytes(16)).toString('hex'),
      startedMs: Math.floor(outside.clock.wall()),
      times: config.times,
      onDuplicate: ending.onDuplicate,
      onRemoved: ending.onRemoved,
    },
  )
  if (control === undefined) throw fault('internal', 'the node was made without a transport')
  return { node, control }
}

/** Connects, is let in, takes part, and ends when it is told to. An error on the way ends the node too, with its tasks kept. */
async function live(parts: Parts, opened: Opened): Promise<number> {
  const { config, origin, ending, io } = parts
  const { node, control } = opened
  try {
    await node.connect()
    const belonging = await admit(control, {
      addresses: config.transport.join,
      origin,
      tell: (text) => io.err.write(text),
      ending: ending.decided,
      isEnding: ending.isDecided,
    })
    if (belonging !== undefined) await takePart(parts, opened, belonging)
    return await end(node, belonging !== undefined, ending, parts.outside.log)
  } catch (thrown) {
    await node.stop({ backSoon: false })
    throw thrown
  }
}

/** From admission on: says that this node is up, serves its API, and greets. */
async function takePart(parts: Parts, { node, control }: Opened, belonging: Belonging): Promise<void> {
  const { config, identity, origin, ending, outside, edges } = parts
  const { cluster, certificate } = belonging
  await writeBelonging(parts.disk, belonging)
  const mesh = meshAddresses(config, control.listening(), edges.mesh.listening)
  const facts = selfFacts(config, identity, {
    listen: control.listening(),
    mesh,
    certificate,
    dataplane: edges.chosen,
    runtime: edges.chosenRuntime,
    wireguard: await wireguardFacts(edges.wireguard),
  })
  const settings = { name: 'grapevine', created: node.view.stamp(), addressPool }
  await node.begin(facts, origin.isFounder ? settings : undefined)
  tellMesh(node.view, edges.mesh)
  const context = createContext({
    ...outside,
    config,
    node,
    edges,
    events: parts.events,
    cluster,
    transportCounters: () => control.counters(),
    joinAddress: () => joinAddress(control.listening()),
    signRemoval: (target, atMs) =>
      signRemoval({ cluster, node: target, by: identity.nodeId, atMs }, identity, certificate),
    stop: ({ keepTasks }) => ending.decide({ code: 0, how: keepTasks ? 'back-soon' : 'leave' }),
    isEnding: ending.isDecided,
  })
  parts.api.serving = await serve(config, context, edges.mesh)
  const first = origin.isFounder ? await context.tokens.issue(firstTokenMs) : undefined
  if (node.view.members.size > 1) await firstWord(control, () => ending.isDecided(), outside.clock)
  // One that was removed meanwhile takes part only to stop its tasks: it greets nobody.
  if (ending.isDecided()) return
  parts.io.out.write(
    greeting({
      name: config.node.name,
      node: identity.nodeId,
      cluster,
      listening: control.listening(),
      addresses: config.dataplane.addresses,
      join: first?.join,
    }),
  )
}

/** Flows to a dead node end at once; a removed one keeps no connection. */
function tellMesh(view: ReplicatedView, mesh: Mesh): void {
  view.watch((notice) => {
    if (notice.kind === 'liveness' && notice.after === 'dead') mesh.nodeLost(notice.node)
    if (notice.kind !== 'changes') return
    for (const change of notice.changes) if (change.kind === 'removal') mesh.closeNode(change.id)
  })
}

/** Waits for the word to end, and ends the node as it says. Resolves to the exit code. */
async function end(node: Node, tookPart: boolean, ending: EndingDesk, log: Log): Promise<number> {
  const { code, how } = await ending.decided
  if (how === 'give-way') await node.giveWay()
  // One that was never let in has nothing to drain and nobody to tell.
  else if (how === 'leave' && tookPart) {
    log.info('draining: tasks stop here and run elsewhere; a second signal ends at once')
    await node.leave()
  } else await node.stop({ backSoon: how === 'back-soon' })
  return code
}

/** A stream that errs after its end must not take the agent down (ecosystem.md 2, trap 22); anything else is a bug, and is told. */
function guardProcess(log: Log): void {
  process.on('uncaughtException', (error) => {
    if (isLateStreamError(error)) return log.warn(`a stream was used after its end: ${error.message}`)
    log.error(`the agent stops on an error of its own: ${error.stack ?? error.message}`)
    process.exit(1)
  })
  process.on('unhandledRejection', (thrown) => {
    log.error(`an error was not handled: ${thrown instanceof Error ? thrown.stack : reasonOf(thrown)}`)
  })
}
