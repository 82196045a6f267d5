/**
 * The agent of production: createNode over the real world, with its data plane, resolvers and API, from configuration to exit code.
 *
 * Long because it is the one place that puts all parts together, in the order in which they begin and, backwards, end. No policy here.
 */

import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { join, resolve } from 'node:path'
import { type ApiServer, createApiServer } from './api/server.ts'
import type { AgentConfig } from './config.ts'
import { createUserspaceDataplane } from './dataplane/userspace/dataplane.ts'
import { openDisk } from './disk.ts'
import { nameservers, parseServer } from './dns/resolv-conf.ts'
import type { UpstreamServer } from './dns/upstream.ts'
import { createEventRing } from './events.ts'
import { Fault, fault, reasonOf } from './fault.ts'
import { createLog } from './log.ts'
import { createMesh } from './mesh/mesh.ts'
import { createNode, type Node } from './node.ts'
import { createClock, createRandom } from './real.ts'
import { createProcessRuntime } from './runtime/process/runtime.ts'
import { admissionOf, meshMembersOf } from './start/admission.ts'
import { createContext } from './start/context.ts'
import { createNames } from './start/names.ts'
import { type Belonging, lockDirectory, readBelonging, writeBelonging } from './start/place.ts'
import { createResolvers, usableDnsPort } from './start/resolvers.ts'
import { agentVersion, selfFacts } from './start/self.ts'
import { transportTimes } from './transport/admission.ts'
import { createTransport, type Libp2pTransport } from './transport/transport.ts'
import { isLateStreamError } from './transport/uncaught.ts'
import { clusterTag, foundCluster, signRemoval } from './trust/certificate.ts'
import { loadIdentity } from './trust/identity.ts'
import { parseToken, type Token } from './trust/token.ts'
import type { ReplicatedView } from './view.ts'
import type { Log } from './world.ts'

/** What the agent needs of its process (cli/io.ts Io fits). */
export interface AgentIo {
  readonly out: { write(text: string): void }
  readonly err: { write(text: string): void; readonly isTTY: boolean }
  onInterrupt(listener: (signal: 'SIGINT' | 'SIGTERM') => void): () => void
}

/** A founder's first token lives a day: long enough to set machines up, short enough to be found in a scroll-back too late. */
const firstTokenMs = 24 * 60 * 60 * 1000

/** Runs the agent until it is told to end. Resolves to its exit code: 0 after a good end, 1 after an error, 3 when it was removed. */
export async function startAgent(config: AgentConfig, io: AgentIo): Promise<number> {
  const log = createLog(config.log.level, io.err)
  guardProcess(log)
  const agent = await begin(withWholePath(config), io, log)
  return agent.ended
}

/** Shims and their mounts work in other directories, where a relative path leads nowhere. */
function withWholePath(config: AgentConfig): AgentConfig {
  return { ...config, node: { ...config.node, dataDir: resolve(config.node.dataDir) } }
}

interface Ending {
  readonly code: number
  readonly how: 'leave' | 'back-soon' | 'at-once'
}

