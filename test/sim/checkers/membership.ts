// Promises about who is there (design.md 4): the living are not held for dead in the end, the dead are not used beyond a bound.
import type { NodeId } from '../../../protocol/ids.ts'
import { machineOf } from '../truth.ts'
import type { Agent } from '../world/agent.ts'
import type { Machine } from '../world/machine.ts'
import { type Checker, finding, type Watched } from './checker.ts'

/** No live node stays dead, and no dead one alive. */
export function membershipIsTrue({ cluster }: Watched): Checker {
  return {
    promise: 'every node comes to know who lives',
    finally() {
      for (const machine of cluster.machines) {
        const agent = cluster.agentOn(machine)
        if (!machine.isOn() || agent?.over !== undefined) continue
        if (agent?.begun !== true) return finding(`${machine.name} does not take part`, [machine])
      }
      const lives = new Set(cluster.taking().map(({ self }) => self))
      for (const agent of cluster.taking()) {
        for (const { id, liveness } of agent.node!.view.members.values()) {
          const held = liveness === 'alive' ? 'alive' : liveness
          const other = machineOf(cluster, id)
          const name = other?.name ?? id
          if (lives.has(id) && held !== 'alive') {
            return finding(`${agent.machine.name} holds ${name} for ${held}`, [agent.machine, other])
          }
          if (!lives.has(id) && (held === 'alive' || held === 'suspect')) {
            return finding(`${agent.machine.name} holds ${name} for ${held}, and it does not run`, [
              agent.machine,
              other,
            ])
          }
        }
        for (const id of lives) {
          if (!agent.node!.view.members.has(id))
            return finding(`${agent.machine.name} does not know ${machineOf(cluster, id)?.name}`, [agent.machine])
        }
      }
      return undefined
    },
  }
}

/**
 * 15 s: `local` buries a silent node within a round of probes, two time-outs and 3 s of suspicion, slowed up to eight times while the observer
 * doubts itself; 40 s for a node that announced its return.
 */
const [deadBoundMs, backSoonBoundMs] = [15_000, 45_000]

/** Nodes that are well themselves send no flow to one that has been gone for longer than the bound. */
export function deadAreNotUsed({ cluster, truth }: Watched): Checker {
  /** When each machine last went with the words that it would be back soon. */
  const announced = new Map<Machine, number>()
  /** When each agent was first seen to know a node that is down: of its end it can learn only from then on. */
  const heard = new WeakMap<Agent, Map<NodeId, number>>()
  return {
    promise: 'no endpoint of a dead node resolves beyond the bound',
    always() {
      const now = cluster.world.time.now()
      for (const machine of cluster.machines) {
        noteWords(machine)
        noteHearing(machine)
      }
      const gone = cluster.machines.filter((machine) => now - (truth.downSince(machine) ?? now) > deadBoundMs)
      if (gone.length === 0) return undefined
      for (const agent of cluster.taking()) {
        const since = truth.soundSince(agent.machine)
        if (since === undefined || now - since < deadBoundMs) continue
        const table = agent.dataplane.routes()
        const used = new Set(
          [...(table?.published ?? []), ...(table?.services ?? [])].flatMap((route) =>
            route.backends.map(({ node }) => node),
          ),
        )
        for (const machine of gone) {
          const self = cluster.world.agents.get(machine.index)?.self
          if (self === undefined || !used.has(self) || machineOf(cluster, self) !== machine) continue
          if (mayBeAwaited(machine, { now, since })) continue
          // Told of it by somebody who was away as well: nobody there knew better.
          if (now - (heard.get(agent)?.get(self) ?? 0) <= deadBoundMs) continue
          const seconds = Math.round((now - (truth.downSince(machine) ?? now)) / 1000)
          return finding(`${agent.machine.name} still forwards to ${machine.name}, gone for ${seconds} s`, [
            agent.machine,
            machine,
          ])
        }
      }
      return undefined
    },
  }

  function noteHearing(machine: Machine): void {
    const self = cluster.world.agents.get(machine.index)?.self
    if (self === undefined || truth.downSince(machine) === undefined) return
    for (const agent of cluster.taking()) {
      if (agent.node?.view.members.has(self) !== true) continue
      const times = heard.get(agent) ?? new Map<NodeId, number>()
      heard.set(agent, times)
      if (!times.has(self)) times.set(self, cluster.world.time.now())
    }
  }

  function noteWords(machine: Machine): void {
    const downMs = truth.downSince(machine)
    if (downMs !== undefined && cluster.world.agents.get(machine.index)?.saidBackSoon) announced.set(machine, downMs)
  }

  /** Who stood still when the machine came back and went again knows of its words only, and counts from when it stood up. */
  function mayBeAwaited(machine: Machine, at: { readonly now: number; readonly since: number }): boolean {
    const atMs = announced.get(machine)
    if (atMs === undefined || at.now - atMs > 2 * backSoonBoundMs) return false
    return at.now - Math.max(atMs, at.since) <= backSoonBoundMs
  }
}
