/**
 * Which networks a task joins, and its address on each: the first free candidate of a sequence from a hash of its id, claimed in its record (design.md 6).
 *
 * Freed addresses rest: one that an ended task had is taken only when no other is left, since clients may still believe it. Nothing
 * belongs to a dead node for ever either; its addresses come last.
 */
import type { GuestId, NetworkId, TaskId } from '../../../protocol/ids.ts'
import { ingressNetwork } from '../../../protocol/model.ts'
import { hasEnded, isLiveGuest, isLiveTask } from '../live.ts'
import type { View } from '../view.ts'
import type { Wanted } from '../wanted.ts'
import { chooseAddress } from './ranges.ts'

/** Of a task or a guest. Undefined when the subnet is full, or the network unknown. */
export function chooseTaskAddress(view: View, networkId: NetworkId, taskId: TaskId | GuestId): string | undefined {
  const network = view.networks.get(networkId)
  if (network === undefined) return undefined
  const taken = new Map<string, number>()
  for (const { id, value } of view.tasks.values()) {
    if (id === taskId) continue
    for (const claim of value.addresses) {
      if (claim.network !== network.id) continue
      const level = isLiveTask(value, view) ? Number.POSITIVE_INFINITY : hasEnded(value.state) ? 1 : 2
      taken.set(claim.address, Math.max(level, taken.get(claim.address) ?? 0))
    }
  }
  for (const { id, value } of view.guests.values()) {
    if (id === taskId || value.network !== network.id || value.address === undefined) continue
    const level = isLiveGuest(value, view) ? Number.POSITIVE_INFINITY : 2
    taken.set(value.address, Math.max(level, taken.get(value.address) ?? 0))
  }
  return chooseAddress(network, { range: 'tasks', key: taskId, takenLevel: taken })
}

/**
 * The networks that a task of this node joins: its service's own. Where tasks have namespaces of their own ingress too, for what it publishes; and for what has no network at all, which
 * would have no way out otherwise.
 */
export function networksToJoin(view: View, asked: Wanted): readonly NetworkId[] {
  const own = [...new Set(asked.networks.map(({ network }) => network))]
  const hasNamespaces = view.members.get(view.self)?.record.value.dataplane === 'linux'
  if (!hasNamespaces || !view.networks.has(ingressNetwork)) return own
  return asked.ports.length > 0 || own.length === 0 ? [...own, ingressNetwork] : own
}
