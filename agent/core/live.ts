/**
 * Which records count: the one place that says what "live", "up" and "ended" mean (design.md 3).
 *
 * An endpoint counts only while its task record is live on a live boot id; the records of a dead node are hidden, never deleted.
 */
import type { NodeId } from '../../protocol/ids.ts'
import type { GuestValue, TaskState, TaskValue } from '../../protocol/model.ts'
import { perRevision } from './per-revision.ts'
import type { Member, View } from './view.ts'

const ended: ReadonlySet<TaskState> = new Set(['complete', 'shutdown', 'failed', 'rejected', 'remove', 'orphaned'])

/** Whether a task has come to its end: nothing of it runs any more. */
export function hasEnded(state: TaskState): boolean {
  return ended.has(state)
}

/** Whether a member takes part: alive or merely suspected. A wrong suspicion must cost nothing. */
export function isUp(member: Member | undefined): boolean {
  return member !== undefined && (member.liveness === 'alive' || member.liveness === 'suspect')
}

/** Whether a task may still be running: not ended, its node up, and its node has not rebooted since. */
export function isLiveTask(task: TaskValue, view: View): boolean {
  if (hasEnded(task.state)) return false
  const member = view.members.get(task.node)
  return isUp(member) && member?.record.value.boot === task.boot
}

/** Boot ids of the members that are up: what tells live tasks from others. The same map until one of them changes. */
export function liveBoots(view: View): ReadonlyMap<NodeId, string> {
  const now = bootsNow(view)
  const before = lastBoots.get(view)
  if (before !== undefined && isSameMap(before, now)) return before
  lastBoots.set(view, now)
  return now
}

const lastBoots = new WeakMap<View, ReadonlyMap<NodeId, string>>()

const bootsNow = perRevision(
  (view): ReadonlyMap<NodeId, string> =>
    new Map([...view.members.values()].filter(isUp).map(({ id, record }) => [id, record.value.boot])),
)

function isSameMap<K, V>(a: ReadonlyMap<K, V>, b: ReadonlyMap<K, V>): boolean {
  return a === b || (a.size === b.size && [...a].every(([key, value]) => b.get(key) === value))
}

/** Whether a container that is no task may be on its network now. */
export function isLiveGuest(guest: GuestValue, view: View): guest is GuestValue & { readonly address: string } {
  const member = view.members.get(guest.node)
  return guest.address !== undefined && isUp(member) && member?.record.value.boot === guest.boot
}

/** Members that are up, in the order of their ids, so that iteration is alike on every node. */
export function upMembers(view: View): readonly Member[] {
  return [...view.members.values()].filter(isUp).sort((a, b) => (a.id < b.id ? -1 : 1))
}

/** Whether tasks of a node have IPv6 addresses on networks that have them. */
export function carriesIpv6(member: Member | undefined): boolean {
  const { dataplane, noIpv6 } = member?.record.value ?? {}
  return dataplane === 'linux' && noIpv6 === undefined
}

/** The name that people know a node by. */
export function nodeName(view: View, node: NodeId): string {
  return view.members.get(node)?.node.spec.Name ?? view.members.get(node)?.record.value.name ?? node.slice(0, 12)
}
