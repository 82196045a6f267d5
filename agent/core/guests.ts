/**
 * Containers of a node's engine that are no tasks, connected to networks of the cluster by hand: who may be, what is written of one, and what is to be
 * done about it as its container comes and goes. Pure, with Docker's sentences where Docker has one (moby daemon/container_operations.go).
 *
 * A connection belongs to its container and ends with it, or by `disconnect`. It has an address, and names that resolve, only while the container runs.
 */
import type { GuestId, NetworkId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import { type GuestValue, ingressNetwork, type NetworkValue } from '../../protocol/model.ts'
import { type Fault, fault } from '../fault.ts'
import { lostAddresses } from './addresses/lost.ts'
import { isLiveGuest, nodeName } from './live.ts'
import { compareCreation } from './placement/order.ts'
import type { Stamped, View } from './view.ts'

/** What an engine says of a container. */
export interface Container {
  readonly id: string
  readonly name: string
  /** Of its first process; undefined: it does not run. */
  readonly pid: number | undefined
  /** 'shared': its network namespace is the machine's or another container's. */
  readonly namespace: 'own' | 'shared'
  /** Names of the engine's networks that it is on. */
  readonly networks: readonly string[]
  /** Servers that were named for it (`--dns`). */
  readonly dns: readonly string[]
  /** Of a service of ours, or its sandbox. */
  readonly isTask: boolean
}

/** What of a connection was asked for, besides network and container. */
export interface Wish {
  readonly aliases: readonly string[]
  /** `--ip`, `--ip6`. */
  readonly address: string | undefined
  /** Of what else nothing is known here: `--link` and the like, in words for people. */
  readonly unknown: string | undefined
}

/** undefined, or why no container may be connected there so. */
export function checkWish(
  view: View,
  network: Stamped<NetworkValue>,
  { aliases, address, unknown }: Wish,
): Fault | undefined {
  const { Name: name, Attachable: attachable } = network.value.spec
  if (network.id === ingressNetwork || attachable !== true)
    return fault(
      'forbidden',
      `Could not attach to network ${name}: network ${name} not manually attachable`,
      'Create it with: vine network create --attachable',
    )
  if (address !== undefined)
    return fault(
      'unsupported',
      'a container cannot choose its address here: addresses are claimed by the agents themselves',
      'Leave --ip out; its name leads to it',
    )
  if (unknown !== undefined) return fault('unsupported', `Grapevine does not support ${unknown} of a connection`)
  if (aliases.length > limits.listItemsMax || aliases.some((alias) => alias === '' || alias.length > aliasLengthMax))
    return fault(
      'invalid',
      `an alias has 1 to ${aliasLengthMax} characters, and a container ${limits.listItemsMax} at most`,
    )
  const { dataplane } = view.members.get(view.self)?.record.value ?? {}
  if (dataplane !== 'linux')
    return fault(
      'unsupported',
      'this node forwards in user space, where there is no way into a container',
      'Run its agent with --dataplane linux; what it lacks for that: vine node inspect self --pretty',
    )
  return undefined
}

/** DNS takes names of 253 characters (RFC 1035). */
const aliasLengthMax = 253

/** undefined, or why this container may not be connected. */
export function checkContainer(view: View, network: Stamped<NetworkValue>, container: Container): Fault | undefined {
  const { name, namespace, isTask, pid } = container
  if (isTask)
    return fault(
      'forbidden',
      `container ${name} is a task of a service`,
      `Give its service the network: vine service update --network-add ${network.value.spec.Name} SERVICE`,
    )
  if (namespace === 'shared')
    return fault(
      'invalid',
      'container sharing network namespace with another container or host cannot be connected to any other network',
    )
  if (connectionOf(view, network.id, container.id) !== undefined)
    return fault('forbidden', `endpoint with name ${name} already exists in network ${network.value.spec.Name}`)
  if (pid === undefined)
    return fault('conflict', `container ${name} is not running`, `Start it first: docker start ${name}`)
  return undefined
}

/** This node's connection of a container, by its id, name or start of its id, to a network. */
export function connectionOf(view: View, network: NetworkId, container: string): Stamped<GuestValue> | undefined {
  const here = ownGuests(view).filter(({ value }) => value.network === network)
  return (
    here.find(({ value }) => value.container === container || value.name === container) ??
    here.find(({ value }) => container.length >= idPartMin && value.container.startsWith(container))
  )
}

/** Shorter parts of ids say nothing. */
const idPartMin = 4

/** This node's, the earlier connection first. */
export function ownGuests(view: View): readonly Stamped<GuestValue>[] {
  return [...view.guests.values()].filter(({ value }) => value.node === view.self).sort(compareCreation)
}

/** Networks on which this node has a running guest. */
export function guestNetworks(view: View): readonly NetworkId[] {
  return ownGuests(view).flatMap(({ value }) => (isLiveGuest(value, view) ? [value.network] : []))
}

/** Docker: a network with active endpoints stays. Those that are connected to nothing that runs are no reason. */
export function activeGuest(view: View, network: NetworkId): string | undefined {
  const [first] = [...view.guests.values()]
    .filter(({ value }) => value.network === network && isLiveGuest(value, view))
    .sort(compareCreation)
  return first === undefined ? undefined : `${first.value.name} on node ${nodeName(view, first.value.node)}`
}

/** The engine's own resolver serves containers on networks that somebody made; it is not to be got round, since only it knows the names there. */
export function hasEngineResolver({ networks }: Container): boolean {
  return networks.some((name) => !['bridge', 'none', 'host'].includes(name))
}

/** What is to be done about one of this node's connections. */
export type GuestStep =
  /** Container or network are gone, or what the container is does not allow it: so is the connection. */
  | { readonly do: 'forget' }
  /** The container does not run: no address, no names. */
  | { readonly do: 'leave' }
  /** It runs, and is not connected as its record says. */
  | { readonly do: 'join'; readonly pid: number; readonly fresh: boolean }
  /** Its names follow. */
  | { readonly do: 'rename'; readonly name: string }
  | { readonly do: 'nothing' }

/** `joinedPid`: the process through which it is connected now; undefined: it is not. */
export function guestStep(
  view: View,
  { id, value }: Stamped<GuestValue>,
  seen: { readonly container: Container | undefined; readonly joinedPid: number | undefined },
): GuestStep {
  const { container, joinedPid } = seen
  if (container === undefined || container.namespace === 'shared' || !view.networks.has(value.network))
    return { do: 'forget' }
  if (container.pid === undefined)
    return joinedPid === undefined && value.address === undefined ? { do: 'nothing' } : { do: 'leave' }
  const keepsAddress = isLiveGuest(value, view) && !isLost(view, id)
  if (keepsAddress && joinedPid === container.pid)
    return value.name === container.name ? { do: 'nothing' } : { do: 'rename', name: container.name }
  return { do: 'join', pid: container.pid, fresh: !keepsAddress }
}

/** Another claimed its address first. */
export function isLost(view: View, guest: GuestId): boolean {
  return lostAddresses(view).has(guest)
}
