/**
 * What this node has to do next for its own tasks and for the slots that it should claim (design.md 5).
 *
 * A pure function of the view, the placement and what runs here; the loop does the steps and asks again until there are none. It only
 * ever decides over this node's own records: every other node does the same for its own.
 */
import type { TaskId } from '../../../protocol/ids.ts'
import { networkScope } from '../../../protocol/model.ts'
import { hasEnded } from '../live.ts'
import { sideOf, startBudget } from '../placement/partition.ts'
import { claimOrder, type SlotPlan } from '../placement/place.ts'
import { offers } from '../placement/rebalance.ts'
import type { Task } from '../placement/slots.ts'
import { wanted } from '../wanted.ts'
import { endpointSteps } from './endpoints.ts'
import { housekeeping } from './housekeeping.ts'
import { type Now, type Situation, type Step, slotKey } from './steps.ts'

/** Starts under way at one time: a machine that boots fifty programs at once boots none of them in time. */
const startsAtOnce = 8
/** A scope that is not caught up delays a start by so much and no more (design.md 3). */
const scopeWaitMs = 2_000
/** A takeover that does not become healthy in this time beyond its start period is dropped. */
const takeoverMs = 60_000

export function reconcile(situation: Situation, now: Now): readonly Step[] {
  const { view, caughtUp } = situation
  if (!view.members.has(view.self)) return []
  const own = view.ownTasks()
  const live = own.filter(({ value }) => !hasEnded(value.state))
  const readied = live.flatMap((task) => becomesReady(situation, task))
  if (!caughtUp) return [...readied, ...endpointSteps(situation, live)]
  const decided = live.flatMap((task) => forTask(situation, now, task) ?? [])
  return [
    ...readied,
    ...limitStarts(situation, decided),
    ...endpointSteps(situation, live),
    ...(situation.leaving ? [] : claims(situation, now, own)),
    ...offerSteps(situation, now, live),
    ...housekeeping(situation, own),
  ]
}

function becomesReady({ locals }: Situation, { id, value }: Task): readonly Step[] {
  const local = locals.get(id)
  return local?.ready === true && local.phase === 'up' && value.state === 'starting' ? [{ do: 'ready', task: id }] : []
}

function forTask(situation: Situation, now: Now, task: Task): Step | undefined {
  const { view, locals, placement, leaving } = situation
  const { id, value } = task
  const local = locals.get(id)
  const claimed = value.state === 'assigned'
  if (local?.phase === 'stopping') return undefined
  if (value.boot !== view.members.get(view.self)?.record.value.boot) {
    return { do: 'end', task: id, state: 'orphaned', why: 'its machine was restarted' }
  }
  if (local === undefined && !claimed) {
    return { do: 'end', task: id, state: 'orphaned', why: 'it was gone when its agent came back' }
  }
  const drop = (why: string): Step =>
    local === undefined ? { do: 'withdraw', task: id } : { do: 'stop', task: id, why, outcome: 'shutdown' }
  if (value.stopping === true) return drop('it was being stopped when its agent ended')
  if (leaving) return drop('its node leaves')
  const service = view.services.get(value.service)
  if (service === undefined) return drop('its service was removed')
  const barred = placement.barred.get(value.service)
  if (barred !== undefined) return drop(barred)
  const plan = planOf(situation, task)
  if (plan === undefined) return drop('its slot is no longer wanted')
  if (local?.lost !== undefined) return { do: 'stop', task: id, why: local.lost, outcome: 'failed' }
  if (local?.unhealthy !== undefined) {
    return { do: 'stop', task: id, why: `its health check failed: ${local.unhealthy}`, outcome: 'failed' }
  }
  if (plan.task === id) return plan.leave === undefined ? startWhenSettled(situation, now, task) : drop(plan.leave)
  if (plan.takeover === id) {
    const limitMs = takeoverMs + (wanted(service).health?.startPeriodMs ?? 0)
    const late = now.nowMs - (situation.claimedAt.get(id) ?? now.nowMs) > limitMs
    const why = `it was not healthy within ${Math.round(limitMs / 1000)} s`
    return late && local !== undefined
      ? { do: 'stop', task: id, why, outcome: 'failed' }
      : startWhenSettled(situation, now, task)
  }
  const holder = plan.task === undefined ? undefined : view.tasks.get(plan.task)
  if (claimed && local === undefined) return { do: 'withdraw', task: id }
  return holder?.value.state === 'running' ? drop('another task holds its slot') : undefined
}

