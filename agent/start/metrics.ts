/**
 * This node's metrics as Prometheus text (exposition format 0.0.4), for /grapevine/metrics.
 *
 * By hand, because prom-client costs 22 MB of memory for what are forty lines of text here (ecosystem.md 5).
 */
import type { UserspaceDataplane } from '../dataplane/userspace/dataplane.ts'
import type { Responder } from '../dns/responder.ts'
import type { Node } from '../node.ts'
import type { Mesh } from '../world.ts'

export interface MetricSources {
  readonly node: Node
  readonly dataplane: UserspaceDataplane
  readonly mesh: Mesh
  readonly responder: Responder
  /** Dropped and healed things of the transport, by kind. */
  readonly transport: () => ReadonlyMap<string, number>
  readonly lagMs: () => number
}

type Labels = Readonly<Record<string, string>>
interface Sample {
  readonly labels?: Labels
  readonly value: number
}

export function metrics(sources: MetricSources): string {
  const { node, mesh, responder } = sources
  const { view } = node
  const flows = sources.dataplane.counters()
  const name = (service: string) => view.services.get(service)?.value.spec.Name ?? service
  const byService = (
    pick: (tally: {
      connections: number
      failures: number
      bytesIn: number
      bytesOut: number
      active: number
    }) => number,
  ) => [...flows.services].map(([service, tally]) => ({ labels: { service: name(service) }, value: pick(tally) }))
  const members = [...view.members.values()]
  const states = ['alive', 'suspect', 'dead', 'left'] as const
  const meshCounters = mesh.counters()
  return [
    metric(
      'members',
      'gauge',
      'Members by what this node believes of them',
      states.map((liveness) => ({
        labels: { liveness },
        value: members.filter((member) => member.liveness === liveness).length,
      })),
    ),
    metric(
      'need',
      'gauge',
      'Records known to exist that this node lacks; 0 is caught up',
      view.scopes().map((scope) => ({
        labels: { scope },
        value: view.need(scope),
      })),
    ),
    metric(
      'records_dropped_total',
      'counter',
      'What came from the net and was not taken, by reason',
      counted(view.counts),
    ),
    metric(
      'transport_total',
      'counter',
      'What the control plane dropped or healed, by kind',
      counted(sources.transport()),
    ),
    metric('clock_offset_seconds', 'gauge', 'Cluster time minus this clock', [{ value: view.clockOffsetMs() / 1000 }]),
    metric('event_loop_lag_seconds', 'gauge', 'How late timers fire', [{ value: sources.lagMs() / 1000 }]),
    metric('tasks', 'gauge', 'Tasks of this node', [{ value: node.reconcile.tasks().length }]),
    metric(
      'connections_total',
      'counter',
      'Connections forwarded here',
      byService((t) => t.connections),
    ),
    metric(
      'connections_active',
      'gauge',
      'Connections open here',
      byService((t) => t.active),
    ),
    metric(
      'connection_failures_total',
      'counter',
      'Attempts that did not lead to an open flow',
      byService((t) => t.failures),
    ),
    metric(
      'received_bytes_total',
      'counter',
      'Bytes from clients',
      byService((t) => t.bytesIn),
    ),
    metric(
      'sent_bytes_total',
      'counter',
      'Bytes to clients',
      byService((t) => t.bytesOut),
    ),
    metric('mesh_links', 'gauge', 'TLS connections to other agents', [{ value: meshCounters.links }]),
    metric('mesh_strangers_total', 'counter', 'Connections of no member', [{ value: meshCounters.strangers }]),
    metric('mesh_violations_total', 'counter', 'Connections that broke the protocol', [
      { value: meshCounters.violations },
    ]),
    metric('dns_queries_total', 'counter', 'Questions of tasks', [{ value: responder.counters.queries }]),
    metric(
      'dns_answers_total',
      'counter',
      'Answers that were made, not repeated, by outcome',
      Object.entries(responder.counters.outcomes).map(([outcome, value]) => ({ labels: { outcome }, value })),
    ),
    metric('resident_memory_bytes', 'gauge', 'Memory of the agent', [{ value: process.memoryUsage.rss() }]),
  ].join('')
}

function counted(counts: ReadonlyMap<string, number>): readonly Sample[] {
  return [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([kind, value]) => ({ labels: { kind }, value }))
}

function metric(name: string, type: 'gauge' | 'counter', help: string, samples: readonly Sample[]): string {
  const full = `grapevine_${name}`
  const lines = samples.map(({ labels, value }) => `${full}${labels === undefined ? '' : printLabels(labels)} ${value}`)
  return [`# HELP ${full} ${help}`, `# TYPE ${full} ${type}`, ...lines, ''].join('\n')
}

function printLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}="${escapeLabel(value)}"`)
  return `{${pairs.join(',')}}`
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
