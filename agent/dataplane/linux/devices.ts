/**
 * Makes and removes the kernel devices of this node's networks and tasks. One thing at a time; a network or a task is made whole or not at all.
 *
 * Everything a task sends is routed by its node's own namespace; no frame goes from task to task over a bridge, so that connection tracking and one
 * nft table see both directions. What is in the kernel is read at the start and after a failure; between, only differences are sent. Never touches a
 * device that has not the group of this agent (names.ts).
 */
import { existsSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import type { NetworkId, TaskId } from '../../../protocol/ids.ts'
import type { Overlay, OverlayNetwork } from '../../core/routes/overlay.ts'
import { assert, fault, reasonOf } from '../../fault.ts'
import { createTurns } from '../../turns.ts'
import type { Clock, Log, Sandbox } from '../../world.ts'
import type { Encryption } from './encryption.ts'
import { difference, forwardingOf, ipv6Makers } from './forwarding.ts'
import { type GuestWay, guestScript } from './guests.ts'
import { clashWith, glance, harmTo } from './harm.ts'
import { cablesOf, type Owner, readState, type State } from './kernel-state.ts'
import { bridgeName, cableName, namespaceName, taskMac, tunnelName } from './names.ts'
import { NetworkFailures, type NetworkProblem } from './network-failures.ts'
import { ensureNetwork, removeBridges } from './networks.ts'
import { sentences } from './overlay-devices.ts'
import { type Cable, taskScript } from './task-namespace.ts'
import { batchAll, type Refusal, run, writeSetting } from './tools.ts'

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
   * for the bridge of a network on which a task in `local` still is. Resolves to what failed, by network, for a while also of
   * networks that are not asked for any more (network-failures.ts); such a network is not there at all.
   */
  apply(overlay: Overlay, local: readonly TaskLinks[]): Promise<readonly NetworkProblem[]>
  /**
   * Namespace with links, addresses, routes, resolver translation, and the bridges that it needs; nothing happens when all of it is there. Resolves to
   * the path for nsenter. `origin`: a process whose namespace it is to be, of a container that is no task; else one is made. Rejects with a Fault ('unavailable'), and then nothing is left of it.
   */
  createTask(
    links: TaskLinks,
    overlay: Overlay,
    origin?: Pick<Sandbox, 'pid'> | GuestWay,
  ): Promise<{ readonly netns: string }>
  /** Of an unknown task: nothing happens. */
  removeTask(task: TaskId): Promise<void>
  /**
   * What another program took away from what was made here, or put in its way, as half a sentence each. Cheap, since it is asked all the time; the next
   * `apply` and `createTask` then begin with what is there.
   */
  harm(): Promise<readonly string[]>
  /** Where the namespace of a task is, or would be. */
  netnsOf(task: TaskId): string
  /** The bridge of a network, for the firewall. */
  bridgeOf(network: NetworkId): string
  /** Tasks that have a namespace here, those of an earlier run of the agent too. */
  known(): readonly TaskId[]
  /** Watches over nothing any more; all that is there stays. */
  close(): void
}

export interface DevicesOptions extends Owner {
  /** A network was made, or made anew: whatever else was routed by its bridge is lost. */
  onMade(): void
  readonly encryption: Encryption
  readonly clock: Clock
  readonly log: Log
}

/** 60 s: how long harm that is not seen by names and routes may last (harm.ts). To read everything costs 30 ms of CPU with 5,000 addresses. */
export const trustMs = 60_000

