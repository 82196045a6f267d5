// A small world for tests of the userspace data plane: agents with a mesh between them in this process, and tasks that are real sockets.
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { createServer, type ListenOptions, type Server, type Socket } from 'node:net'
import type { Backend, ForwardOptions, PublishedRoute, Routes } from '../../../agent/core/routes/types.ts'
import { createUserspaceDataplane, type UserspaceDataplane } from '../../../agent/dataplane/userspace/dataplane.ts'
import { createMesh } from '../../../agent/mesh/mesh.ts'
import { createClock, createRandom } from '../../../agent/real.ts'
import { createIdentity } from '../../../agent/trust/identity.ts'
import type { AttachRequest, Log, Mesh } from '../../../agent/world.ts'
import type { NodeId } from '../../../protocol/ids.ts'
import type { Protocol } from '../../../protocol/model.ts'

/** Three bytes of the addresses of this process's agents, marked as taken: below 127.16, where no agent has aliases of its own. */
const net: string = await claimNet()

/**
 * This one and the next two are free on every address of ours: below what the kernel gives to outgoing connections (32,768), so that nobody
 * comes in between.
 */
export const webPort: number = await freePorts(3)

/** The address of an agent, or of a client that is to be told apart. */
export function host(number: number): string {
  return `${net}.${number}`
}

export interface Agent {
  readonly id: NodeId
  readonly mesh: Mesh
  readonly plane: UserspaceDataplane
  readonly address: string
  /** Every warning, for tests of what is told. */
  readonly warnings: string[]
}

export interface World {
  readonly agents: readonly Agent[]
  readonly members: Set<NodeId>
  close(): Promise<void>
}

/** Agents on the first addresses of our net that know each other. */
export async function world(count: number, options: { readonly udpIdleMs?: number } = {}): Promise<World> {
  const identities = Array.from({ length: count }, createIdentity)
  const members = new Set(identities.map((i) => i.nodeId))
  const ports = new Map<NodeId, number>()
  const agents: Agent[] = []
  for (const [index, identity] of identities.entries()) {
    const address = host(index + 1)
    const warnings: string[] = []
    const log = quiet(warnings)
    const mesh = await createMesh({
      identity,
      listen: [{ host: address, port: 0 }],
      members: {
        isMember: (node) => members.has(node),
        meshAddresses: (node) => {
          const at = identities.findIndex((i) => i.nodeId === node)
          return at < 0 ? [] : [{ host: host(at + 1), port: ports.get(node) ?? 1 }]
        },
      },
      clock: createClock(),
      log,
    })
    ports.set(identity.nodeId, mesh.listening[0]!.port)
    const plane = await createUserspaceDataplane({
      self: identity.nodeId,
      mesh,
      addresses: [address],
      clock: createClock(),
      random: createRandom(),
      log,
      resolverFor: () => undefined,
      ...options,
    })
    agents.push({ id: identity.nodeId, mesh, plane, address, warnings })
  }
  return {
    agents,
    members,
    async close() {
      for (const agent of agents) await agent.plane.close()
      for (const agent of agents) await agent.mesh.close()
    },
  }
}

function quiet(warnings: string[]): Log {
  const keep = (message: string) => void warnings.push(message)
  return { debug: () => {}, info: () => {}, warn: keep, error: keep }
}

export interface TestTask {
  readonly backend: Backend
  readonly server: Server | undefined
  readonly udp: UdpSocket | undefined
  close(): Promise<void>
}

/** A task of an agent that answers at its real TCP port with `handler`. */
export async function tcpTask(agent: Agent, id: string, handler: (socket: Socket) => void): Promise<TestTask> {
  const { host, actual } = await attach(agent, id, 'tcp')
  const open = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => open.delete(socket))
    handler(socket)
  })
  await new Promise<void>((resolve) => server.listen(actual, host, resolve))
  return {
    backend: backendOf(agent, id, 'tcp', actual),
    server,
    udp: undefined,
    async close() {
      for (const socket of open) socket.resetAndDestroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** A task that answers each datagram with `<id>:<datagram>`. */
export async function udpTask(agent: Agent, id: string): Promise<TestTask> {
  const { host, actual } = await attach(agent, id, 'udp')
  const udp = createSocket('udp4')
  udp.on('message', (bytes, from) => udp.send(`${id}:${bytes.toString('latin1')}`, from.port, from.address))
  await new Promise<void>((resolve) => udp.bind(actual, host, resolve))
  udp.setRecvBufferSize(4 * 1024 * 1024)
  return {
    backend: backendOf(agent, id, 'udp', actual),
    server: undefined,
    udp,
    close: () => new Promise((resolve) => udp.close(() => resolve())),
  }
}

export function request(id: string, protocol: Protocol, target = 80, fixed?: number): AttachRequest {
  return {
    task: id,
    service: 'web',
    serviceName: 'web',
    slot: '1',
    networks: [],
    targets: [{ protocol, target }],
    fixed: new Map(fixed === undefined ? [] : [[target, fixed]]),
  }
}

async function attach(agent: Agent, id: string, protocol: Protocol) {
  const attachment = await agent.plane.attach(request(id, protocol))
  return { host: attachment.host, actual: attachment.ports[0]!.actual }
}

export function backendOf(agent: Agent, task: string, protocol: Protocol, actual: number): Backend {
  return {
    task,
    node: agent.id,
    local: true,
    suspect: false,
    healthy: true,
    host: agent.address,
    ports: [{ protocol, target: 80, actual }],
  }
}

/** The table of one agent: these backends, as it sees them. */
export function published(
  agent: Agent,
  backends: readonly Backend[],
  options: Partial<ForwardOptions & Pick<PublishedRoute, 'port' | 'protocol'>> = {},
): Routes {
  const { port = webPort, protocol = 'tcp', affinity = 'none', proxyProtocol = false } = options
  return {
    revision: 1,
    published: [
      {
        protocol,
        port,
        target: 80,
        mode: 'ingress',
        service: 'web',
        name: 'web',
        options: { affinity, proxyProtocol },
        backends: seenBy(agent, backends),
      },
    ],
    services: [],
    tasks: [],
  }
}

export function seenBy(agent: Agent, backends: readonly Backend[]): readonly Backend[] {
  return backends.map((b) => ({ ...b, local: b.node === agent.id }))
}

async function claimNet(): Promise<string> {
  for (let step = 0; step < 254; step++) {
    const claimed = `127.2.${1 + ((process.pid + step) % 254)}`
    if (await listens({ path: `\0grapevine test ${claimed}` })) return claimed
  }
  throw new Error('no 127.2.x net is free')
}

async function freePorts(count: number): Promise<number> {
  for (let port = 20_000; port < 32_000; port += count) {
    const taken = []
    for (let i = 0; i < count; i++) taken.push(await listens({ port: port + i, host: host(1) }, 'a moment'))
    if (taken.every((free) => free)) return port
  }
  throw new Error('no port is free')
}

/** Whether one can listen there; goes on listening for as long as this process lives unless only for a moment. */
function listens(place: ListenOptions, span: 'for good' | 'a moment' = 'for good'): Promise<boolean> {
  const server = createServer((socket) => socket.destroy())
  return new Promise((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(place, () => {
      if (span === 'for good') resolve(server.unref().listening)
      else server.close(() => resolve(true))
    })
  })
}
