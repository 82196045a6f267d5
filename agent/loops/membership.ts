/**
 * Carries out what the failure detector asks for, and tells it what happened (core/membership decides).
 *
 * Owns the detector's state, its one timer, and four questions between agents: a probe, a probe on behalf of another, "are you refused
 * too", and the exchange of tables when two agents connect. Beliefs go into the view by `setLiveness` and nowhere else.
 */
import { z } from 'zod'
import { decode, encode } from '../../protocol/codec.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { nodeName } from '../core/live.ts'
import { type Claim, claimSchema } from '../core/membership/claims.ts'
import { livenessSentence } from '../core/membership/sentence.ts'
import type { Effect, Effects, Input, Known, Swim } from '../core/membership/state.ts'
import { ownClaim, tableOf } from '../core/membership/state.ts'
import { createSwim, step, wakeAt } from '../core/membership/swim.ts'
import type { Liveness, View } from '../core/view.ts'
import { fault } from '../fault.ts'
import type { Times } from '../presets.ts'
import type { Cancel, Clock, Disconnect, Events, Log, Random, Transport } from '../world.ts'

export const membershipTopic = 'membership'

/** A table of 300 members in one message, with room: 300 claims of about 120 bytes. */
const claimsMax = 2_000
const claims = z.array(claimSchema).max(claimsMax)
const gossipSchema = z.object({ claims })
const probeSchema = z.object({ about: claims })
const probeAnswerSchema = z.object({
  incarnation: z.number().int().nonnegative(),
  run: z.string().max(64),
  wallMs: z.number(),
})
const subjectSchema = z.object({ node: z.string().max(64) })
const reachedSchema = z.object({ reached: z.boolean() })
const dialAnswerSchema = z.object({ result: z.enum(['connected', 'refused', 'unreachable']) })

export interface MembershipDeps {
  readonly view: View
  /** This start of the agent, as in its member record. */
  readonly run: string
  /** Where beliefs go. */
  readonly setLiveness: (node: NodeId, liveness: Liveness, nowMs: number) => void
  /** Whether a member that lives is out of this node's own reach. */
  readonly setReach: (node: NodeId, outOfReach: boolean) => void
  /** A member's clock, as far ahead of ours as measured. */
  readonly noteClock: (node: NodeId, offsetMs: number) => void
  readonly transport: Transport
  readonly clock: Clock
  readonly random: Random
  readonly events: Events
  readonly log: Log
  readonly times: Times
}

export interface MembershipLoop {
  /** Begins to watch the others. */
  start(): void
  /**
   * Begins to answer for this node, and says that it lives. After its records say what became of its former tasks: who is believed alive
   * has its records counted again, and stale ones would call off the tasks that replaced them.
   */
  open(): void
  stop(): void
  /** The replicated set of members may have changed. */
  onMembers(): void
  onConnected(node: NodeId): void
  onDisconnected(node: NodeId, why: Disconnect): void
  onMessage(from: NodeId, bytes: Uint8Array): void
  /** Requests by kind, for the node's router. */
  readonly requests: Readonly<Record<string, (from: NodeId, bytes: Uint8Array) => Promise<Uint8Array>>>
  /** The detector's state, for tests and metrics. */
  state(): Swim
}

