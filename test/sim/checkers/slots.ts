// Promises about tasks (design.md 5): each slot runs once, each service as often as it should, and a claim that loses is never started.
import type { TaskValue } from '../../../protocol/model.ts'
import type { Agent } from '../world/agent.ts'
import type { Program } from '../world/programs.ts'
import { Broken, type Checker, type Finding, finding, type Watched } from './checker.ts'
import { expectedTasks } from './expected.ts'

/** Counted over the programs that run, not over records. */
export function oneTaskASlot({ truth }: Watched): Checker {
  return {
    promise: 'one live task a service and slot',
    finally() {
      const holders = new Map<string, Program>()
      for (const program of truth.programs()) {
        const key = `${program.plan.serviceName}.${program.plan.slot} (${program.plan.service.slice(0, 6)})`
        const other = holders.get(key)
        if (other !== undefined) {
          const seen = `${key} runs on ${other.machine.name} and on ${program.machine.name}`
          return finding(seen, [other.machine, program.machine])
        }
        holders.set(key, program)
      }
      return undefined
    },
  }
}

export function countsAreReached({ cluster, truth }: Watched): Checker {
  return {
    promise: 'every service comes to run as often as it should',
    finally() {
      const agent = cluster.taking()[0]
      if (agent === undefined) return undefined
      const running = new Map<string, Program[]>()
      for (const program of truth.programs()) {
        running.set(program.plan.service, [...(running.get(program.plan.service) ?? []), program])
      }
      for (const { id, name, least, most } of expectedTasks(cluster, agent)) {
        const programs = running.get(id) ?? []
        running.delete(id)
        if (programs.length >= least && programs.length <= most) continue
        const where = programs.map(({ machine, plan }) => `${plan.slot} on ${machine.name}`).join(', ')
        const seen = `${name} runs ${programs.length} times, not ${least === most ? least : `${least} to ${most}`} (${where})`
        return finding(
          seen,
          programs.map(({ machine }) => machine),
        )
      }
      const [stray] = [...running.values()].flat()
      if (stray === undefined) return undefined
      return finding(`${stray.plan.name} runs on ${stray.machine.name} and its service is gone`, [stray.machine])
    },
  }
}

/** When a node goes from claim to start, no other task that it knows of has a better right to the slot. */
export function losingClaimsAreNotStarted({ cluster }: Watched): Checker {
  let found: Finding | undefined
  for (const agent of cluster.living()) look(agent)
  return {
    promise: 'a claim is never started while it loses',
    always: () => found,
    onTold({ what }) {
      if (what.is === 'made') look(what.agent)
    },
  }

  function look(agent: Agent): void {
    agent.node?.view.watch((notice) => {
      if (notice.kind !== 'changes' || agent.process.state() === 'ended') return
      for (const { kind, id, before, after } of notice.changes) {
        if (kind !== 'task' || before === undefined || after === undefined) continue
        const [was, is] = [before.value as TaskValue, after.value as TaskValue]
        if (is.node !== agent.self || was.state !== 'assigned' || is.state !== 'preparing') continue
        // What a former run wrote comes back from others, to an agent whose journal is an older one.
        if (is.stateMs < agent.startedMs) continue
        const better = betterThan(agent, id, is)
        if (better === undefined) continue
        const other = cluster.world.nameOf(better.node)
        const name = agent.node!.view.services.get(is.service)?.value.spec.Name ?? is.service
        const seen = `${agent.machine.name} starts ${name}.${is.slot}, which ${other} holds (${better.state})`
        // Kept, not thrown: this runs inside the node.
        found ??= finding(seen, [agent.machine])
      }
    })
  }
}

/** The task that has the slot by right, unless that is this one, or the one that this one is to take over from. */
function betterThan({ node }: Agent, id: string, mine: TaskValue): TaskValue | undefined {
  const { view } = node!
  const others = (view.slotsOf(mine.service).get(mine.slot) ?? []).flatMap(({ id: other, value }): readonly Held[] => {
    if (other === id) return []
    const member = view.members.get(value.node)
    const isUp = member !== undefined && (member.liveness === 'alive' || member.liveness === 'suspect')
    const lives = isUp && !endedStates.has(value.state) && member.record.value.boot === value.boot
    return lives && value.stopping !== true ? [{ id: other, value }] : []
  })
  // Who was taken over from holds no more; a claim to take over does not hold before it runs, unless there is nothing to take over from.
  const replaced = new Set(others.filter(({ value }) => value.state === 'running').map(({ value }) => value.replaces))
  const there = new Set<string | undefined>([id, ...others.map((other) => other.id)])
  const rivals = others.filter(
    (t) => !replaced.has(t.id) && (t.value.state === 'running' || !there.has(t.value.replaces)),
  )
  const first = rivals.reduce<Held>((best, rival) => (comesBefore(rival, best) ? rival : best), { id, value: mine })
  return first.id === id || first.id === mine.replaces ? undefined : first.value
}

const endedStates = new Set(['complete', 'shutdown', 'failed', 'rejected', 'remove', 'orphaned'])

interface Held {
  readonly id: string
  readonly value: TaskValue
}

