/**
 * The loop that makes this node do its part: reads the view, asks core what to do, does it, and asks again until nothing is left.
 *
 * Wakes at each change, at most every `minMs`, at least every `maxMs`, and when a claim settles or a delay ends. It decides nothing.
 */
import type { ServiceId, TaskId } from '../../protocol/ids.ts'
import { networkScope } from '../../protocol/model.ts'
import { chooseVip, lostVips } from '../core/addresses/vip.ts'
import { networksHeld } from '../core/held.ts'
import { hasEnded } from '../core/live.ts'
import { place } from '../core/placement/place.ts'
import { noteStays, type Stays } from '../core/placement/stays.ts'
import { dueInMs } from '../core/reconcile/due.ts'
import { reconcile } from '../core/reconcile/reconcile.ts'
import type { Situation, Step, Steps } from '../core/reconcile/steps.ts'
import { noteVacancies } from '../core/reconcile/vacancies.ts'
import { type Health, imageHealth, wanted } from '../core/wanted.ts'
import { reasonOf } from '../fault.ts'
import type { Cancel } from '../world.ts'
import { adoptTasks } from './reconcile-adopt.ts'
import { claimSlot } from './reconcile-claim.ts'
import { amend, announce, type Hand, type Hands, type ReconcileParts } from './reconcile-parts.ts'
import { createReadiness } from './reconcile-ready.ts'
import { startTask } from './reconcile-start.ts'
import { abandonTask, stopTask, taskExited } from './reconcile-stop.ts'

/** 10 ms: below what anybody notices, and a burst of gossip is handled as one. */
const minMs = 10
/** After a long pass the loop rests three times as long, so that thousands of tasks cost a quarter of a core at most. */
const restShare = 3
/** 1 s: what only time changes (rebalance, offers) is looked at this often. */
const maxMs = 1_000
/** A restarted agent starts and stops nothing until it is caught up with one member, or this long (design.md 5). */
const catchUpMs = 2_000
/** Rounds of steps in one pass; what is left comes in the next. */
const roundsMax = 10

export interface ReconcileLoop {
  /** Adopts what runs here, then begins. Resolves when the tasks are adopted. */
  start(): Promise<void>
  /** Ends the loop; tasks go on running. */
  stop(): void
  /** The view changed. */
  wake(): void
  /** For an agent that leaves: drains and stops all tasks here, resolves when none is left. */
  drainAndStopAll(): Promise<void>
  /**
   * For one that must end because another agent runs under its id: ends what it started itself, and writes nothing. What it found here
   * stays: with a copied data directory on one machine that is the other's.
   */
  abandon(): Promise<void>
  /** Tasks in hand, and whether each serves: for readiness and status. */
  tasks(): readonly { readonly task: TaskId; readonly phase: Hand['phase']; readonly ready: boolean }[]
}

type Do = { readonly [K in keyof Steps]: (step: Steps[K]) => void }

