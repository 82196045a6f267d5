/**
 * Makes and removes the kernel devices of this node's networks and tasks. One thing at a time; a network or a task is made whole or not at all.
 *
 * Everything a task sends is routed by its node's own namespace; no frame goes from task to task over a bridge, so that connection tracking and one
 * nft table see both directions. What is in the kernel is read at the start and after a failure; between, only differences are sent. Never touches a
 * device that has not the group of this agent (names.ts).
 */
import { existsSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import type { NetworkId, NodeId, TaskId } from '../../../protocol/ids.ts'
import type { Overlay, OverlayNetwork } from '../../core/routes/overlay.ts'
import { assert, fault, reasonOf } from '../../fault.ts'
import type { Clock, Log } from '../../world.ts'
import { holderText } from '../holders.ts'
import { difference, type Forwarding, forwardingOf } from './forwarding.ts'
import { type Found, isWhole, mtuAt, readKernel } from './found.ts'
import { bridgeName, cableName, linkGroup, namespaceName, nodeMac, taskMac, tunnelName } from './names.ts'
import {
  clashingRoute,
  makeLines,
  type NetworkDevices,
  networkDevices,
  portTaken,
  removeLines,
  type Site,
  sentences,
  tunnelOf,
} from './overlay-devices.ts'
import { type Cable, taskScript, tasksOf } from './task-namespace.ts'
import { batchAll, batchUntilRefused, type Refusal, run, writeSetting } from './tools.ts'

export interface TaskLinks {
  readonly task: TaskId
  /** In the order of its interfaces, eth0 first; ingress last. */
  readonly links: readonly { readonly network: NetworkId; readonly address: string }[]
  /** The agent's socket for this task's questions: the gateway of its first network, and a port of its own. */
  readonly resolver: { readonly host: string; readonly port: number }
}

export interface Devices {
  /**
   * Makes bridges, tunnels, forwarding and neighbour entries so, for these networks, nodes and places; removes ours that are not wanted any more, but
   * for the bridge of a network on which a task in `local` still is. Resolves to what failed, by network; such a network is not there at all.
   */
  apply(overlay: Overlay, local: readonly TaskLinks[]): Promise<readonly NetworkProblem[]>
  /**
   * Namespace with links, addresses, routes, resolver translation, and the bridges that it needs; nothing happens when all of it is there. Resolves to
   * the path for nsenter. Rejects with a Fault ('unavailable'), and then nothing is left of it.
   */
  createTask(links: TaskLinks, overlay: Overlay): Promise<{ readonly netns: string }>
  /** Of an unknown task: nothing happens. */
  removeTask(task: TaskId): Promise<void>
  /** The bridge of a network, for the firewall. */
  bridgeOf(network: NetworkId): string
  /** Tasks that have a namespace here, those of an earlier run of the agent too. */
  known(): readonly TaskId[]
}

export interface NetworkProblem {
  readonly network: NetworkId
  readonly sentence: string
}

export interface DevicesOptions {
  readonly self: NodeId
  /** This node's address for the others: the near end of tunnels. */
  readonly underlay: string
  readonly vxlanPort: number
  /** Whose devices these are: `markOf(data directory)`. */
  readonly mark: string
  readonly clock: Clock
  readonly log: Log
}

/** 60 s: how long the harm that another program does to our devices may last. A look costs 30 ms of CPU with 5,000 addresses. */
const trustMs = 60_000

/** What is in the kernel, as read and as changed since. */
interface State {
  readonly readAtMs: number
  readonly found: Found
  /** Our bridges that were read and not looked at since. */
  readonly unproven: Set<string>
  readonly site: Site
  /** Those that are there whole. */
  readonly networks: Map<NetworkId, NetworkDevices>
  /** Names of our bridges, whole or not. */
  readonly bridges: Set<string>
  readonly tasks: Map<TaskId, TaskLinks>
  forwarding: Forwarding
}

export async function createDevices(options: DevicesOptions): Promise<Devices> {
  const { self, underlay, vxlanPort, mark, clock, log } = options
  const group = linkGroup(mark)
  /** Undefined after a failure: then it is read again. */
  let state: State | undefined
  let last: Promise<unknown> = Promise.resolve()

  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = last.then(work)
    last = done.catch(() => {})
    return done
  }

  async function current(): Promise<State> {
    state ??= await read()
    return state
  }

  async function read(): Promise<State> {
    const found = await readKernel(group)
    const ours = [...found.links].filter(([, link]) => link.group === group)
    const tasks = tasksOf(
      ours.map(([, { alias }]) => alias),
      mark,
    )
    const cables = new Set([...tasks.values()].flatMap((task) => cablesOf(task)))
    // Cut off while it was made: its task never began.
    const unfinished = ours.map(([name]) => name).filter((name) => name.startsWith('vt') && !cables.has(name))
    await batchAll(
      'ip',
      unfinished.map((name) => `link delete dev ${name}`),
    )
    if (!writeSetting('ipv4/ip_forward', '1'))
      log.warn('this machine does not let its agent forward: /proc/sys is closed')
    const { neighbours, ports } = found.forwarding
    const bridges = ours.map(([name]) => name).filter((name) => name.startsWith('vb'))
    return {
      readAtMs: clock.now(),
      found,
      unproven: new Set(bridges),
      site: { nodeMac: nodeMac(self), underlay, vxlanPort, pathMtu: mtuAt(underlay, found), group, mark },
      networks: new Map(),
      bridges: new Set(bridges),
      tasks: new Map(tasks),
      forwarding: { neighbours: new Map(neighbours), ports: new Map(ports) },
    }
  }

  /** The sentence that says why it cannot be, or undefined: it is there. */
  async function ensureNetwork(network: OverlayNetwork): Promise<string | undefined> {
    const now = await current()
    const devices = networkDevices(network, now.site)
    if (network.encrypted) return sentences.encrypted(devices)
    if (now.networks.get(network.id)?.alias === devices.alias) return undefined
    if (!now.unproven.delete(devices.bridge) || !isWhole(devices, now.found)) {
      const why = await makeNetwork(devices, now)
      if (why !== undefined) return why
    }
    now.networks.set(network.id, devices)
    return undefined
  }

  async function makeNetwork(devices: NetworkDevices, now: State): Promise<string | undefined> {
    const { bridge, tunnel } = devices
    const found = await readKernel(group)
    const foreign = [bridge, tunnel].find((name) => (found.links.get(name)?.group ?? group) !== group)
    if (foreign !== undefined) return sentences.foreign(devices, foreign)
    const why = await makeDevices(devices, found, now)
    forget(now, bridge)
    if (why === undefined) now.bridges.add(bridge)
    else await removeBridges([bridge], now)
    return why
  }

  async function makeDevices(
    devices: NetworkDevices,
    found: Found,
    { site, tasks }: State,
  ): Promise<string | undefined> {
    const { network, bridge, tunnel, subnet } = devices
    const routes = found.routes.filter(({ dev }) => dev !== bridge)
    const clash = clashingRoute(subnet, routes)
    if (clash !== undefined) return sentences.route(devices, clash)
    const there = {
      bridge: found.links.has(bridge),
      tunnel: found.links.has(tunnel),
      cables: [...tasks.values()].flatMap((task) => cablesOf(task, network)),
    }
    const refusal = (await batchUntilRefused('ip', makeLines(devices, site, there))) ?? refusedSetting(bridge)
    if (refusal === undefined) return undefined
    const holder = refusal.why === portTaken ? holderText('udp', '::', vxlanPort) : ''
    return sentences.refused(devices, refusal, { port: vxlanPort, holder })
  }

  /** One that is not there is refused, which is as good. */
  async function removeBridges(names: readonly string[], now: State): Promise<void> {
    await batchAll('ip', names.flatMap(removeLines))
    for (const name of names) {
      now.bridges.delete(name)
      forget(now, name)
    }
    for (const [id, { bridge }] of [...now.networks]) if (names.includes(bridge)) now.networks.delete(id)
  }

  async function apply(overlay: Overlay, local: readonly TaskLinks[]): Promise<readonly NetworkProblem[]> {
    if (state !== undefined && clock.now() - state.readAtMs > trustMs) state = undefined
    const first = await settle(overlay, local)
    if (first.refusals.length === 0) return first.problems
    // What was known was wrong: once more, from what is there.
    const second = await settle(overlay, local)
    for (const refusal of second.refusals) log.warn('a forwarding entry was refused', { ...refusal })
    return [...second.problems, ...refusedEntries(second.refusals, overlay)]
  }

  async function settle(overlay: Overlay, local: readonly TaskLinks[]) {
    await removeUnwanted(overlay, local)
    const problems: NetworkProblem[] = []
    for (const network of overlay.networks) {
      const sentence = await ensureNetwork(network)
      if (sentence !== undefined) problems.push({ network: network.id, sentence })
    }
    return { problems, refusals: await forward(overlay) }
  }

  async function removeUnwanted(overlay: Overlay, local: readonly TaskLinks[]): Promise<void> {
    const now = await current()
    const wanted = new Set(overlay.networks.map(({ id }) => id))
    for (const { links } of [...local, ...now.tasks.values()]) for (const { network } of links) wanted.add(network)
    const names = new Set([...wanted].map(bridgeName))
    await removeBridges(
      [...now.bridges].filter((bridge) => !names.has(bridge)),
      now,
    )
  }

  async function forward(overlay: Overlay): Promise<readonly Refusal[]> {
    const now = await current()
    const want = forwardingOf(overlay, { self, tasks: now.tasks.values(), bridges: now.bridges })
    const lines = difference(now.forwarding, want)
    const refusals = [...(await batchAll('ip', lines.ip)), ...(await batchAll('bridge', lines.bridge))]
    if (refusals.length > 0) state = undefined
    else now.forwarding = want
    return refusals
  }

  async function createTask(task: TaskLinks, overlay: Overlay): Promise<{ readonly netns: string }> {
    const name = namespaceName(task.task, mark)
    const netns = `/run/netns/${name}`
    const namespace = existsSync(netns)
    const cables: Cable[] = []
    for (const link of task.links) cables.push(await cableFor(task.task, link, overlay))
    const { tasks, site, forwarding } = await current()
    const before = tasks.get(task.task)
    if (namespace && isDeepStrictEqual(before, task)) return { netns }
    const laid = new Set(namespace && before !== undefined ? cablesOf(before) : [])
    try {
      const there = { namespace, hasDevice: (device: string) => laid.has(device) }
      await run('sh', ['-c', taskScript(task, cables, there, site)])
    } catch (error) {
      await removeTask(task.task)
      state = undefined
      throw fault('unavailable', `The network of a task cannot be made: ${reasonOf(error)}`, undefined, error)
    }
    tasks.set(task.task, task)
    for (const { network, address } of task.links) {
      const mac = taskMac(task.task, network)
      forwarding.neighbours.set(`${bridgeName(network)} ${address}`, mac)
      forwarding.ports.set(`${cableName(task.task, network)} ${mac}`, 'here')
    }
    return { netns }
  }

  async function cableFor(task: TaskId, link: TaskLinks['links'][number], overlay: Overlay): Promise<Cable> {
    const network = overlay.networks.find(({ id }) => id === link.network)
    if (network === undefined) throw fault('unavailable', `Network ${link.network} is not known on this node yet`)
    const sentence = await ensureNetwork(network)
    if (sentence !== undefined) throw fault('unavailable', sentence)
    const devices = (await current()).networks.get(network.id)
    assert(devices !== undefined, 'a network that was made is there')
    return { task, ...link, devices, internal: network.internal }
  }

  async function removeTask(task: TaskId): Promise<void> {
    const { tasks, forwarding } = await current()
    const known = tasks.get(task)
    const name = namespaceName(task, mark)
    const lines = existsSync(`/run/netns/${name}`) ? [`netns delete ${name}`] : []
    for (const { network, address } of known?.links ?? []) {
      const [cable, bridge] = [cableName(task, network), bridgeName(network)]
      lines.unshift(`link delete dev ${cable}`, `neighbour delete ${address} dev ${bridge}`)
      forwarding.neighbours.delete(`${bridge} ${address}`)
      forwarding.ports.delete(`${cable} ${taskMac(task, network)}`)
    }
    tasks.delete(task)
    // What is refused is gone already.
    await batchAll('ip', lines)
  }

  await current()
  return {
    apply: (overlay, local) => inTurn(() => apply(overlay, local)),
    createTask: (links, overlay) => inTurn(() => createTask(links, overlay)),
    removeTask: (task) => inTurn(() => removeTask(task)),
    bridgeOf: bridgeName,
    known: () => [...(state?.tasks.keys() ?? [])].sort(),
  }
}

