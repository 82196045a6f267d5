/**
 * Who asks: the networks of a task, with their names and tables, as the resolver sees them.
 */
import type { NetworkId, TaskId } from '../../../protocol/ids.ts'
import { ingressNetwork } from '../../../protocol/model.ts'
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

/** The caller that a task is. A task that is unknown here asks with no networks: it gets upstream answers only. */
export function callerOf(task: TaskId, facts: NameFacts): Caller {
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
    networks: ordered.flatMap((id): CallerNetwork[] => {
      const network = facts.view.networks.get(id)
      if (network === undefined) return []
      const { Name: name, Internal: internal } = network.value.spec
      return [{ id, name, internal: internal === true, ready: facts.isReady(id), table: facts.tableOf(id) }]
    }),
  }
}
