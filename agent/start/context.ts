/**
 * What the API asks of its node (api/context.ts), answered from the parts of this agent.
 */

import type { NodeId } from '../../protocol/ids.ts'
import type { ApiContext, FlowCounters } from '../api/context.ts'
import { requestOver } from '../api/relay.ts'
import type { AgentConfig } from '../config.ts'
import type { View } from '../core/view.ts'
import type { UserspaceDataplane } from '../dataplane/userspace/dataplane.ts'
import { ask } from '../dns/ask.ts'
import type { EventRing } from '../events.ts'
import { fault } from '../fault.ts'
import type { Node } from '../node.ts'
import type { Clock, Log, Random } from '../world.ts'
import { doctor } from './doctor.ts'
import type { Edges } from './edges.ts'
import { metrics } from './metrics.ts'
import { agentVersion } from './self.ts'
import { createTokenDesk } from './tokens.ts'

const lookedMax = 50
/** A handshake on a busy machine; `vine status` is waited for. */
const lookMs = 500

export interface ContextParts {
  readonly config: AgentConfig
  readonly node: Node
  readonly edges: Edges
  readonly events: EventRing
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly cluster: string
  readonly transportCounters: () => ReadonlyMap<string, number>
  readonly joinAddress: () => string
  readonly signRemoval: (node: string, atMs: number) => Uint8Array
  readonly stop: ApiContext['stop']
  readonly isEnding: ApiContext['isEnding']
}

export function createContext(parts: ContextParts): ApiContext {
  const { node, clock, random, log, events } = parts
  const { runtime, forwarding: dataplane, mesh, names, dnsPort, kernel, wireguard, passage, engine } = parts.edges
  const { view } = node
  return {
    view,
    writer: view,
    clock,
    random,
    log,
    agentVersion,
    stamp: () => view.stamp(),
    health: () => ({ need: node.need(), clockOffsetMs: -view.clockOffsetMs(), warnings: warnings(node) }),
    unreached: () => mesh.unreached(looked(view), lookMs),
    events,
    logs: (task, query) => runtime.logs(task, query),
    missingOn: node.missingOn,
    relay: async (target, request) => requestOver(await mesh.openStream(target), request),
    async resolve({ name, type, task }) {
      if (!node.reconcile.tasks().some((own) => own.task === task))
        throw fault('not-found', 'this task does not run here')
      const { status, answers } = await ask(names.responder, task, name, type)
      return { code: status, answers: answers.map(({ ttlS, ...rest }) => ({ ...rest, ttlSeconds: ttlS })) }
    },
    tokens: createTokenDesk({ view, cluster: parts.cluster, clock, random, address: parts.joinAddress }),
    async removeNode(target) {
      const atMs = Math.floor(clock.wall())
      const value = { by: view.self, atMs, signature: new Uint8Array(parts.signRemoval(target, atMs)) }
      return (await view.commit([{ scope: 'cluster', kind: 'removal', id: target, value }])).held
    },
    stop: parts.stop,
    isEnding: parts.isEnding,
    flows: () => flowCounters(dataplane, node),
    flowLog: (sinceMs) => ({
      open: dataplane.flows(),
      ended: dataplane.flowLog().filter(({ endedMs = 0 }) => endedMs >= sinceMs),
      failed: dataplane.failedAttempts().filter(({ pickedMs }) => pickedMs >= sinceMs),
    }),
    doctor: () => doctor({ config: parts.config, node, mesh, runtime, dnsPort, kernel, wireguard, passage }),
    clean: () => kernel.clean(),
    engine,
    guests: node.guests,
    metrics: () =>
      metrics({
        node,
        dataplane,
        mesh,
        responder: names.responder,
        transport: parts.transportCounters,
        lagMs: () => clock.lagMs(),
      }),
  }
}

/** Everybody who is up, where a full mesh of connections is no burden (design.md 4); beyond it `vine doctor` looks. */
function looked(view: View): readonly NodeId[] {
  const up = [...view.members.values()].filter(({ id, liveness }) => id !== view.self && liveness === 'alive')
  return up.length > lookedMax ? [] : up.map(({ id }) => id)
}

function warnings(node: Node): readonly string[] {
  const failing = node.view.journalFailing()
  return [...node.routes.problems().map((problem) => problem.sentence), ...(failing === undefined ? [] : [failing])]
}

function flowCounters(dataplane: UserspaceDataplane, node: Node): readonly FlowCounters[] {
  return [...dataplane.counters().services].map(([service, tally]) => {
    const name = node.view.services.get(service)?.value.spec.Name ?? service
    return {
      service,
      name,
      opened: tally.connections,
      active: tally.active,
      failed: tally.failures,
      bytesIn: tally.bytesIn,
      bytesOut: tally.bytesOut,
    }
  })
}