/** A device that is made anew has none of its entries. */
function forget({ forwarding }: State, bridge: string): void {
  for (const key of forwarding.neighbours.keys()) if (key.startsWith(`${bridge} `)) forwarding.neighbours.delete(key)
  for (const key of forwarding.ports.keys()) if (key.startsWith(`${tunnelOf(bridge)} `)) forwarding.ports.delete(key)
}

function cablesOf({ task, links }: TaskLinks, only?: NetworkId): readonly string[] {
  return links.filter(({ network }) => network === (only ?? network)).map(({ network }) => cableName(task, network))
}

/**
 * Loose reverse path, since replies may come back through another node. Redirects would tell tasks of a way past their node; they are sent if the bridge
 * or `all` says so, and other interfaces, which have a word of their own, keep it.
 */
function refusedSetting(bridge: string): Refusal | undefined {
  for (const [name, value] of [
    [`${bridge}/rp_filter`, '2'],
    [`${bridge}/send_redirects`, '0'],
    ['all/send_redirects', '0'],
  ] as const) {
    const setting = `ipv4/conf/${name}`
    if (!writeSetting(setting, value)) return { line: `${setting} = ${value}`, why: 'the setting cannot be written' }
  }
  return undefined
}

function refusedEntries(refusals: readonly Refusal[], overlay: Overlay): readonly NetworkProblem[] {
  return overlay.networks.flatMap(({ id, name }) => {
    const refusal = refusals.find(({ line }) => line.includes(bridgeName(id)) || line.includes(tunnelName(id)))
    if (refusal === undefined) return []
    const sentence = `Network "${name}" is not whole on this node: the kernel refused "${refusal.line}": ${refusal.why}`
    return [{ network: id, sentence }]
  })
}