export async function createDevices(options: DevicesOptions): Promise<Devices> {
  const { self, mark, encryption, clock, log } = options
  /** Undefined after a failure: then it is read again. */
  let state: State | undefined
  const inTurn = createTurns(1)
  const failures = new NetworkFailures(clock)

  async function current(): Promise<State> {
    state ??= await readState(options, clock)
    return state
  }

  async function apply(overlay: Overlay, local: readonly TaskLinks[]): Promise<readonly NetworkProblem[]> {
    if (state !== undefined && isOutdated(state)) state = undefined
    const first = await settle(overlay, local)
    if (first.refusals.length === 0) return first.problems
    // What was known was wrong: once more, from what is there.
    const second = await settle(overlay, local)
    for (const refusal of second.refusals) log.warn('a forwarding entry was refused', { ...refusal })
    return [...second.problems, ...refusedEntries(second.refusals, overlay)]
  }

  function isOutdated({ readAtMs, site }: State): boolean {
    return clock.now() - readAtMs > trustMs || options.filtered() !== site.filtered
  }

  async function settle(overlay: Overlay, local: readonly TaskLinks[]) {
    await removeUnwanted(overlay, local)
    const networks = [...overlay.networks, ...(await current()).networks.values()]
    if (!networks.some(({ encrypted }) => encrypted)) await encryption.remove()
    const problems: NetworkProblem[] = []
    for (const network of overlay.networks) {
      const isThere = !failures.isFresh(network.id) && (await ensure(network, overlay)) === undefined
      if (isThere) problems.push(...(await overlaps(network)))
    }
    problems.push(...failures.told())
    return { problems, refusals: await forward(overlay) }
  }

  async function ensure(network: OverlayNetwork, { nodes }: Overlay): Promise<string | undefined> {
    const now = await current()
    const before = now.networks.get(network.id)
    const sentence = await ensureNetwork(network, now, () => encryption.ensure(nodes, now.site.pathMtu))
    if (now.networks.get(network.id) !== before) options.onMade()
    failures.note(network.id, sentence)
    return sentence
  }

  /** A route that came after the network takes some of its addresses, whatever we do: told, and nothing is taken down. */
  async function overlaps({ id }: OverlayNetwork): Promise<readonly NetworkProblem[]> {
    const { networks, found } = await current()
    const devices = networks.get(id)
    const clash = devices === undefined ? undefined : clashWith(devices, found.routes)
    return devices === undefined || clash === undefined
      ? []
      : [{ network: id, sentence: sentences.overlapped(devices, clash) }]
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
    const { bridges, networks, site } = now
    const here = { self, tasks: now.tasks.values(), bridges, networks, vxlanPort: site.vxlanPort }
    const want = forwardingOf(overlay, here)
    const lines = difference(now.forwarding, want)
    const refusals = [...(await batchAll('ip', lines.ip)), ...(await batchAll('bridge', lines.bridge))]
    if (refusals.length > 0) state = undefined
    else now.forwarding = want
    return refusals
  }

  async function createTask(
    task: TaskLinks,
    overlay: Overlay,
    origin?: Pick<Sandbox, 'pid'> | GuestWay,
  ): Promise<{ readonly netns: string }> {
    const netns = netnsOf(task.task)
    const namespace = existsSync(netns)
    const cables: Cable[] = []
    for (const link of task.links) cables.push(await cableFor(task.task, link, overlay))
    const { tasks, site, forwarding, networks } = await current()
    const before = tasks.get(task.task)
    if (namespace && isDeepStrictEqual(before, task)) return { netns }
    const laid = new Set(namespace && before !== undefined ? cablesOf(before) : [])
    try {
      const there = { namespace, pid: origin?.pid, hasDevice: (device: string) => laid.has(device) }
      const [cable] = cables
      const script =
        origin !== undefined && 'servers' in origin && cable !== undefined
          ? guestScript(task, cable, { ...there, way: origin }, site)
          : taskScript(task, cables, there, site)
      await run('sh', ['-c', script])
    } catch (error) {
      await removeTask(task.task)
      state = undefined
      throw fault('unavailable', `The network of a task cannot be made: ${reasonOf(error)}`, undefined, error)
    }
    tasks.set(task.task, task)
    const ipv6Of = ipv6Makers(networks)
    for (const { network, address } of task.links) {
      const mac = taskMac(task.task, network)
      for (const one of [address, ...ipv6Of(network, address)])
        forwarding.neighbours.set(`${bridgeName(network)} ${one}`, mac)
      forwarding.ports.set(`${cableName(task.task, network)} ${mac}`, 'here')
    }
    return { netns }
  }

  async function cableFor(task: TaskId, link: TaskLinks['links'][number], overlay: Overlay): Promise<Cable> {
    const network = overlay.networks.find(({ id }) => id === link.network)
    if (network === undefined) throw fault('unavailable', `Network ${link.network} is not known on this node yet`)
    // At once, however short ago it failed.
    const sentence = await ensure(network, overlay)
    if (sentence !== undefined) throw fault('unavailable', sentence)
    const devices = (await current()).networks.get(network.id)
    assert(devices !== undefined, 'a network that was made is there')
    const [address6] = ipv6Makers(new Map([[network.id, devices]]))(network.id, link.address)
    return { task, ...link, devices, internal: network.internal, ...(address6 === undefined ? {} : { address6 }) }
  }

  function netnsOf(task: TaskId): string {
    return `/run/netns/${namespaceName(task, mark)}`
  }

  async function harm(): Promise<readonly string[]> {
    // Whoever refused it may have done so because something is gone.
    const found = state === undefined ? ['a change was refused'] : harmTo(state, glance())
    if (found.length > 0) state = undefined
    return found
  }

  async function removeTask(task: TaskId): Promise<void> {
    const { tasks, forwarding, networks } = await current()
    const ipv6Of = ipv6Makers(networks)
    const known = tasks.get(task)
    const name = namespaceName(task, mark)
    const lines = existsSync(`/run/netns/${name}`) ? [`netns delete ${name}`] : []
    for (const { network, address } of known?.links ?? []) {
      const [cable, bridge] = [cableName(task, network), bridgeName(network)]
      for (const one of [address, ...ipv6Of(network, address)]) {
        lines.unshift(`neighbour delete ${one} dev ${bridge}`)
        forwarding.neighbours.delete(`${bridge} ${one}`)
      }
      lines.unshift(`link delete dev ${cable}`)
      forwarding.ports.delete(`${cable} ${taskMac(task, network)}`)
    }
    tasks.delete(task)
    // What is refused is gone already.
    await batchAll('ip', lines)
  }

  if (!writeSetting('ipv4/ip_forward', '1')) log.warn('the kernel does not forward for tasks: /proc/sys is closed')
  await current()
  return {
    apply: (overlay, local) => inTurn(() => apply(overlay, local)),
    createTask: (links, overlay, origin) => inTurn(() => createTask(links, overlay, origin)),
    removeTask: (task) => inTurn(() => removeTask(task)),
    harm: () => inTurn(harm),
    netnsOf,
    bridgeOf: bridgeName,
    known: () => [...(state?.tasks.keys() ?? [])].sort(),
    close: () => encryption.close(),
  }
}

function refusedEntries(refusals: readonly Refusal[], overlay: Overlay): readonly NetworkProblem[] {
  return overlay.networks.flatMap(({ id, name }) => {
    const refusal = refusals.find(({ line }) => line.includes(bridgeName(id)) || line.includes(tunnelName(id)))
    if (refusal === undefined) return []
    const sentence = `Network "${name}" is not whole on this node: the kernel refused "${refusal.line}": ${refusal.why}`
    return [{ network: id, sentence }]
  })
}