export function createMembershipLoop(deps: MembershipDeps): MembershipLoop {
  const { view, transport, clock, random, times, log } = deps
  let swim = newSwim()
  /** Believed up, but the record of their present run has not come: their stale records must not count yet. */
  const awaited = new Map<NodeId, Effects['report']>()
  let timer: Cancel = () => {}
  let running = false
  let isOpen = false
  let waiting: (() => void)[] = []

  function feed(input: Input): void {
    if (!running) return
    const stepped = step(swim, input, { nowMs: clock.now(), random: () => random.next(), times })
    swim = stepped.state
    for (const effect of stepped.effects) perform(effect)
    reportAwaited()
    timer()
    timer = clock.after(Math.max(1, wakeAt(swim) - clock.now()), () => feed({ is: 'tick', lagMs: clock.lagMs() }))
  }

  function perform(effect: Effect): void {
    const run = performers[effect.do] as (effect: Effect) => void
    run(effect)
  }

  const performers: { readonly [K in keyof Effects]: (effect: Effects[K]) => void } = {
    reach: ({ node, outOfReach }) => {
      log.info(
        `${nodeName(view, node)} ${outOfReach ? 'is reached by others, and not from here' : 'is reached again'}`,
        {
          node,
        },
      )
      deps.setReach(node, outOfReach)
    },
    gossip: ({ claims }) => transport.publish(membershipTopic, encode({ claims })),
    report,
    probe: ({ node, timeoutMs, about }) => void probe(node, timeoutMs, about),
    ask: ({ node, helpers, timeoutMs }) => void ask(node, helpers, timeoutMs),
    dial: ({ node, second, afterMs }) =>
      void clock.after(afterMs, () => {
        void transport.dial(node).then((result) => feed({ is: 'dialled', node, result, second }))
      }),
    confirm: ({ node, helpers }) => void confirm(node, helpers),
  }

  function newSwim(): Swim {
    return createSwim(view.self, deps.run, { incarnation: Math.floor(clock.wall()), nowMs: clock.now() })
  }

  function report(change: Effects['report']): void {
    const { entry, was } = change
    const isUp = entry.liveness === 'alive' || entry.liveness === 'suspect'
    const recorded = view.members.get(entry.node)?.record.value.run
    if (isUp && entry.run !== undefined && entry.run !== recorded) {
      awaited.set(entry.node, change)
      return
    }
    awaited.delete(entry.node)
    const sentence = livenessSentence(change, (node) => nodeName(view, node), clock.now())
    deps.setLiveness(entry.node, entry.liveness, clock.now())
    if (was === undefined && entry.liveness !== 'alive') return
    log.info(sentence, { node: entry.node, liveness: entry.liveness })
    deps.events.emit({
      type: 'node',
      action: entry.liveness,
      id: entry.node,
      name: nodeName(view, entry.node),
      sentence,
      attributes: { cause: entry.cause, observer: nodeName(view, change.by) },
    })
  }

  /** Either may come last, the record of the present run or the answer that names that run. */
  function reportAwaited(): void {
    for (const change of [...awaited.values()]) {
      const entry = swim.entries.get(change.entry.node)
      if (entry === undefined) awaited.delete(change.entry.node)
      else report({ ...change, entry })
    }
  }

  async function probe(node: NodeId, timeoutMs: number, about: Claim | undefined): Promise<void> {
    const sentMs = clock.now()
    if (!transport.connected().includes(node)) {
      // The transport dials the dead again and again by itself, and says when it met one.
      if (swim.entries.get(node)?.liveness === 'dead') return
      const result = await transport.dial(node)
      if (result === 'refused') return feed({ is: 'dialled', node, result, second: false })
      if (result === 'unreachable') return feed({ is: 'missed', node, lateMs: 0 })
    }
    const answer = await askOne(
      node,
      'swim/probe',
      { about: about === undefined ? [] : [about] },
      probeAnswerSchema,
      timeoutMs,
    )
    if (answer === undefined) return feed({ is: 'missed', node, lateMs: lateness(sentMs, timeoutMs) })
    deps.noteClock(node, answer.wallMs + (clock.now() - sentMs) / 2 - clock.wall())
    feed({ is: 'acked', node, incarnation: answer.incarnation, run: answer.run })
  }

  async function ask(node: NodeId, helpers: readonly NodeId[], timeoutMs: number): Promise<void> {
    const sentMs = clock.now()
    let reached = false
    let nacks = 0
    let settle = () => {}
    const known = new Promise<void>((resolve) => {
      settle = resolve
    })
    const all = helpers.map(async (helper) => {
      const answer = await askOne(helper, 'swim/probe-for', { node }, reachedSchema, timeoutMs)
      if (answer?.reached) {
        reached = true
        settle()
      } else if (answer !== undefined) nacks += 1
    })
    await Promise.race([known, Promise.all(all)])
    feed({ is: 'asked', node, reached, nacks, asked: helpers.length, lateMs: lateness(sentMs, timeoutMs) })
  }

  async function confirm(node: NodeId, helpers: readonly NodeId[]): Promise<void> {
    let answered = 0
    let found = (_by: NodeId) => {}
    const first = new Promise<NodeId>((resolve) => {
      found = resolve
    })
    const all = helpers.map(async (helper) => {
      const answer = await askOne(helper, 'swim/refused', { node }, dialAnswerSchema, times.probeTimeoutMs)
      if (answer !== undefined) answered += 1
      if (answer?.result === 'refused') found(helper)
    })
    const by = await Promise.race([first, Promise.all(all).then(() => undefined)])
    feed({ is: 'confirmed', node, by, answered })
  }

  async function askOne<S extends z.ZodType>(
    node: NodeId,
    kind: string,
    question: unknown,
    schema: S,
    timeoutMs: number,
  ): Promise<z.infer<S> | undefined> {
    try {
      return read(schema, await transport.request(node, kind, encode(question), timeoutMs))
    } catch {
      // No answer is an expected outcome here: it is what the detector is for.
      return undefined
    }
  }

  /** What is told to others: of this node itself nothing before it is open. */
  function table(): readonly Claim[] {
    return tableOf(swim).filter((claim) => isOpen || claim.node !== view.self)
  }

  function lateness(sentMs: number, timeoutMs: number): number {
    return Math.max(0, clock.now() - sentMs - timeoutMs)
  }

  function onMembers(initial = false): void {
    const known: Known[] = [...view.members.values()].map((m) => ({ node: m.id, presence: m.record.value.presence }))
    known.sort((a, b) => (a.node < b.node ? -1 : 1))
    feed({ is: 'members', members: known, initial })
  }

  async function exchangeTables(node: NodeId): Promise<void> {
    const answer = await askOne(node, 'swim/table', { about: table() }, probeSchema, times.suspicionMinMs)
    if (answer !== undefined) feed({ is: 'claims', from: node, claims: answer.about })
  }

  const requests: MembershipLoop['requests'] = {
    'swim/probe': async (from, bytes) => {
      feed({ is: 'claims', from, claims: take(probeSchema, bytes).about })
      // Held back, not refused: the prober's own time-out bounds it.
      if (!isOpen) await new Promise<void>((resolve) => waiting.push(resolve))
      return encode({ incarnation: swim.incarnation, run: deps.run, wallMs: clock.wall() })
    },
    'swim/probe-for': async (_from, bytes) => {
      const { node } = take(subjectSchema, bytes)
      const timeoutMs = times.probeTimeoutMs * 0.6 // the asker waits a whole time-out for us
      const answer = await askOne(node, 'swim/probe', { about: [] }, probeAnswerSchema, timeoutMs)
      return encode({ reached: answer !== undefined })
    },
    'swim/refused': async (_from, bytes) => encode({ result: await transport.dial(take(subjectSchema, bytes).node) }),
    'swim/table': async (from, bytes) => {
      feed({ is: 'claims', from, claims: take(probeSchema, bytes).about })
      return encode({ about: table() })
    },
  }

  return {
    start() {
      running = true
      swim = newSwim()
      onMembers(true)
    },
    open() {
      isOpen = true
      for (const answer of waiting) answer()
      waiting = []
      transport.publish(membershipTopic, encode({ claims: [ownClaim(swim)] }))
    },
    stop() {
      running = false
      timer()
    },
    onMembers: () => onMembers(),
    onConnected(node) {
      feed({ is: 'connected', node })
      // Others came for one question: they hear of all from those they keep with.
      if (transport.keeps(node)) void exchangeTables(node)
    },
    onDisconnected(node, why) {
      if (why !== 'local') feed({ is: 'lost', node })
    },
    onMessage(from, bytes) {
      const heard = read(gossipSchema, bytes)
      if (heard !== undefined) feed({ is: 'claims', from, claims: heard.claims })
    },
    requests,
    state: () => swim,
  }
}

/** Undefined for what does not fit: hostile or foreign bytes are an expected outcome. */
function read<S extends z.ZodType>(schema: S, bytes: Uint8Array): z.infer<S> | undefined {
  const decoded = decode(bytes)
  return decoded.kind === 'ok' ? schema.safeParse(decoded.value).data : undefined
}

function take<S extends z.ZodType>(schema: S, bytes: Uint8Array): z.infer<S> {
  const question = read(schema, bytes)
  if (question === undefined) throw fault('invalid', 'a membership question was not understood')
  return question
}
