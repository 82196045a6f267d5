/**
 * Finds what a path names: by id, then by name, then by the start of an id, as Docker does.
 *
 * Of two things with one name (made at once on two nodes) the one created earlier is meant: it is the one that holds the name.
 */
import { compareVersions } from '../../protocol/hlc.ts'
import { ingressNetwork, type NetworkValue, type ServiceValue, type TaskValue } from '../../protocol/model.ts'
import { networkNamed } from '../core/admit/network.ts'
import { isLiveTask, nodeName } from '../core/live.ts'
import type { Member, Stamped, View } from '../core/view.ts'
import { Fault, fault } from '../fault.ts'
import { ingress } from './networks.ts'

export function findService(view: View, name: string): Stamped<ServiceValue> {
  const all = [...view.services.values()]
  const found =
    view.services.get(name) ?? earliest(all.filter((s) => s.value.spec.Name === name)) ?? byPrefix(all, name)
  if (found === undefined) throw fault('not-found', `service ${name} not found`, 'List them with: vine service ls')
  return found
}

export function findNetwork(view: View, name: string): Stamped<NetworkValue> {
  const found = name === ingressNetwork ? ingress(view) : networkNamed(view, name)
  if (found === undefined) throw fault('not-found', `network ${name} not found`, 'List them with: vine network ls')
  if (found instanceof Fault) throw found
  return found
}

/** A node by id, `self`, name or start of its id. Two nodes of one name must be told apart by id. */
export function findNode(view: View, name: string): Member {
  const exact = view.members.get(name === 'self' ? view.self : name)
  if (exact !== undefined) return exact
  const all = [...view.members.values()]
  const named = all.filter((member) => nodeName(view, member.id) === name)
  if (named.length > 1)
    throw fault('invalid', `node ${name} is ambiguous (${named.length} matches found)`, 'Use its id')
  const found = named[0] ?? byPrefix(all, name)
  if (found === undefined) throw fault('not-found', `node ${name} not found`, 'List them with: vine node ls')
  return found
}

/** A task by id, `web.1` (the live one of the slot, else the last), `web.1.<id>` or start of its id. */
export function findTask(view: View, name: string): Stamped<TaskValue> {
  const exact = view.tasks.get(name)
  if (exact !== undefined) return exact
  const found = bySlot(view, name) ?? byPrefix([...view.tasks.values()], name)
  if (found === undefined)
    throw fault('not-found', `task ${name} not found`, 'Name it as web.1, or by its id: vine service ps web')
  return found
}

function bySlot(view: View, name: string): Stamped<TaskValue> | undefined {
  const candidates = [...view.tasks.values()].filter((task) => {
    const service = view.services.get(task.value.service)?.value.spec.Name
    const short = `${service}.${task.value.slot}`
    return service !== undefined && (name === short || name === `${short}.${task.id}`)
  })
  const rank = (task: Stamped<TaskValue>): number => (isLiveTask(task.value, view) ? 1 : 0)
  return candidates.sort((a, b) => rank(b) - rank(a) || compareVersions(b.value.created, a.value.created))[0]
}

function earliest<V extends { readonly created: ServiceValue['created'] }>(
  found: Stamped<V>[],
): Stamped<V> | undefined {
  return found.sort((a, b) => compareVersions(a.value.created, b.value.created))[0]
}

/** Docker takes any start of an id that fits one thing only. */
function byPrefix<T extends { readonly id: string }>(all: readonly T[], prefix: string): T | undefined {
  if (prefix === '') return undefined
  const found = all.filter((thing) => thing.id.startsWith(prefix))
  if (found.length > 1) throw fault('invalid', `${prefix} is ambiguous (${found.length} matches found)`)
  return found[0]
}
