// What the settle time of a claim is for (design.md 5): while every message arrives, no slot is started at two nodes at once.
import type { Program } from '../world/programs.ts'
import { Broken, type Checker, type Watched } from './checker.ts'

/** Two starts this close did not know of each other; later ones follow a decision. */
const togetherMs = 2_000
/** Views are one again this long after the last trouble. */
const soundForMs = 20_000

export function slotsAreNotStartedTwice({ cluster, truth }: Watched): Checker {
  const promise = 'while every message arrives, no slot is started at two nodes at once'
  const last = new Map<string, { readonly atMs: number; readonly program: Program }>()
  const isCalm = (atMs: number) =>
    cluster.world.net.gossipLoss === 0 &&
    cluster.machines.every((machine) => {
      const since = truth.soundSince(machine)
      return since !== undefined && atMs - since >= soundForMs && machine.slowness === 1 && machine.disk.slowness === 1
    })
  /** Its own node has begun to stop it: the slot was taken away, and given out anew. */
  const isGivenUp = ({ machine, plan }: Program) => {
    const task = cluster.agentOn(machine)?.node?.view.tasks.get(plan.task)?.value
    return task === undefined || task.stopping === true || !['starting', 'running', 'preparing'].includes(task.state)
  }
  return {
    promise,
    onTold({ atMs, what }) {
      if (what.is !== 'started') return
      const { program, agent } = what
      const { service, slot, serviceName, task } = program.plan
      const key = `${service} ${slot}`
      const before = last.get(key)
      last.set(key, { atMs, program })
      if (before === undefined || atMs - before.atMs > togetherMs || before.program.machine === program.machine) return
      const { tasks } = agent.node!.view
      const [mine, theirs] = [tasks.get(task)?.value, tasks.get(before.program.plan.task)?.value]
      const isTakeover = mine?.replaces === before.program.plan.task
      // The service was changed between the two claims.
      const isUpdate = (mine?.generation ?? 0) > (theirs?.generation ?? 0)
      if (!before.program.running || isTakeover || isUpdate || !isCalm(atMs) || isGivenUp(before.program)) return
      const { machine } = before.program
      const ms = Math.round(atMs - before.atMs)
      const seen = `${serviceName}.${slot} was started on ${machine.name} and, ${ms} ms later, on ${program.machine.name}`
      throw new Broken({ promise, seen, machines: [machine, program.machine] })
    },
  }
}
