/**
 * Who asks: the networks of a task, with their names and tables, as the resolver sees them.
 */
import type { GuestId, NetworkId, TaskId } from '../../../protocol/ids.ts'
import { type GuestValue, ingressNetwork } from '../../../protocol/model.ts'
import { isLiveGuest } from '../live.ts'
import { compareCreation } from '../placement/order.ts'
import type { View } from '../view.ts'
import { wanted } from '../wanted.ts'
import type { Caller, CallerNetwork } from './lookup.ts'
import { type NameTable, nameTable } from './table.ts'

export interface NameFacts {
  readonly view: View
  /** Services in conflict. */
  readonly conflicted: ReadonlySet<string>
  /** Whether a network's scope is caught up with one holder, or has waited long enough. */
  readonly isReady: (network: NetworkId) => boolean
  /** Table of a network, computed once for each revision of the view. */
  readonly tableOf: (network: NetworkId) => NameTable
}

/** Tables of one revision of the view; made anew when the view moved on. */
export function nameFacts(view: View, conflicted: ReadonlySet<string>, isReady: NameFacts['isReady']): NameFacts {
  const tables = new Map<NetworkId, NameTable>()
  return {
    view,
    conflicted,
    isReady,
    tableOf(network) {
      const table = tables.get(network) ?? nameTable(view, network, conflicted)
      tables.set(network, table)
      return table
    },
  }
}

/** The caller that a task or guest is. One that is unknown here asks with no networks: it gets upstream answers only. */
export function callerOf(task: TaskId | GuestId, facts: NameFacts): Caller {
  const guest = facts.view.guests.get(task)?.value
  if (guest !== undefined) return guestCaller(guest, facts)
  const record = facts.view.tasks.get(task)
  const service = record === undefined ? undefined : facts.view.services.get(record.value.service)
  if (record === undefined || service === undefined) return { networks: [], stack: undefined }
  const want = wanted(service)
  // The task's own networks: its service's spec may have moved on while it still runs.
  const attached = new Set(record.value.addresses.map((a) => a.network))
  // Ports are published there; nobody is called by a name there.
  attached.delete(ingressNetwork)
  const ordered = [...want.networks.map((n) => n.network).filter((n) => attached.has(n))]
  for (const network of [...attached].sort()) if (!ordered.includes(network)) ordered.push(network)
  return {
    stack: want.labels['com.docker.stack.namespace'],
    networks: ordered.flatMap((id) => callerNetwork(id, facts)),
  }
}

/** A container asks one resolver, whichever of its connections that belongs to: it is on the networks of all of them. */
function guestCaller({ container, node }: GuestValue, facts: NameFacts): Caller {
  const connections = [...facts.view.guests.values()]
    .filter(({ value }) => value.container === container && value.node === node && isLiveGuest(value, facts.view))
    .sort(compareCreation)
  return {
    stack: undefined,
    networks: connections.flatMap(({ value }) =>
      // One that has a network of its engine may ask there, whatever ours deny.
      callerNetwork(value.network, facts).map((one) => ({ ...one, internal: one.internal && value.alone })),
    ),
  }
}

function callerNetwork(id: NetworkId, facts: NameFacts): readonly CallerNetwork[] {
  const network = facts.view.networks.get(id)
  if (network === undefined) return []
  const { Name: name, Internal: internal } = network.value.spec
  return [{ id, name, internal: internal === true, ready: facts.isReady(id), table: facts.tableOf(id) }]
}