async function begin(config: AgentConfig, io: AgentIo, log: Log): Promise<{ readonly ended: Promise<number> }> {
  const { dataDir } = config.node
  const [clock, random] = [createClock(), createRandom()]
  const disk = await openDisk(dataDir)
  const unlock = await lockDirectory(dataDir)
  const identity = loadIdentity(dataDir)
  const token = readToken(config)
  const known = await belongingOf(await readBelonging(disk), token, config)
  const founded = known === undefined && token === undefined ? foundCluster(identity) : undefined
  const cluster = known?.cluster ?? token?.cluster ?? founded?.cluster
  if (cluster === undefined) throw fault('internal', 'no cluster was founded, known or named by a token')

  let end: (ending: Ending) => void = () => {}
  const ending = new Promise<Ending>((resolve) => {
    end = resolve
  })
  let node: Node | undefined
  const view = (): ReplicatedView | undefined => node?.view
  const events = createEventRing(clock)
  const runtime = createProcessRuntime({ dir: join(dataDir, 'tasks'), clock, log })
  const mesh = await createMesh({ identity, listen: meshPlaces(config), members: meshMembersOf(view), clock, log })
  const dnsPort = await usableDnsPort(config.dns.ports)
  const names = createNames({
    view,
    isReady: (network) => node?.isReady(network) ?? false,
    upstream: await upstreamOf(config),
    clock,
    random,
    log,
  })
  const resolvers = createResolvers(() => dataplane.block, dnsPort)
  const dataplane = await createUserspaceDataplane({
    self: identity.nodeId,
    mesh,
    addresses: config.dataplane.addresses,
    clock,
    random,
    log,
    resolverFor: (task) => resolvers.of(task),
    hosts: { dir: join(dataDir, 'hosts'), namesFor: names.hostsOf },
  })
  let removed = false
  /** Told by gossip, or by the members that refuse it. What it ran now runs elsewhere. */
  function onRemoved(): void {
    if (removed) return
    removed = true
    log.error('This node was removed from the cluster; it ends. To take it in again, give it a new data directory')
    end({ code: 3, how: 'leave' })
  }
  let transport: Libp2pTransport | undefined
  node = await createNode(
    {
      clock,
      random,
      disk,
      log,
      events,
      runtime,
      dataplane: names.around(dataplane, resolvers),
      transport: (replicated) => {
        transport = createTransport({
          identity,
          cluster,
          clusterTag: clusterTag(cluster),
          certificate: known?.certificate ?? founded?.certificate,
          listen: config.transport.listen,
          advertise: config.transport.advertise,
          admission: admissionOf(replicated),
          clock,
          random,
          log,
          times: transportTimes[config.preset],
          build: agentVersion,
          onRemoved,
        })
        return transport
      },
    },
    {
      self: identity.nodeId,
      run: Buffer.from(random.bytes(16)).toString('hex'),
      startedMs: Math.floor(clock.wall()),
      times: config.times,
      onDuplicate(yields) {
        if (!yields) return
        log.error('This agent ends: its data directory is a copy, and the node it was copied from runs elsewhere')
        end({ code: 1, how: 'at-once' })
      },
      onRemoved,
    },
  )
  const running = node
  const control = transport as Libp2pTransport | undefined
  if (control === undefined) throw fault('internal', 'the node was made without a transport')
  const undoInterrupt = listenToSignals(io, end)

  await running.connect()
  const belonging = await admit(control, { config, token, cluster, certificate: control.certificate(), io, ending })
  let api: ApiServer | undefined
  let metricsServer: Server | undefined
  if (belonging !== undefined) {
    await writeBelonging(disk, belonging)
    const created = running.view.stamp()
    const settings = { name: 'grapevine', created, addressPool: '10.0.0.0/8' }
    const facts = () =>
      selfFacts(config, identity, {
        listen: control.listening(),
        mesh: meshAddresses(control.listening(), mesh.listening, config),
        certificate: belonging.certificate,
      })
    await running.begin(facts(), founded === undefined ? undefined : settings)
    const context = createContext({
      config,
      node: running,
      mesh,
      dataplane,
      runtime,
      names,
      events,
      clock,
      random,
      log,
      cluster,
      dnsPort,
      transportCounters: () => control.counters(),
      joinAddress: () => joinAddress(control.listening()),
      signRemoval: (target, atMs) =>
        signRemoval({ cluster, node: target, by: identity.nodeId, atMs }, identity, belonging.certificate),
      stop: ({ keepTasks }) => end({ code: 0, how: keepTasks ? 'back-soon' : 'leave' }),
    })
    api = await createApiServer(context, { socket: config.api.socket })
    const serve = api.serve
    mesh.onStream((stream) => serve(stream))
    running.view.watch((notice) => {
      if (notice.kind === 'liveness' && notice.after === 'dead') mesh.nodeLost(notice.node)
      if (notice.kind === 'changes') {
        for (const change of notice.changes) if (change.kind === 'removal') mesh.closeNode(change.id)
      }
    })
    metricsServer =
      config.api.metrics === undefined ? undefined : await serveMetrics(config.api.metrics, context.metrics)
    const first = founded === undefined ? undefined : await context.tokens.issue(firstTokenMs)
    greet(io, { config, cluster, node: identity.nodeId, control, join: first?.join })
  }

  return {
    ended: ending.then(async ({ code, how }) => {
      undoInterrupt()
      const stopSecond = io.onInterrupt(() => process.exit(130))
      await api?.close()
      metricsServer?.close()
      if (how === 'leave') {
        log.info('draining: tasks stop here and run elsewhere; a second signal ends at once')
        await running.leave()
      } else await running.stop({ backSoon: how === 'back-soon' })
      await names.close()
      await dataplane.close()
      await mesh.close()
      await runtime.close()
      unlock()
      stopSecond()
      return code
    }),
  }
}

function readToken(config: AgentConfig): Token | undefined {
  const { token: text, join: addresses } = config.transport
  if (text === undefined) return undefined
  const token = parseToken(text)
  if (token instanceof Fault) throw token
  if (addresses.length === 0) throw fault('invalid', 'a token needs an address to join by', 'Add --join <multiaddr>')
  return token
}

/** What the data directory says, against what is asked for now. */
async function belongingOf(
  known: Belonging | undefined,
  token: Token | undefined,
  config: AgentConfig,
): Promise<Belonging | undefined> {
  if (known !== undefined && token !== undefined && token.cluster !== known.cluster) {
    throw fault(
      'conflict',
      `The data directory ${config.node.dataDir} belongs to cluster ${known.cluster.slice(0, 12)}, the token to ${token.cluster.slice(0, 12)}`,
      'Join with another --data-dir, or without the token to go back to the old cluster',
    )
  }
  if (known === undefined && token === undefined && config.transport.join.length > 0) {
    throw fault('invalid', 'To join a cluster a new node needs a token', 'Print one on any member with: vine token')
  }
  return known
}

