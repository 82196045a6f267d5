/**
 * What the kernel has of this agent: read whole at the start and after a failure, kept up by whoever changes it, so that only differences are sent.
 * Cables that were never finished are taken away by the read: their tasks never began.
 */
import type { NetworkId, NodeId, TaskId } from '../../../protocol/ids.ts'
import type { Clock } from '../../world.ts'
import type { TaskLinks } from './devices.ts'
import type { Forwarding } from './forwarding.ts'
import { type Found, mtuAt, readKernel } from './found.ts'
import { cableName, innerAddress, linkGroup, nodeMac } from './names.ts'
import { type NetworkDevices, type Site, tunnelOf } from './overlay-devices.ts'
import { tasksOf } from './task-namespace.ts'
import { batchAll } from './tools.ts'

/** What is in the kernel, as read and as changed since. */
export interface State {
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

/** Whose the devices are and where they end. */
export interface Owner {
  readonly self: NodeId
  /** This node's address for the others: the near end of tunnels. */
  readonly underlay: string
  readonly vxlanPort: number
  /** Whether br_netfilter is on and stays on; asked again and again, since another program may turn it on at any time. */
  readonly filtered: () => boolean
  /** `markOf(data directory)`. */
  readonly mark: string
}

export async function readState(owner: Owner, clock: Clock): Promise<State> {
  const { self, underlay, vxlanPort, filtered, mark } = owner
  const group = linkGroup(mark)
  const found = await readKernel(group)
  const ours = [...found.links].filter(([, link]) => link.group === group)
  const tasks = tasksOf(
    ours.map(([, { alias }]) => alias),
    mark,
  )
  const cables = new Set([...tasks.values()].flatMap((task) => cablesOf(task)))

  const unfinished = ours.map(([name]) => name).filter((name) => name.startsWith('vt') && !cables.has(name))
  await batchAll(
    'ip',
    unfinished.map((name) => `link delete dev ${name}`),
  )
  const { neighbours, ports } = found.forwarding
  // Also of a tunnel that is left alone.
  const bridges = ours.flatMap(([name]) => (/^v[bx]/.test(name) ? [name.replace(/^vx/, 'vb')] : []))
  return {
    readAtMs: clock.now(),
    found,
    unproven: new Set(bridges),
    site: {
      ...{ nodeMac: nodeMac(self), underlay, inner: innerAddress(self), vxlanPort, group, mark },
      ...{ pathMtu: mtuAt(underlay, found), filtered: filtered() },
    },
    networks: new Map(),
    bridges: new Set(bridges),
    tasks: new Map(tasks),
    forwarding: { neighbours: new Map(neighbours), ports: new Map(ports) },
  }
}

/** A device that is made anew has none of its entries. */
export function forget({ forwarding }: State, bridge: string): void {
  for (const key of forwarding.neighbours.keys()) if (key.startsWith(`${bridge} `)) forwarding.neighbours.delete(key)
  for (const key of forwarding.ports.keys()) if (key.startsWith(`${tunnelOf(bridge)} `)) forwarding.ports.delete(key)
}

/** Names of a task's cables, into all its networks or one. */
export function cablesOf({ task, links }: TaskLinks, only?: NetworkId): readonly string[] {
  return links.filter(({ network }) => network === (only ?? network)).map(({ network }) => cableName(task, network))
}