/** design.md 5: newer spec generation, earlier creation, task id. */
function comesBefore(a: Held, b: Held): boolean {
  const [x, y] = [a.value, b.value]
  if (x.generation !== y.generation) return x.generation > y.generation
  const { ms, counter, node } = x.created
  if (ms !== y.created.ms) return ms < y.created.ms
  if (counter !== y.created.counter) return counter < y.created.counter
  return node === y.created.node ? a.id < b.id : node < y.created.node
}

/** design.md 5. */
const windowMs = 10_000

interface Start {
  readonly claimedMs: number
  readonly task: string
  readonly slot: string
}

/** Since when a node sees fewer than half: of the world, and by its own clock, which stamps its claims. */
interface Alone {
  readonly sinceMs: number
  readonly wallMs: number
}

/** A node that sees fewer than half of the known nodes starts at most max(4, what it ran) in 10 s. */
export function isolatedStartsLittle({ cluster }: Watched): Checker {
  const promise = 'an isolated node starts no more than max(4, its own count) in 10 s'
  const starts = new Map<Agent, Start[]>()
  const alone = new Map<Agent, Alone>()
  /** What the node ran when it claimed a task: the count that allowed it. A moment later some of it may have ended. */
  const ownAtClaim = new Map<string, number>()
  for (const agent of cluster.living()) noteClaims(agent)
  return {
    promise,
    always() {
      const nowMs = cluster.world.time.now()
      for (const agent of cluster.taking()) {
        if (!seesFewerThanHalf(agent)) alone.delete(agent)
        else if (!alone.has(agent)) alone.set(agent, { sinceMs: nowMs, wallMs: agent.machine.wall() })
      }
      return undefined
    },
    onTold({ atMs, what }) {
      if (what.is === 'made') noteClaims(what.agent)
      if (what.is !== 'started') return
      const { agent, program } = what
      const { machine } = agent
      const claimed = claimedMs(agent, program)
      // It was removed while its program came up, slowly: the window that it belongs to is unknown.
      if (claimed === undefined) return
      const recent = (starts.get(agent) ?? []).filter((start) => start.claimedMs > claimed - windowMs)
      recent.push({ claimedMs: claimed, task: program.plan.task, slot: slotOf(program) })
      starts.set(agent, recent)
      const since = alone.get(agent)
      if (since === undefined || atMs - since.sinceMs < windowMs || !seesFewerThanHalf(agent)) return
      // What was claimed in company may come up much later. A task of a service that users removed or scaled down meanwhile makes room for another.
      const kept = recent.filter((start) => start.claimedMs >= since.wallMs && agent.node!.view.tasks.has(start.task))
      // A slow program may start after others that were claimed later: each window that its claim lies in counts.
      const ends = kept.map(({ claimedMs: end }) => end).filter((end) => end >= claimed && end < claimed + windowMs)
      const slots = Math.max(0, ...ends.map((end) => slotsClaimed(kept, end)))
      const bound = Math.max(4, ...kept.map(({ task }) => ownAtClaim.get(task) ?? 0))
      // What was claimed just before the window may be stamped within it.
      if (slots <= bound + 2) return
      const seen = `${machine.name}, alone for ${Math.round((atMs - since.sinceMs) / 1000)} s, started ${slots} in 10 s; bound ${bound}`
      throw new Broken({ promise, seen, machines: [machine] })
    },
  }

  function noteClaims(agent: Agent): void {
    agent.node?.view.watch((notice) => {
      if (notice.kind !== 'changes') return
      for (const { kind, id, before, after } of notice.changes) {
        // Not again when a restarted agent reads its journal.
        if (kind !== 'task' || before !== undefined || after === undefined || ownAtClaim.has(id)) continue
        if ((after.value as TaskValue).node !== agent.self) continue
        ownAtClaim.set(id, ownCount(agent))
        // In company, though for less than from one look to the next.
        if (!seesFewerThanHalf(agent)) alone.delete(agent)
      }
    })
  }
}

/** In the window that ends then. */
function slotsClaimed(starts: readonly Start[], endMs: number): number {
  const within = starts.filter(({ claimedMs: at }) => at > endMs - windowMs && at <= endMs)
  return new Set(within.map(({ slot }) => slot)).size
}

function slotOf({ plan }: Program): string {
  return `${plan.service} ${plan.slot}`
}

/** The budget is of claims; how long a start then takes is the program's affair. Ms of the node's clock. */
function claimedMs({ node }: Agent, { plan }: Program): number | undefined {
  return node!.view.tasks.get(plan.task)?.value.created.ms
}

/** Tasks that the node has had for longer than the window, running or on their way. */
function ownCount({ node, self, machine }: Agent): number {
  const fromMs = machine.wall() - windowMs
  return [...node!.view.tasks.values()].filter(({ value }) => {
    return value.node === self && value.created.ms <= fromMs && !endedStates.has(value.state)
  }).length
}

function seesFewerThanHalf({ node }: Agent): boolean {
  const known = [...node!.view.members.values()].filter(({ liveness }) => liveness !== 'left')
  return known.filter(({ liveness }) => liveness !== 'dead').length * 2 < known.length
}
