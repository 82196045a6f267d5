// Promises about the replicated state (design.md 3): all nodes come to hold the same, what was deleted stays deleted, what was acknowledged
// stays, nothing grows without bound.
import { networksHeld } from '../../../agent/core/held.ts'
import { ingressNetwork, networkScope, type Scope } from '../../../protocol/model.ts'
import type { Agent } from '../world/agent.ts'
import { type Checker, finding, type Watched } from './checker.ts'

export function equalDigests({ cluster }: Watched): Checker {
  return {
    promise: 'all holders of a scope come to hold the same',
    finally() {
      const first = new Map<Scope, { readonly agent: Agent; readonly text: string }>()
      for (const agent of cluster.taking()) {
        const { view } = agent.node!
        if (agent.node!.need() > 0)
          return finding(`${agent.machine.name} needs ${agent.node!.need()} more`, [agent.machine])
        for (const scope of view.scopes()) {
          const text = [...view.digest(scope)]
            .map(([author, { covered }]) => `${author} ${covered.join(' ')}`)
            .join('\n')
          const other = first.get(scope)
          if (other === undefined) first.set(scope, { agent, text })
          else if (other.text !== text) {
            const seen = `${agent.machine.name} and ${other.agent.machine.name} have other digests of ${scope}: ${difference(text, other.text)}`
            return finding(seen, [agent.machine, other.agent.machine])
          }
        }
      }
      return undefined
    },
  }
}

export function equalViews({ cluster }: Watched): Checker {
  return {
    promise: 'all nodes come to show the same members, networks, services and tasks',
    finally() {
      let first: { readonly agent: Agent; readonly text: string } | undefined
      for (const agent of cluster.taking()) {
        const { members, networks, services, tasks, removals } = agent.node!.view
        const rows = [
          ...[...members.values()].map(({ id, record }) => `member ${id} ${version(record.version)}`),
          ...[networks, services, tasks, removals].flatMap((map) =>
            [...map.values()].map(({ id, version: v }) => `${id} ${version(v)}`),
          ),
        ]
        const text = rows.sort().join('\n')
        first ??= { agent, text }
        if (first.text !== text) {
          const seen = `${agent.machine.name} and ${first.agent.machine.name} show different states: ${difference(text, first.text)}`
          return finding(seen, [agent.machine, first.agent.machine])
        }
      }
      return undefined
    },
  }
}

/** A node that runs nothing of a network holds none of its records (design.md 3). */
export function ownNetworksOnly({ cluster }: Watched): Checker {
  return {
    promise: 'a node holds the records of its own networks only',
    finally() {
      for (const agent of cluster.taking()) {
        const { view } = agent.node!
        const own = ['cluster', networkScope(ingressNetwork), ...networksHeld(view).map(networkScope)]
        const stray = view.scopes().find((scope) => !own.includes(scope))
        if (stray !== undefined) return finding(`${agent.machine.name} holds ${stray}`, [agent.machine])
      }
      return undefined
    },
  }
}

/** A node that has shown the delete of a service or network never shows it again, as long as its process lives. */
export function deletedStaysDeleted({ cluster }: Watched): Checker {
  const known = new Map<Agent, { readonly seen: Set<string>; readonly gone: Set<string> }>()
  return {
    promise: 'no deleted record returns',
    always() {
      for (const agent of cluster.living()) {
        if (agent.node === undefined) continue
        const { services, networks } = agent.node.view
        const mine = known.get(agent) ?? { seen: new Set(), gone: new Set() }
        known.set(agent, mine)
        for (const map of [services, networks]) {
          for (const id of map.keys()) {
            mine.seen.add(id)
            if (mine.gone.has(id)) return finding(`${agent.machine.name} shows ${id} again`, [agent.machine])
          }
        }
        for (const id of mine.seen) {
          if (services.has(id) || networks.has(id)) continue
          mine.seen.delete(id)
          mine.gone.add(id)
        }
      }
      return undefined
    },
  }
}

/** What a node acknowledged as held by members is there in the end: created and not removed, or removed for good. */
export function acknowledgedStays({ cluster, operator }: Watched): Checker {
  return {
    promise: 'nothing that was acknowledged is lost',
    finally() {
      const removed = new Set(operator.outcomes.filter(({ does }) => does === 'remove').map(({ id }) => id))
      for (const { id, kind, does, what, result } of operator.outcomes) {
        if (kind === 'node' || result !== 'members') continue
        for (const agent of cluster.taking()) {
          const { services, networks } = agent.node!.view
          const isThere = kind === 'service' ? services.has(id) : networks.has(id)
          const lost = does === 'remove' ? isThere : !isThere && !removed.has(id)
          if (lost) return finding(`${agent.machine.name} knows nothing of "${what}"`, [agent.machine])
        }
      }
      return undefined
    },
  }
}

/** Timers, calls and records that a node holds, and its journal. Bounds with room: a leak passes any bound in ten minutes. */
export function boundedMemory({ cluster }: Watched): Checker {
  return {
    promise: 'the memory of a node is bounded',
    always() {
      const nodes = cluster.machines.length
      for (const agent of cluster.taking()) {
        const over = overBound(agent, nodes)
        if (over !== undefined) return finding(`${agent.machine.name} holds ${over}`, [agent.machine])
      }
      return undefined
    },
  }
}

function overBound(agent: Agent, nodes: number): string | undefined {
  const { process, transport, node, machine } = agent
  const timers = process.timers()
  if (timers > 300 + 20 * nodes) return `${timers} timers`
  const calls = transport?.pendingRequests() ?? 0
  if (calls > 100 + 20 * nodes) return `${calls} pending requests`
  const { services, tasks } = node!.view
  const slots = [...services.values()].reduce(
    (sum, { value }) => sum + (value.spec.Mode?.Replicated?.Replicas ?? nodes),
    0,
  )
  // Six records a slot, and those of services that were just removed.
  if (tasks.size > 500 + 8 * slots) return `${tasks.size} tasks for ${slots} slots`
  const bytes = machine.disk.bytes()
  if (bytes > 16 * 1024 * 1024) return `${bytes} bytes of journal`
  return undefined
}

function version({ ms, counter, node }: { ms: number; counter: number; node: string }): string {
  return `${ms}.${counter}.${node}`
}

function difference(a: string, b: string): string {
  const theirs = new Set(b.split('\n'))
  const ours = new Set(a.split('\n'))
  const only = [...ours].filter((row) => !theirs.has(row))
  const missing = [...theirs].filter((row) => !ours.has(row))
  return `${only.length} rows against ${missing.length}, such as "${(only[0] ?? missing[0] ?? '').slice(0, 90)}"`
}
