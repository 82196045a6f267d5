/**
 * The live maps that decisions read: each follows the records one change at a time, so a change costs the same in a cluster of any size.
 *
 * Members are put together here from their own record, what operators wrote of them, removals, and what membership believes. Decides
 * nothing about which record wins.
 */
import { zeroVersion } from '../../protocol/hlc.ts'
import type { GuestId, NetworkId, NodeId, ServiceId, TaskId } from '../../protocol/ids.ts'
import type {
  EndpointValue,
  GuestValue,
  Kind,
  MemberValue,
  NodeValue,
  Scope,
  StateRecord,
  Values,
} from '../../protocol/model.ts'
import type { Liveness, Member, Stamped, View } from '../core/view.ts'
import { createShownTasks } from './tasks.ts'

export interface ViewMaps {
  readonly view: View
  /** Shows the record under this key; undefined or a tombstone hides what `author` had there. */
  show(scope: Scope, kind: Kind, id: string, author: NodeId, record: StateRecord | undefined): void
  /** Returns what was believed before; undefined if nothing changed. */
  setLiveness(node: NodeId, liveness: Liveness, nowMs: number): Liveness | undefined
  /** Returns whether that is news. */
  setReach(node: NodeId, outOfReach: boolean): boolean
  setStale(node: NodeId, isStale: boolean): boolean
  forgetNetwork(network: NetworkId): void
}

const unwritten: NodeValue = { spec: { Availability: 'active' }, created: zeroVersion }

interface Belief {
  readonly liveness: Liveness
  readonly sinceMs: number
}

export function createMaps(self: NodeId, now: () => number): ViewMaps {
  let revision = 0
  const settings = new Map<string, Stamped<Values['settings']>>()
  const memberRecords = new Map<NodeId, Stamped<MemberValue>>()
  const nodes = new Map<NodeId, Stamped<NodeValue>>()
  const beliefs = new Map<NodeId, Belief>([[self, { liveness: 'alive', sinceMs: now() }]])
  const outOfReach = new Set<NodeId>()
  const stale = new Set<NodeId>()
  const members = new Map<NodeId, Member>()
  const removals = new Map<NodeId, Stamped<Values['removal']>>()
  const tokens = new Map<string, Stamped<Values['token']>>()
  const networks = new Map<NetworkId, Stamped<Values['network']>>()
  const services = new Map<ServiceId, Stamped<Values['service']>>()
  const shownTasks = createShownTasks(self)
  const endpoints = new Map<NetworkId, Map<TaskId, Stamped<EndpointValue>>>()
  const guests = new Map<GuestId, Stamped<GuestValue>>()

  function assemble(id: NodeId): void {
    const record = memberRecords.get(id)
    if (record === undefined || removals.has(id)) {
      members.delete(id)
      return
    }
    const belief = beliefs.get(id) ?? firstBelief(record.value)
    beliefs.set(id, belief)
    const node = nodes.get(id)
    members.set(id, {
      id,
      record,
      node: node?.value ?? unwritten,
      ...(node === undefined ? {} : { nodeVersion: node.version }),
      ...belief,
      ...(outOfReach.has(id) ? { outOfReach: true } : {}),
      ...(stale.has(id) ? { isStale: true } : {}),
    })
  }

  /** Nothing is known yet: up, since what it serves may be used, and behind others, since it may be gone. */
  function firstBelief(value: MemberValue): Belief {
    return { liveness: value.presence === 'left' ? 'left' : 'suspect', sinceMs: now() }
  }

  /** Whether that is news. */
  function mark(marked: Set<NodeId>, node: NodeId, isMarked: boolean): boolean {
    if (marked.has(node) === isMarked) return false
    if (isMarked) marked.add(node)
    else marked.delete(node)
    revision++
    assemble(node)
    return true
  }

  function showTask(id: TaskId, author: NodeId, record: StateRecord<'task'> | undefined): void {
    const shown = shownTasks.tasks.get(id)
    if (shown !== undefined && !mayReplace(shown, author, record)) return
    if (record?.value == null) shownTasks.hide(id)
    else shownTasks.show(stamped(record, record.value))
  }

  function showEndpoint(scope: Scope, id: TaskId, author: NodeId, record: StateRecord<'endpoint'> | undefined): void {
    const network = scope.slice('network/'.length)
    const held = endpoints.get(network) ?? new Map<TaskId, Stamped<EndpointValue>>()
    const shown = held.get(id)
    if (shown !== undefined && !mayReplace(shown, author, record)) return
    if (record?.value == null) held.delete(id)
    else held.set(id, stamped(record, record.value))
    if (held.size === 0) endpoints.delete(network)
    else endpoints.set(network, held)
  }

  function showGuest(id: GuestId, author: NodeId, record: StateRecord<'guest'> | undefined): void {
    const shown = guests.get(id)
    if (shown !== undefined && !mayReplace(shown, author, record)) return
    if (record?.value == null) guests.delete(id)
    else guests.set(id, stamped(record, record.value))
  }

  const view: View = {
    self,
    get revision() {
      return revision
    },
    /** Of two foundings the earlier one; ids break the tie. */
    get settings() {
      return [...settings.values()].sort((a, b) => a.value.created.ms - b.value.created.ms || (a.id < b.id ? -1 : 1))[0]
    },
    members,
    removals,
    tokens,
    networks,
    services,
    tasks: shownTasks.tasks,
    slotsOf: shownTasks.slotsOf,
    ownTasks: shownTasks.ownTasks,
    endpoints,
    guests,
  }

  return {
    view,
    show(scope, kind, id, author, record) {
      revision++
      if (kind === 'task') showTask(id, author, record as StateRecord<'task'> | undefined)
      else if (kind === 'endpoint') showEndpoint(scope, id, author, record as StateRecord<'endpoint'> | undefined)
      else if (kind === 'guest') showGuest(id, author, record as StateRecord<'guest'> | undefined)
      else {
        const plain = {
          settings,
          member: memberRecords,
          node: nodes,
          removal: removals,
          token: tokens,
          network: networks,
          service: services,
        }
        const map = plain[kind] as Map<string, Stamped<unknown>>
        if (record === undefined || record.value === null) map.delete(id)
        else map.set(id, stamped(record, record.value))
        if (kind === 'member' || kind === 'node' || kind === 'removal') assemble(id)
      }
    },
    setLiveness(node, liveness, nowMs) {
      const before = beliefs.get(node)?.liveness
      if (before === liveness) return undefined
      beliefs.set(node, { liveness, sinceMs: nowMs })
      revision++
      assemble(node)
      return before ?? 'suspect'
    },
    setReach: (node, isOut) => mark(outOfReach, node, isOut),
    setStale: (node, isStale) => mark(stale, node, isStale),
    forgetNetwork(network) {
      if (endpoints.delete(network)) revision++
    },
  }
}

/** Two nodes under one id: every node shows the same one, and a delete by a stranger hides nothing. */
function mayReplace(shown: Stamped<unknown>, author: NodeId, record: StateRecord | undefined): boolean {
  return record?.value == null ? shown.author.node === author : shown.author.node >= author
}

function stamped<V>(record: StateRecord, value: V): Stamped<V> {
  return { id: record.id, value, version: record.version, author: record.author }
}
