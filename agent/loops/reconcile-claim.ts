/**
 * Writes the claim of a slot: a task in state assigned, with the addresses that it claims (design.md 5, 6).
 *
 * A node that has no address to give says so at once, as a rejection that placement reads.
 */
import { idFromBytes, type ServiceId, type Slot, type TaskId } from '../../protocol/ids.ts'
import type { TaskValue } from '../../protocol/model.ts'
import { chooseTaskAddress, networksToJoin } from '../core/addresses/task.ts'
import { tasksOf } from '../core/placement/slots.ts'
import { followsUpdate } from '../core/update/lost.ts'
import { wanted } from '../core/wanted.ts'
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
  const records = view.slotsOf(claim.service).get(claim.slot) ?? []
  const addresses = networksToJoin(view, asked).map((network) => ({
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
    ...(followsUpdate(records, asked.template) ? { updates: true } : {}),
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

/** 5 s, Docker's restart delay, doubled with each rejection in a row. */
const retryFirstMs = 5_000
/** 5 min: a cause that lasts longer is found by a person. */
const retryMaxMs = 5 * 60_000

/** What to write into a task's record when this node cannot run it. */
export function rejection(parts: ReconcileParts, task: TaskValue, error: string): Partial<TaskValue> {
  const { view, clock } = parts
  const before = tasksOf(view, task.service)
    .map(({ value }) => value)
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
