/**
 * A cluster of failure detectors on virtual time, nothing else: messages take a few ms, nodes can freeze, die or lose links.
 * It carries out the effects of core/membership the way loops/membership.ts does, without a transport.
 */

import type { Effect, Input, Swim } from '../../../agent/core/membership/state.ts'
import { createSwim, step, wakeAt } from '../../../agent/core/membership/swim.ts'
import { presets } from '../../../agent/presets.ts'

interface FakeNode {
  readonly id: string
  swim: Swim
  state: 'up' | 'frozen' | 'killed'
  /** What reached a frozen node, handed over when it thaws. */
  backlog: (() => void)[]
}

export function createFakeCluster(size: number, seed: number, times = presets.local) {
  let nowMs = 0
  let order = 0
  const queue: { atMs: number; order: number; run: () => void }[] = []
  const random = mulberry(seed)
  const ids = Array.from({ length: size }, (_, i) => `n${i + 1}`)
  const cut = new Set<string>()
  const log: { atMs: number; at: string; node: string; liveness: string; cause: string }[] = []
  const nodes = new Map<string, FakeNode>(
    ids.map((id) => [id, { id, swim: createSwim(id, 'run', { incarnation: 1, nowMs: 0 }), state: 'up', backlog: [] }]),
  )

  const after = (ms: number, run: () => void) => queue.push({ atMs: nowMs + ms, order: order++, run })
  /** Runs `what` on the node when it can run: a frozen process does it late, a killed one never. */
  const on = (id: string, what: (node: FakeNode) => void) => {
    const node = nodes.get(id) as FakeNode
    if (node.state === 'up') what(node)
    else if (node.state === 'frozen') node.backlog.push(() => what(node))
  }
  const linked = (a: string, b: string) => !cut.has(`${a}>${b}`)

  function feed(id: string, input: Input) {
    on(id, (node) => {
      const stepped = step(node.swim, input, { nowMs, random, times })
      node.swim = stepped.state
      for (const effect of stepped.effects) perform(node, effect)
    })
  }

  /** A question and its answer over the net; `late` is the lateness of the asker's own timer. */
  function ask(
    from: string,
    to: string,
    timeoutMs: number,
    onAnswer: (answer: unknown) => void,
    onTimeout: (lateMs: number) => void,
    handle: (node: FakeNode) => unknown,
  ) {
    let settled = false
    const dueMs = nowMs + timeoutMs
    if (linked(from, to)) {
      after(1 + random() * 3, () =>
        on(to, (target) => {
          const answer = handle(target)
          if (linked(to, from)) {
            after(1 + random() * 3, () =>
              on(from, () => {
                if (settled) return
                settled = true
                onAnswer(answer)
              }),
            )
          }
        }),
      )
    }
    after(timeoutMs, () =>
      on(from, () => {
        if (settled) return
        settled = true
        onTimeout(nowMs - dueMs)
      }),
    )
  }

  function probed(target: FakeNode, about: unknown, from: string): number {
    if (about !== undefined) feed(target.id, { is: 'claims', from, claims: [about as never] })
    return target.swim.incarnation
  }

  function perform(node: FakeNode, effect: Effect) {
    const self = node.id
    if (effect.do === 'report') {
      log.push({
        atMs: nowMs,
        at: self,
        node: effect.entry.node,
        liveness: effect.entry.liveness,
        cause: effect.entry.cause,
      })
    } else if (effect.do === 'gossip') {
      for (const to of ids) {
        if (to === self || !linked(self, to)) continue
        after(2 + random() * 8, () => feed(to, { is: 'claims', from: self, claims: effect.claims }))
      }
    } else if (effect.do === 'probe') {
      ask(
        self,
        effect.node,
        effect.timeoutMs,
        (incarnation) => feed(self, { is: 'acked', node: effect.node, incarnation: incarnation as number, run: 'run' }),
        (lateMs) => feed(self, { is: 'missed', node: effect.node, lateMs }),
        (target) => probed(target, effect.about, self),
      )
    } else if (effect.do === 'ask') {
      let reached = false
      let nacks = 0
      for (const helper of effect.helpers) {
        ask(
          self,
          helper,
          effect.timeoutMs,
          () => {},
          () => {},
          (h) => {
            ask(
              h.id,
              effect.node,
              effect.timeoutMs * 0.6,
              () => {
                reached = true
              },
              () => {
                nacks += 1
              },
              (target) => target.swim.incarnation,
            )
            return undefined
          },
        )
      }
      const dueMs = nowMs + effect.timeoutMs
      after(effect.timeoutMs, () =>
        on(self, () =>
          feed(self, {
            is: 'asked',
            node: effect.node,
            reached,
            nacks,
            asked: effect.helpers.length,
            lateMs: nowMs - dueMs,
          }),
        ),
      )
    } else if (effect.do === 'dial') {
      after(effect.afterMs + 1, () => {
        const killed = nodes.get(effect.node)?.state === 'killed'
        feed(self, {
          is: 'dialled',
          node: effect.node,
          result: killed ? 'refused' : 'connected',
          second: effect.second,
        })
      })
    } else if (effect.do === 'confirm') {
      const helper = effect.helpers.find((id) => nodes.get(id)?.state === 'up')
      const killed = nodes.get(effect.node)?.state === 'killed'
      after(4, () =>
        feed(self, {
          is: 'confirmed',
          node: effect.node,
          by: killed ? helper : undefined,
          answered: helper === undefined ? 0 : 1,
        }),
      )
    }
  }

  /** The loop's timer: a frozen process wakes late. */
  function ticker(id: string) {
    const node = nodes.get(id) as FakeNode
    after(Math.max(1, wakeAt(node.swim) - nowMs), () =>
      on(id, () => {
        feed(id, { is: 'tick', lagMs: 0 })
        ticker(id)
      }),
    )
  }

  const known = ids.map((node) => ({ node, presence: 'up' as const }))
  for (const id of ids) {
    feed(id, { is: 'members', members: known, initial: false })
    ticker(id)
  }

  return {
    ids,
    log,
    now: () => nowMs,
    run(ms: number) {
      const untilMs = nowMs + ms
      for (;;) {
        queue.sort((a, b) => a.atMs - b.atMs || a.order - b.order)
        const next = queue[0]
        if (next === undefined || next.atMs > untilMs) break
        queue.shift()
        nowMs = Math.max(nowMs, next.atMs)
        next.run()
      }
      nowMs = untilMs
    },
    freeze(id: string) {
      ;(nodes.get(id) as FakeNode).state = 'frozen'
    },
    thaw(id: string) {
      const node = nodes.get(id) as FakeNode
      node.state = 'up'
      // Timers fire before sockets are read, as in Node's event loop after SIGCONT.
      for (const run of node.backlog.splice(0)) run()
    },
    kill(id: string) {
      ;(nodes.get(id) as FakeNode).state = 'killed'
      for (const other of ids) if (other !== id) after(5, () => feed(other, { is: 'lost', node: id }))
    },
    cutLink(from: string, to: string) {
      cut.add(`${from}>${to}`)
    },
    mend() {
      cut.clear()
    },
    say(id: string, presence: 'up' | 'back-soon' | 'left') {
      const members = known.map((k) => (k.node === id ? { ...k, presence } : k))
      for (const other of ids) if (other !== id) feed(other, { is: 'members', members, initial: false })
    },
    believes: (at: string, node: string) => nodes.get(at)?.swim.entries.get(node)?.liveness,
    entry: (at: string, node: string) => nodes.get(at)?.swim.entries.get(node),
    swim: (id: string) => (nodes.get(id) as FakeNode).swim,
    feed,
  }
}

/** Mulberry32: a small generator with a seed. */
function mulberry(seed: number): () => number {
  let a = seed
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
