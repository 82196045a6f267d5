/**
 * Writes the claim of a slot: a task in state assigned, with the addresses that it claims (design.md 5, 6).
 *
 * A node that has no address to give says so at once, as a rejection that placement reads.
 */
import { idFromBytes, type NetworkId, type ServiceId, type Slot, type TaskId } from '../../protocol/ids.ts'
import { ingressNetwork, type TaskValue } from '../../protocol/model.ts'
import { chooseTaskAddress } from '../core/addresses/task.ts'
import type { Task } from '../core/placement/slots.ts'
import { followsUpdate } from '../core/update/lost.ts'
import type { View } from '../core/view.ts'
import { type Wanted, wanted } from '../core/wanted.ts'
import { announce, type ReconcileParts } from './reconcile-parts.ts'

export interface Claim {
  readonly service: ServiceId
  readonly slot: Slot
  readonly replaces: TaskId | undefined
}

export function claimSlot(parts: ReconcileParts, claim: Claim): void {
  const { view, clock, writer } = parts
  const service = view.services.get(claim.service)
  const member = view.members.get(view.self)
  if (service === undefined || member === undefined) return
  const asked = wanted(service)
  const id = idFromBytes(parts.random.bytes(16))
  const addresses = networksOf(view, asked).map((network) => ({
    network,
    address: chooseTaskAddress(view, network, id),
  }))
  const full = addresses.find(({ address }) => address === undefined)
  const value: TaskValue = {
    service: claim.service,
    slot: claim.slot,
    node: view.self,
    boot: member.record.value.boot,
    created: parts.stamp(),
    generation: asked.generation,
    template: asked.template,
    image: asked.image,
    state: 'assigned',
    stateMs: clock.wall(),
    message: 'claimed',
    ...(claim.replaces === undefined ? {} : { replaces: claim.replaces }),
    ...(followsUpdate(recordsOf(view, claim), asked.template) ? { updates: true } : {}),
    addresses: addresses.flatMap(({ network, address }) => (address === undefined ? [] : [{ network, address }])),
    ports: [],
  }
  if (full === undefined) {
    writer.put({ scope: 'cluster', kind: 'task', id, value })
    announce(parts, id, 'claim', 'claimed')
    return
  }
  const name = view.networks.get(full.network)?.value.spec.Name ?? full.network
  const error = `network "${name}" has no free address`
  writer.put({ scope: 'cluster', kind: 'task', id, value: { ...value, ...rejection(parts, value, error) } })
  announce(parts, id, 'rejected', `rejected: ${error}`)
}

function recordsOf(view: View, { service, slot }: Claim): readonly Task[] {
  const tasks = [...(view.tasksByService.get(service) ?? [])].flatMap((id) => view.tasks.get(id) ?? [])
  return tasks.filter(({ value }) => value.slot === slot)
}

/** 5 s, Docker's restart delay, doubled with each rejection in a row. */
const retryFirstMs = 5_000
/** 5 min: a cause that lasts longer is found by a person. */
const retryMaxMs = 5 * 60_000

/** What to write into a task's record when this node cannot run it. */
export function rejection(parts: ReconcileParts, task: TaskValue, error: string): Partial<TaskValue> {
  const { view, clock } = parts
  const before = [...(view.tasksByService.get(task.service) ?? [])]
    .flatMap((id) => view.tasks.get(id)?.value ?? [])
    .filter((t) => t.node === view.self && t.state === 'rejected' && t.template === task.template)
  const nowMs = clock.wall()
  // Several slots given to this node at once are one attempt.
  const again = before.every((t) => (t.retryAtMs ?? 0) <= nowMs) ? 1 : 0
  const attempt = Math.max(1, again + Math.max(0, ...before.map((t) => t.attempt ?? 1)))
  const waitMs = Math.min(retryMaxMs, retryFirstMs * 2 ** (attempt - 1))
  return {
    state: 'rejected',
    stateMs: nowMs,
    message: 'this node cannot run it',
    error,
    attempt,
    retryAtMs: nowMs + waitMs,
  }
}

/**
 * Its own networks. Where tasks have namespaces of their own ingress too, for what it publishes; and for what has no network at all, which
 * would have no way out otherwise.
 */
function networksOf(view: View, asked: Wanted): readonly NetworkId[] {
  const own = [...new Set(asked.networks.map(({ network }) => network))]
  const hasNamespaces = view.members.get(view.self)?.record.value.dataplane === 'linux'
  if (!hasNamespaces || !view.networks.has(ingressNetwork)) return own
  return asked.ports.length > 0 || own.length === 0 ? [...own, ingressNetwork] : own
}