interface Admitting {
  readonly config: AgentConfig
  readonly token: Token | undefined
  readonly cluster: string
  readonly certificate: Uint8Array | undefined
  readonly io: AgentIo
  readonly ending: Promise<Ending>
}

/** Waits for admission where it is needed; says what stands in the way. Undefined when the agent was ended meanwhile. */
async function admit(control: Libp2pTransport, asked: Admitting): Promise<Belonging | undefined> {
  const { config, token, cluster, certificate, io } = asked
  const { join: addresses } = config.transport
  if (addresses.length === 0) return certificate === undefined ? undefined : { cluster, certificate }
  let told = ''
  const joining = control.join({
    addresses,
    secret: token?.secret,
    onProblems(problems) {
      const text = problems
        .map(({ address, sentence, fix }) => `Cannot join through ${address}: ${sentence}\n  ${fix}\n`)
        .join('')
      // The same trouble is told once, however often it is tried.
      if (text !== told) io.err.write(`${text}Still trying; Ctrl-C ends\n`)
      told = text
    },
  })
  if (certificate !== undefined) return { cluster, certificate }
  const outcome = await Promise.race([joining.joined, asked.ending])
  if (!('by' in outcome)) {
    joining.stop()
    return undefined
  }
  return { cluster, certificate: outcome.certificate }
}

/** Five lines: who, where to, listening, serving, and how the next one joins. */
function greet(
  io: AgentIo,
  it: { config: AgentConfig; cluster: string; node: string; control: Libp2pTransport; join: string | undefined },
): void {
  const { config } = it
  io.out.write(
    [
      `Node ${config.node.name} (${it.node.slice(0, 12)})`,
      `Cluster ${it.cluster.slice(0, 12)}, ${it.join === undefined ? 'joined' : 'founded by this node'}`,
      `Members reach it at ${it.control.listening().join(', ')}`,
      `Published ports answer on ${config.dataplane.addresses.join(', ')}`,
      it.join === undefined
        ? 'To let another machine join, see: vine token'
        : `To join from another machine: ${it.join}`,
      '',
    ].join('\n'),
  )
}

/** The first address that another machine can dial; its /p2p/ part may be left out. */
function joinAddress(listening: readonly string[]): string {
  const plain = listening.map((address) => address.replace(/\/p2p\/.*$/, ''))
  return plain.find((address) => !address.includes('/127.')) ?? plain[0] ?? '<address>'
}

/** The mesh listens beside the control plane, on the next port. */
function meshPlaces(config: AgentConfig): readonly { readonly host: string; readonly port: number }[] {
  return config.transport.listen.map((address) => {
    const [, , host = '0.0.0.0', , port = '0'] = address.split('/')
    return { host, port: Number(port) === 0 ? 0 : Number(port) + 1 }
  })
}

/** Where others dial the mesh: the hosts they reach the control plane by, with the mesh's port. */
function meshAddresses(
  listening: readonly string[],
  own: readonly { readonly host: string; readonly port: number }[],
  config: AgentConfig,
): readonly { readonly host: string; readonly port: number }[] {
  const port = own[0]?.port ?? 0
  const hosts =
    config.transport.advertise.length > 0 ? config.transport.advertise : listening.map((a) => a.split('/')[2] ?? '')
  return [...new Set(hosts)].filter((host) => host !== '').map((host) => ({ host, port }))
}

async function upstreamOf(config: AgentConfig): Promise<readonly UpstreamServer[]> {
  if (config.dns.upstream !== undefined) return config.dns.upstream.flatMap((text) => parseServer(text) ?? [])
  const text = await readFile('/etc/resolv.conf', 'utf8').catch(() => '')
  return nameservers(text, (host) => /^127\.(1[6-9]|[2-9]\d|1\d\d|2[0-4]\d|25[0-4])\./.test(host))
}

function serveMetrics(place: { readonly host: string; readonly port: number }, text: () => string): Promise<Server> {
  const server = createServer((request, response) => {
    const known = request.method === 'GET' && /^\/(grapevine\/)?metrics$/.test(request.url ?? '')
    response.writeHead(known ? 200 : 404, { 'content-type': 'text/plain; version=0.0.4' })
    response.end(known ? text() : 'Metrics are at /metrics\n')
  })
  return new Promise((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        fault(
          'port-taken',
          `--metrics ${place.host}:${place.port} cannot be bound: ${cause.message}`,
          'Choose another port',
          cause,
        ),
      ),
    )
    server.listen(place, () => resolve(server))
  })
}

function listenToSignals(io: AgentIo, end: (ending: Ending) => void): () => void {
  return io.onInterrupt(() => end({ code: 0, how: 'leave' }))
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
