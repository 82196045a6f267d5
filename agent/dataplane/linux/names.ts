/**
 * Decides what everything is called that the linux data plane makes in the kernel: devices, hardware addresses, namespaces, tunnel numbers.
 *
 * All of it is a hash of ids, so that two nodes agree without a word and a restarted agent finds its own again. Device names keep to the kernel's
 * 15 characters. 45 bits of hash: among 10,000 devices of a node two share a name once in 700,000 clusters, and then the second says so and is not made.
 */
import { createHash } from 'node:crypto'
import type { NetworkId, NodeId, TaskId } from '../../../protocol/ids.ts'

/** The bridge of a network on every node. */
export function bridgeName(network: NetworkId): string {
  return `vb${suffix(network)}`
}

/** The tunnel of a network to the other nodes, a port of its bridge. */
export function tunnelName(network: NetworkId): string {
  return `vx${suffix(network)}`
}

/** The host's end of a task's cable into a network. */
export function cableName(task: TaskId, network: NetworkId): string {
  return `vt${suffix(`${task} ${network}`)}`
}

/** The end of a cable into a network that is in a container which is no task, whose interfaces are its engine's to number. */
export function guestDevice(network: NetworkId): string {
  return `vn${suffix(network)}`
}

/** The mark is in the name, because a namespace has no other place for it that is there from its first moment. */
export function namespaceName(task: TaskId, mark: string): string {
  return `gv-${task.slice(0, 12)}-${mark}`
}

/** What a node's bridges are called by the frames of others: one address for all networks. */
export function nodeMac(node: NodeId): string {
  return mac('02', node)
}

export function taskMac(task: TaskId, network: NetworkId): string {
  return mac('06', `${task} ${network}`)
}

/** VXLAN network identifier, 24 bits; below 4096 is where people number their own (and Docker's begin at 4096, on other devices). */
export function tunnelNumber(network: NetworkId): number {
  return 4096 + (digest(network).readUInt32BE(0) % (2 ** 24 - 4096))
}

/** The device through which everything of encrypted networks leaves and comes: one for all of an agent's networks. */
export function wireguardName(mark: string): string {
  return `vw${suffix(mark)}`
}

/** Ours alone (RFC 4193): `fd` and 40 bits, which are a hash of `grapevine`. */
export const innerPrefix = 'fd22:bd79:e02::/48'

/**
 * The address of a node within WireGuard, where the tunnels of encrypted networks end. 75 bits of hash: no claim is needed. No group is 0, so that
 * everybody writes the address alike.
 */
export function innerAddress(node: NodeId): string {
  const bytes = digest(node)
  const groups = [0, 2, 4, 6, 8].map((at) => (bytes.readUInt16BE(at) | 0x8000).toString(16))
  return `${innerPrefix.slice(0, innerPrefix.indexOf('::'))}:${groups.join(':')}`
}

/** Says whose a device is: a hash of the agent's data directory, since two agents may share a machine. 8 characters. */
export function markOf(dataDir: string): string {
  return digest(dataDir).toString('hex').slice(0, 8)
}

/**
 * The same mark as a number, the devices' group (`ip link … group`). The kernel sets a group when it makes a device and an alias only later, so
 * that ownership rests on the group and an agent killed between the two leaves nothing unknown. Not 0, which is everybody's.
 */
export function linkGroup(mark: string): number {
  return 1 + (digest(mark).readUInt32BE(0) % (2 ** 31 - 2))
}

function suffix(text: string): string {
  return (digest(text).readBigUInt64BE(0) % 36n ** 9n).toString(36).padStart(9, '0')
}

function mac(first: '02' | '06', text: string): string {
  return [first, ...digest(text).toString('hex').slice(0, 10).match(/../g)!].join(':')
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
