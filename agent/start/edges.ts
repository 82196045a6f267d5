/**
 * The edges around the node: mesh, data plane, resolvers and runtime, opened in the order in which they need each other.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { GuestId, TaskId } from '../../protocol/ids.ts'
import { createContainers } from '../api/engine/containers.ts'
import { createEngine, type Engine } from '../api/engine/engine.ts'
import type { AgentConfig } from '../config.ts'
import { isLiveGuest, isLiveTask } from '../core/live.ts'
import type { View } from '../core/view.ts'
import { createUserspaceDataplane, type UserspaceDataplane } from '../dataplane/userspace/dataplane.ts'
import { nameservers, parseServer } from '../dns/resolv-conf.ts'
import type { UpstreamServer } from '../dns/upstream.ts'
import { createMesh } from '../mesh/mesh.ts'
import type { Node } from '../node.ts'
import type { Identity } from '../trust/identity.ts'
import type { Clock, Containers, Dataplane, Log, Mesh, Random, Runtime } from '../world.ts'
import { meshMembersOf } from './admission.ts'
import { type Chosen, chooseDataplane } from './dataplane.ts'
import { cleanKernel, type Kernel, kernelLeftovers } from './leftovers.ts'
import type { OpenedLinux, Wireguard } from './linux.ts'
import { type Addresses, createNames, type Names } from './names.ts'
import { meshPlaces } from './reach.ts'
import { createResolvers, usableDnsPort } from './resolvers.ts'
import { type ChosenRuntime, openRuntime } from './runtime.ts'

export interface Outside {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

export interface Edges {
  readonly mesh: Mesh
  readonly runtime: Runtime
  /** Which runtime was chosen. */
  readonly chosenRuntime: ChosenRuntime
  /** What forwards in this process: all, or with the linux data plane what is left to it. */
  readonly forwarding: UserspaceDataplane
  /** Which data plane was chosen. */
  readonly chosen: Chosen
  /** With the linux data plane. */
  readonly wireguard: Wireguard | undefined
  readonly passage: OpenedLinux['passage'] | undefined
  /** It, with a resolver for each attached task: what the node is given. */
  readonly dataplane: Dataplane
  readonly names: Names
  /** Port on which the resolvers of tasks answer. */
  readonly dnsPort: number
  readonly kernel: Kernel
  /** The Docker engine of this machine, and its containers; undefined: none is to be asked. */
  readonly engine: Engine | undefined
  readonly containers: Containers | undefined
  close(): Promise<void>
}

/** `node` gives the node once there is one: the edges open first, because it is made of them. */
export async function openEdges(
  config: AgentConfig,
  identity: Identity,
  outside: Outside,
  node: () => Node | undefined,
): Promise<Edges> {
  const { dataDir } = config.node
  const chosen = await chooseDataplane(config)
  const linux = chosen.kind === 'linux' ? await import('./linux.ts') : undefined
  const view = () => node()?.view
  const { runtime, chosen: chosenRuntime } = await openRuntime(config, identity.nodeId, {
    ...outside,
    plane: chosen.kind,
  })
  const mesh = await createMesh({ identity, listen: meshPlaces(config), members: meshMembersOf(view), ...outside })
  // In a namespace of its own a task asks at port 53, wherever the agent listens.
  const dnsPort = linux === undefined ? await usableDnsPort(config.dns.ports) : 53
  const names = createNames({
    view,
    isReady: (network) => node()?.isReady(network) ?? false,
    upstream: await upstreamOf(config),
    ...outside,
  })
  const resolvers = createResolvers(() => forwarding.block, dnsPort)
  const forwarding = await createUserspaceDataplane({
    self: identity.nodeId,
    mesh,
    addresses: config.dataplane.addresses,
    resolverFor: (task) => resolvers.of(task),
    hosts: {
      dir: join(dataDir, 'hosts'),
      namesFor: (task) => linux?.ownName(task, view()) ?? names.hostsOf(task),
    },
    ...outside,
  })
  const opened = await linux?.openLinux({ config, identity, forwarding, outside, view })
  const plane = opened?.plane
  const inner = plane ?? forwarding
  // Without that data plane nothing in the kernel has a reason.
  const kept = () => (plane === undefined ? undefined : new Set([...plane.tasks(), ...liveHere(view())]))
  const addresses = linux?.overlayAddresses(view) ?? loopback(forwarding)
  const { socket } = config.runtime
  const engine = socket === undefined ? undefined : createEngine(socket)
  return {
    mesh,
    runtime,
    chosenRuntime,
    forwarding,
    chosen,
    wireguard: opened?.wireguard,
    passage: opened?.passage,
    dataplane: names.around(inner, addresses, resolvers),
    names,
    dnsPort,
    kernel: {
      leftovers: () => kernelLeftovers(dataDir, kept()),
      clean: () => cleanKernel(dataDir, kept()),
    },
    engine,
    containers: engine === undefined ? undefined : createContainers(engine, outside.clock),
    async close() {
      await names.close()
      await opened?.passage.close()
      await inner.close()
      await mesh.close()
      await runtime.close()
    },
  }
}

/** Loopback addresses are IPv4 alone, and lead to services and tasks: nothing answers at others for tasks of this data plane. */
function loopback(forwarding: UserspaceDataplane): Addresses {
  return {
    addressOf: (target, family) => (family === 4 && target.kind !== 'guest' ? forwarding.addressOf(target) : undefined),
    targetOf: (address) => forwarding.targetOf(address),
  }
}

/** Of this node: they may be on their way into the kernel, or be adopted. */
function liveHere(view: View | undefined): readonly (TaskId | GuestId)[] {
  if (view === undefined) return []
  const own = view.ownTasks().filter(({ value }) => isLiveTask(value, view))
  const guests = [...view.guests.values()].filter(({ value }) => value.node === view.self && isLiveGuest(value, view))
  return [...own, ...guests].map(({ id }) => id)
}

async function upstreamOf(config: AgentConfig): Promise<readonly UpstreamServer[]> {
  if (config.dns.upstream !== undefined) return config.dns.upstream.flatMap((text) => parseServer(text) ?? [])
  const text = await readFile('/etc/resolv.conf', 'utf8').catch(() => '')
  // Blocks of 127.16/16 to 127.254/16 are agents' own (dataplane/userspace/aliases.ts): asking them would lead back here.
  return nameservers(text, (host) => /^127\.(1[6-9]|[2-9]\d|1\d\d|2[0-4]\d|25[0-4])\./.test(host))
}
