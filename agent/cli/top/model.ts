/**
 * What `vine top` shows, made of what the API answered now and a moment ago. Pure: rates are differences of counters.
 *
 * Counters are those of the agent that is asked; a counter that went back means that it was started anew, and counts from zero.
 */

import type { Verdict } from '../cluster/status.ts'
import type { Node, Service, Task } from '../docker.ts'
import type { FlowCounters } from '../grapevine.ts'
import { portsText } from '../service/ls.ts'
import { nodeName, taskName } from '../tasks.ts'
import { nodeState, title } from '../wording.ts'

/** One look at the API. */
export interface Snapshot {
  readonly atMs: number
  readonly verdict: Verdict
  readonly nodes: readonly Node[]
  readonly services: readonly Service[]
  readonly tasks: readonly Task[]
  readonly flows: readonly FlowCounters[]
  readonly changes: readonly Change[]
  readonly selfId: string
}

export interface Change {
  readonly atMs: number
  readonly sentence: string
}

export interface Rates {
  readonly connections: number
  readonly bytes: number
  readonly failures: number
}

export interface Row {
  /** In the order of the section's columns. */
  readonly cells: readonly (string | number)[]
  readonly mark?: 'red' | 'yellow'
}

export interface Section {
  readonly name: 'nodes' | 'services' | 'tasks'
  readonly columns: readonly string[]
  readonly rows: readonly Row[]
}

export interface Picture {
  readonly atMs: number
  readonly verdict: Verdict
  readonly total: Rates
  readonly open: number
  readonly sections: readonly Section[]
  /** Newest first, not older than a minute. */
  readonly changes: readonly Change[]
}

export function picture(now: Snapshot, before: Snapshot | undefined): Picture {
  const seconds = before === undefined ? 0 : (now.atMs - before.atMs) / 1000
  const rates = ratesByService(now.flows, before?.flows ?? [], seconds)
  const all = [...rates.values()]
  return {
    atMs: now.atMs,
    verdict: now.verdict,
    total: all.reduce(add, none),
    open: now.flows.reduce((sum, flow) => sum + flow.active, 0),
    sections: [nodes(now), services(now, rates), tasks(now)],
    changes: now.changes.filter(({ atMs }) => now.atMs - atMs <= 60_000).toReversed(),
  }
}

const none: Rates = { connections: 0, bytes: 0, failures: 0 }

function add(a: Rates, b: Rates): Rates {
  return { connections: a.connections + b.connections, bytes: a.bytes + b.bytes, failures: a.failures + b.failures }
}

/** A second, by service id. */
function ratesByService(
  now: readonly FlowCounters[],
  before: readonly FlowCounters[],
  seconds: number,
): ReadonlyMap<string, Rates> {
  const old = new Map(before.map((flow) => [flow.service, flow]))
  const rates = new Map<string, Rates>()
  for (const flow of now) {
    const was = old.get(flow.service)
    const since = (count: (flow: FlowCounters) => number) => {
      const difference = count(flow) - (was === undefined ? 0 : count(was))
      return seconds <= 0 ? 0 : Math.max(difference < 0 ? count(flow) : difference, 0) / seconds
    }
    const own = {
      connections: since((f) => f.opened),
      bytes: since((f) => f.bytesIn + f.bytesOut),
      failures: since((f) => f.failed),
    }
    rates.set(flow.service, add(rates.get(flow.service) ?? none, own))
  }
  return rates
}

function nodes({ nodes: all, tasks: running, selfId }: Snapshot): Section {
  const count = (id: string) => running.filter((task) => task.NodeID === id && task.Status?.State === 'running').length
  return {
    name: 'nodes',
    columns: ['NODE', 'STATUS', 'AVAILABILITY', 'TASKS', 'ADDRESS'],
    rows: all.map((node) => {
      const state = nodeState(node.Status?.State, node.Status?.Message)
      const name = `${nodeName(node)}${node.ID === selfId ? ' *' : ''}`
      return {
        cells: [name, state, title(node.Spec.Availability), count(node.ID), node.Status?.Addr ?? ''],
        ...(state === 'Down' ? { mark: 'red' as const } : state === 'Unreachable' ? { mark: 'yellow' as const } : {}),
      }
    }),
  }
}

function services({ services: all }: Snapshot, rates: ReadonlyMap<string, Rates>): Section {
  return {
    name: 'services',
    columns: ['SERVICE', 'TASKS', 'CONN/S', 'BYTES/S', 'FAIL/S', 'PORTS'],
    rows: all.map((service) => {
      const { connections, bytes, failures } = rates.get(service.ID) ?? none
      const { RunningTasks: runs = 0, DesiredTasks: wanted = 0 } = service.ServiceStatus ?? {}
      return {
        cells: [
          service.Spec.Name,
          `${runs}/${wanted}`,
          connections,
          bytes,
          failures,
          portsText(service.Endpoint?.Ports ?? []),
        ],
        ...(runs < wanted ? { mark: runs === 0 ? ('red' as const) : ('yellow' as const) } : {}),
      }
    }),
  }
}

/** Tasks that should run, and those that failed in the last minute. */
function tasks({ atMs, tasks: all, nodes: known, services: named }: Snapshot): Section {
  const names = {
    nodes: new Map(known.map((node) => [node.ID, nodeName(node)])),
    services: new Map(named.map((service) => [service.ID, service.Spec.Name])),
  }
  const shown = all.filter(
    (task) =>
      task.DesiredState === 'running' || (hasFailed(task) && atMs - Date.parse(task.Status?.Timestamp ?? '') <= 60_000),
  )
  return {
    name: 'tasks',
    columns: ['TASK', 'NODE', 'STATE', 'SECONDS', 'ERROR'],
    rows: shown.map((task) => {
      const state = task.Status?.State ?? ''
      const age = Math.max(Math.floor((atMs - Date.parse(task.Status?.Timestamp ?? '')) / 1000), 0)
      const node = names.nodes.get(task.NodeID ?? '') ?? ''
      return {
        cells: [taskName(task, names), node, title(state), Number.isNaN(age) ? 0 : age, task.Status?.Err ?? ''],
        ...(hasFailed(task)
          ? { mark: 'red' as const }
          : state === 'running' || state === 'shutdown'
            ? {}
            : { mark: 'yellow' as const }),
      }
    }),
  }
}

function hasFailed({ Status }: Task): boolean {
  return ['failed', 'rejected', 'orphaned'].includes(Status?.State ?? '')
}