export function createReconcileLoop(parts: ReconcileParts): ReconcileLoop {
  const { view, clock, writer } = parts
  const hands: Hands = new Map()
  const claimedAt = new Map<TaskId, number>()
  let vacantSince: ReadonlyMap<string, number> = new Map()
  let stays: Stays = new Map()
  /** Networks, as last asked for; the first asking lets go of what an earlier run still held. */
  let held: string | undefined
  let state: 'new' | 'running' | 'stopped' = 'new'
  let startedMs = 0
  let caughtUp = false
  let leaving = false
  let onEmpty: (() => void) | undefined
  let inPass = false
  let restUntilMs = 0
  let timer: { readonly atMs: number; readonly cancel: Cancel } | undefined

  const readiness = createReadiness(parts, wake)
  const stopEnv = { parts, hands, unwatch: readiness.unwatch, wake }
  const startEnv = { parts, hands, onUp: watch, wake }

  const execute: Do = {
    claim: (step) => claimSlot(parts, step),
    withdraw: ({ task }) => remove(task),
    start: ({ task, degraded }) => startTask(startEnv, task, degraded),
    stop: (step) => stopTask(stopEnv, step),
    ready: ({ task }) => {
      amend(parts, task, { state: 'running', message: 'running' })
      announce(parts, task, 'running', 'serves')
    },
    end: ({ task, state: ended, why }) => amend(parts, task, { state: ended, message: why, error: why }),
    endpoint: ({ network, task, value }) => {
      writer.put({ scope: networkScope(network), kind: 'endpoint', id: task, value })
    },
    offer: ({ task, to }) => offer(task, to),
    forget: ({ task }) => {
      remove(task)
      parts.runtime.remove(task).catch((thrown: unknown) => {
        parts.log.warn('leftovers of a task could not be removed', { task, reason: reasonOf(thrown) })
      })
    },
    rewriteVip: ({ service }) => rewriteVip(service),
  }

  function watch(hand: Hand): void {
    const service = view.services.get(view.tasks.get(hand.task)?.value.service ?? '')
    const asked = service === undefined ? undefined : wanted(service)
    // A service that brings a whole check, or turns checks off, has the last word.
    const isSaid = asked === undefined || asked.health !== undefined || asked.healthConfig?.Test?.[0] === 'NONE'
    const found = isSaid ? undefined : parts.runtime.imageHealth?.(hand.task)
    if (asked === undefined || found === undefined) readiness.watch(hand, asked?.health)
    else
      void found.then(
        (image) => watchFound(hand, image === undefined ? undefined : imageHealth(asked, image)),
        () => watchFound(hand, undefined),
      )
  }

  function watchFound(hand: Hand, check: Health | undefined): void {
    if (hands.get(hand.task) === hand && hand.exit === undefined && hand.phase === 'up') readiness.watch(hand, check)
  }

  function remove(task: TaskId): void {
    writer.put({ scope: 'cluster', kind: 'task', id: task, value: null })
  }

  function offer(task: TaskId, to: string | undefined): void {
    const value = view.tasks.get(task)?.value
    if (value === undefined) return
    const { moveTo: _before, ...rest } = value
    writer.put({ scope: 'cluster', kind: 'task', id: task, value: to === undefined ? rest : { ...rest, moveTo: to } })
  }

  function rewriteVip(id: ServiceId): void {
    const service = view.services.get(id)
    const kept = lostVips(view).get(id)
    if (service === undefined || kept === undefined) return
    const lost = service.value.vips.filter(({ network }) => !kept.some((vip) => vip.network === network))
    const made = lost.flatMap(({ network }) => {
      const address = chooseVip(view, network, service.value.spec.Name)
      return address === undefined ? [] : [{ network, address }]
    })
    const value = { ...service.value, vips: [...kept, ...made] }
    writer.put({ scope: 'cluster', kind: 'service', id, value })
  }

  function situation(): Situation {
    const nowMs = clock.now()
    const placement = place(view, clock.wall())
    stays = noteStays(stays, view, { nowMs, firstMs: parts.times.rebalanceAfterMs })
    vacantSince = noteVacancies(vacantSince, placement, { nowMs, wallMs: clock.wall() })
    caughtUp ||= parts.need('cluster') === 0 || nowMs - startedMs >= catchUpMs
    noteClaims(nowMs)
    const { need, times } = parts
    return { view, placement, locals: hands, vacantSince, claimedAt, caughtUp, leaving, need, stays, times }
  }

  function noteClaims(nowMs: number): void {
    for (const id of claimedAt.keys()) if (!isOwnLive(id)) claimedAt.delete(id)
    for (const { id } of view.ownTasks()) if (!claimedAt.has(id) && isOwnLive(id)) claimedAt.set(id, nowMs)
  }

  function isOwnLive(id: TaskId): boolean {
    const value = view.tasks.get(id)?.value
    return value !== undefined && value.node === view.self && !hasEnded(value.state)
  }

  /** One look at everything, and what follows from it. */
  function pass(): void {
    if (state !== 'running' || inPass) return
    inPass = true
    const beganMs = clock.now()
    let dueMs = maxMs
    try {
      let steps: readonly Step[] = []
      for (let round = 0; round < roundsMax; round++) {
        steps = reconcile(situation(), { nowMs: clock.now(), wallMs: clock.wall() })
        if (steps.length === 0) break
        for (const step of steps) perform(step)
      }
      stopUnknown()
      holdNetworks()
      dueMs = Math.min(maxMs, dueInMs(situation(), { nowMs: clock.now(), wallMs: clock.wall() }))
    } catch (thrown) {
      parts.log.error('a pass of the reconcile loop failed', { reason: reasonOf(thrown) })
    } finally {
      inPass = false
      restUntilMs = clock.now() + Math.max(minMs, restShare * (clock.now() - beganMs))
    }
    if (leaving && hands.size === 0) onEmpty?.()
    schedule(dueMs)
  }

  function perform<K extends keyof Steps>(step: { readonly do: K } & Steps[K]): void {
    execute[step.do](step)
  }

  /** Tasks adopted without a record: nobody wants them. */
  function stopUnknown(): void {
    if (!caughtUp) return
    for (const hand of hands.values()) {
      const value = view.tasks.get(hand.task)?.value
      if (hand.phase !== 'up' || (value !== undefined && !hasEnded(value.state))) continue
      stopTask(stopEnv, { task: hand.task, why: 'nobody knows it', outcome: 'shutdown' })
    }
  }

  function holdNetworks(): void {
    const networks = networksHeld(view)
    if (networks.join(' ') === held) return
    held = networks.join(' ')
    parts.hold(networks)
  }

  function schedule(afterMs: number): void {
    if (state !== 'running') return
    const nowMs = clock.now()
    const atMs = Math.max(nowMs + afterMs, restUntilMs)
    if (timer !== undefined && timer.atMs <= atMs) return
    timer?.cancel()
    const cancel = clock.after(atMs - nowMs, () => {
      timer = undefined
      pass()
    })
    timer = { atMs, cancel }
  }

  function wake(): void {
    if (!inPass) schedule(0)
  }

  return {
    async start() {
      parts.runtime.onExit((task, exit) => taskExited(stopEnv, task, exit))
      parts.dataplane.onLost((task, why) => {
        const hand = hands.get(task)
        if (hand !== undefined) hand.lost = why
        wake()
      })
      await adoptTasks({ parts, hands, onUp: watch })
      startedMs = clock.now()
      if (state === 'new') state = 'running'
      pass()
    },
    stop() {
      state = 'stopped'
      timer?.cancel()
      for (const task of hands.keys()) readiness.unwatch(task)
    },
    wake,
    drainAndStopAll() {
      leaving = true
      caughtUp = true
      if (state !== 'running') return Promise.resolve()
      return new Promise((resolve) => {
        onEmpty = resolve
        pass()
      })
    },
    async abandon() {
      state = 'stopped'
      timer?.cancel()
      await Promise.all([...hands.values()].filter(({ adopted }) => !adopted).map((hand) => abandonTask(stopEnv, hand)))
    },
    tasks: () => [...hands.values()].map(({ task, phase, ready }) => ({ task, phase, ready })),
  }
}