function startWhenSettled(situation: Situation, now: Now, task: Task): Step | undefined {
  const { locals, claimedAt, times, need } = situation
  if (task.value.state !== 'assigned' || locals.has(task.id)) return undefined
  const waitedMs = now.nowMs - (claimedAt.get(task.id) ?? now.nowMs)
  if (waitedMs < times.settleMs) return undefined
  const behind = task.value.addresses.some(({ network }) => need(networkScope(network)) > 0)
  if (behind && waitedMs < scopeWaitMs) return undefined
  return { do: 'start', task: task.id, degraded: behind }
}

function limitStarts({ locals }: Situation, steps: readonly Step[]): readonly Step[] {
  let free = startsAtOnce - [...locals.values()].filter(({ phase }) => phase === 'starting').length
  return steps.filter((step) => step.do !== 'start' || free-- > 0)
}

/**
 * The slots that fall to this node, which placement gave out together; when there are none, one for which it stands in. Invariant: a stand-in
 * is claimed alone, since placement counted this node's room, ports and tasks a service without it.
 */
function claims(situation: Situation, now: Now, own: readonly Task[]): readonly Step[] {
  const { placement, view, times } = situation
  const isRecent = ({ value }: Task) => now.wallMs - value.created.ms < times.minorityWaitMs
  // A start that failed was a start.
  const recent = own.filter(isRecent).length
  const older = own.filter((task) => !isRecent(task) && !hasEnded(task.value.state)).length
  const at = { nowMs: now.nowMs, minorityWaitMs: times.minorityWaitMs }
  const budget = startBudget(sideOf(view), at, { recent, older })
  const [given, stoodInFor]: [SlotPlan[], SlotPlan[]] = [[], []]
  for (const plans of placement.services.values()) {
    for (const plan of plans) {
      const turn = isClaimable(plan, now.wallMs) ? turnOf(situation, plan, now) : undefined
      if (turn !== undefined && now.nowMs >= turn.atMs) (turn.order === 0 ? given : stoodInFor).push(plan)
    }
  }
  const due = given.length > 0 ? given : stoodInFor.slice(0, 1)
  return due
    .slice(0, Math.min(budget, due.length))
    .map(({ service, slot, replaces }) => ({ do: 'claim', service, slot, replaces }))
}

/** Monotonic ms at which this node may claim a slot, counted from when anybody on this side may; undefined: never. */
export function turnOf(
  { view, vacantSince, times }: Situation,
  plan: SlotPlan,
  now: Now,
): { readonly order: number; readonly atMs: number } | undefined {
  const order = claimOrder(plan, view.self)
  if (order < 0) return undefined
  const { minoritySinceMs } = sideOf(view)
  const openMs = minoritySinceMs === undefined ? 0 : minoritySinceMs + times.minorityWaitMs
  const since = vacantSince.get(slotKey(plan.service, plan.slot)) ?? now.nowMs
  return { order, atMs: Math.max(since, openMs) + order * times.claimStepMs }
}

/** Whether a slot waits for a claim now. */
export function isClaimable(plan: SlotPlan, wallMs: number): boolean {
  if (plan.node === undefined || plan.notBeforeMs > wallMs) return false
  return plan.task === undefined || (plan.replaces !== undefined && plan.takeover === undefined)
}

function offerSteps(situation: Situation, now: Now, live: readonly Task[]): readonly Step[] {
  const { view, placement, stays } = situation
  const standing = new Map<TaskId, string>(offers(view, placement, stays, now.nowMs).map(({ task, to }) => [task, to]))
  return live.flatMap(({ id, value }): Step[] => {
    const to = standing.get(id)
    return value.moveTo === to || value.stopping === true ? [] : [{ do: 'offer', task: id, to }]
  })
}

function planOf({ placement }: Situation, { value }: Task): SlotPlan | undefined {
  return placement.services.get(value.service)?.find(({ slot }) => slot === value.slot)
}
