// What draining is for (design.md 8 "Stopping"): when a task is told to stop, nobody leads clients to it any more.

import { isUp } from '../../../agent/core/live.ts'
import type { NodeId, TaskId } from '../../../protocol/ids.ts'
import type { Agent } from '../world/agent.ts'
import type { Program } from '../world/programs.ts'
import { type Checker, finding, type Watched } from './checker.ts'

interface Led {
  readonly host: Agent
  readonly task: TaskId
  readonly name: string
  /** Members that its node believed in, and that led clients there when it got its signal. */
  readonly by: readonly Agent[]
}

/** 10 s: of two agents under one id either answers for both, until one has ended. */
const doubledMs = 10_000

/** Who did not confirm in time is named in the task's record, which is written when it has ended. */
export function stoppedAreNotUsed({ cluster }: Watched): Checker {
  const pending = new Set<Led>()
  /** When a node last met its double. */
  const doubled = new Map<NodeId, number>()
  return {
    promise: 'a task gets its stop signal when no member that is up leads clients to it, or its record names who does',
    onTold({ atMs, what }) {
      if (what.is === 'made') noteDouble(what.agent, atMs)
      if (what.is !== 'signalled') return
      const { agent: host, program } = what
      const { task, serviceName, slot } = program.plan
      // Nobody drains what has no record, or what an agent leaves to the one that took its place.
      if (host.node?.view.tasks.get(task)?.value.stopping !== true) return
      const isAlone = ({ self }: Agent) => atMs - (doubled.get(self) ?? Number.NEGATIVE_INFINITY) > doubledMs
      const by = cluster.taking().filter((agent) => isAlone(agent) && leads(agent, { host, program }))
      if (by.length > 0) pending.add({ host, task, name: `${serviceName}.${slot}`, by })
    },
    always() {
      for (const led of [...pending]) {
        const record = led.host.node?.view.tasks.get(led.task)?.value
        if (cluster.agentOn(led.host.machine) !== led.host || record === undefined) pending.delete(led)
        else if (record.state === 'shutdown' || record.state === 'failed') {
          pending.delete(led)
          const found = judge(led, record.drainMissing ?? [])
          if (found !== undefined) return found
        }
      }
      return undefined
    },
  }

  function noteDouble(agent: Agent, atMs: number): void {
    if (cluster.living().some((other) => other !== agent && other.self === agent.self)) doubled.set(agent.self, atMs)
  }
}

function leads(agent: Agent, { host, program }: { readonly host: Agent; readonly program: Program }): boolean {
  if (agent === host || !isUp(host.node?.view.members.get(agent.self))) return false
  const table = agent.dataplane.routes()
  return [...(table?.published ?? []), ...(table?.services ?? [])].some(({ backends }) =>
    backends.some(({ task }) => task === program.plan.task),
  )
}

function judge({ host, name, by }: Led, missing: readonly NodeId[]) {
  const unnamed = by.filter(({ self }) => !missing.includes(self))
  if (unnamed.length === 0) return undefined
  const machines = unnamed.map(({ machine }) => machine)
  const names = machines.map((machine) => machine.name).join(' and ')
  return finding(`${names} led clients to ${name} when ${host.machine.name} told it to stop`, [
    host.machine,
    ...machines,
  ])
}
