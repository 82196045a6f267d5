import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Claim, overrides } from '../../../agent/core/membership/claims.ts'
import type { Input } from '../../../agent/core/membership/state.ts'
import { confirm, deadlineMs, suspect } from '../../../agent/core/membership/suspicion.ts'
import { createSwim, step } from '../../../agent/core/membership/swim.ts'
import { presets } from '../../../agent/presets.ts'
import { createFakeCluster } from './fake-cluster.ts'

const seeds = Array.from({ length: 40 }, (_, i) => i + 1)

function percentile(values: readonly number[], share: number): number {
  const ordered = [...values].sort((a, b) => a - b)
  return ordered[Math.min(ordered.length - 1, Math.floor(ordered.length * share))] as number
}

/** Ms from `fromMs` until every survivor first believed it. */
function spread(cluster: ReturnType<typeof createFakeCluster>, fromMs: number, node: string, liveness: string): number {
  const survivors = cluster.ids.filter((id) => id !== node)
  const first = survivors.map((at) => {
    const hit = cluster.log.find((l) => l.at === at && l.node === node && l.liveness === liveness && l.atMs >= fromMs)
    return hit === undefined ? Number.POSITIVE_INFINITY : hit.atMs - fromMs
  })
  return Math.max(...first)
}

describe('a cluster of five', () => {
  it('drops a killed node within half a second, by refusal and with a confirming member', () => {
    const dropped = seeds.map((seed) => {
      const cluster = createFakeCluster(5, seed)
      cluster.run(2_000)
      cluster.kill('n3')
      cluster.run(1_000)
      expect(cluster.entry('n1', 'n3')).toMatchObject({ liveness: 'dead', cause: 'refused' })
      return spread(cluster, 2_000, 'n3', 'dead')
    })
    expect(percentile(dropped, 0.95)).toBeLessThan(200)
  })

  it('avoids a silent node within 1.2 s and buries it within 3 s', () => {
    const runs = seeds.map((seed) => {
      const cluster = createFakeCluster(5, seed)
      cluster.run(2_000 + seed * 7)
      const fromMs = cluster.now()
      cluster.freeze('n3')
      cluster.run(5_000)
      return { avoided: spread(cluster, fromMs, 'n3', 'suspect'), dead: spread(cluster, fromMs, 'n3', 'dead') }
    })
    expect(
      percentile(
        runs.map((r) => r.avoided),
        0.95,
      ),
    ).toBeLessThan(1_200)
    expect(
      percentile(
        runs.map((r) => r.dead),
        0.95,
      ),
    ).toBeLessThan(3_000)
  })

  it('never declares dead a node that stood still for a second', () => {
    for (const seed of seeds) {
      const cluster = createFakeCluster(5, seed)
      cluster.run(2_000 + seed * 13)
      cluster.freeze('n3')
      cluster.run(1_000)
      cluster.thaw('n3')
      cluster.run(10_000)
      expect(cluster.log.filter((l) => l.liveness === 'dead')).toEqual([])
      for (const at of cluster.ids)
        for (const node of cluster.ids) if (at !== node) expect(cluster.believes(at, node)).toBe('alive')
    }
  })

  it('suspects nobody while all is well', () => {
    for (const seed of seeds.slice(0, 10)) {
      const cluster = createFakeCluster(5, seed)
      cluster.run(20_000)
      expect(cluster.log.filter((l) => l.liveness !== 'alive')).toEqual([])
    }
  })

  it('knows of one whose answers do not come back to it, while others reach it, until they do again', () => {
    const cluster = createFakeCluster(5, 3)
    cluster.run(1_000)
    cluster.cutLink('n2', 'n1')
    cluster.run(3_000)
    expect(cluster.entry('n1', 'n2')).toMatchObject({ liveness: 'alive', outOfReach: true })
    expect(cluster.entry('n3', 'n2')?.outOfReach ?? false).toBe(false)
    cluster.mend()
    cluster.run(2_000)
    expect(cluster.entry('n1', 'n2')).toMatchObject({ liveness: 'alive', outOfReach: false })
  })

  it('keeps a node that one member cannot reach but others can', () => {
    const cluster = createFakeCluster(5, 3)
    cluster.cutLink('n1', 'n2')
    cluster.cutLink('n2', 'n1')
    cluster.run(20_000)
    expect(cluster.log.filter((l) => l.liveness === 'dead')).toEqual([])
  })

  it('takes back a node that froze for ten seconds, on every member', () => {
    const cluster = createFakeCluster(5, 5)
    cluster.run(2_000)
    cluster.freeze('n3')
    cluster.run(10_000)
    expect(cluster.believes('n1', 'n3')).toBe('dead')
    cluster.thaw('n3')
    for (const at of ['n1', 'n2', 'n4', 'n5']) cluster.feed(at, { is: 'connected', node: 'n3' })
    cluster.run(3_000)
    for (const at of ['n1', 'n2', 'n4', 'n5']) expect(cluster.believes(at, 'n3')).toBe('alive')
    for (const node of ['n1', 'n2', 'n4', 'n5']) expect(cluster.believes('n3', node)).toBe('alive')
  })

  it('holds a node that said it is back soon, and doubts it when the time is over', () => {
    const cluster = createFakeCluster(5, 6)
    cluster.run(1_000)
    cluster.say('n3', 'back-soon')
    cluster.kill('n3')
    cluster.run(25_000)
    expect(cluster.believes('n1', 'n3')).toBe('suspect')
    cluster.run(10_000)
    expect(cluster.believes('n1', 'n3')).toBe('dead')
  })

  it('takes a node that left at its word, and welcomes it back', () => {
    const cluster = createFakeCluster(5, 7)
    cluster.run(1_000)
    cluster.say('n3', 'left')
    expect(cluster.believes('n1', 'n3')).toBe('left')
    cluster.say('n3', 'up')
    cluster.run(1_000)
    expect(cluster.believes('n1', 'n3')).toBe('alive')
  })
})

describe('a cluster of two', () => {
  it('buries a refused node after seeing it refused twice, since nobody can confirm', () => {
    const cluster = createFakeCluster(2, 1)
    cluster.run(1_000)
    cluster.kill('n2')
    cluster.run(90)
    expect(cluster.believes('n1', 'n2')).toBe('suspect')
    cluster.run(100)
    expect(cluster.believes('n1', 'n2')).toBe('dead')
  })
})

describe('a node that stood still itself', () => {
  it('buries nobody for the time in which it could not hear', () => {
    for (const seed of seeds.slice(0, 20)) {
      const cluster = createFakeCluster(3, seed)
      cluster.run(2_000)
      cluster.freeze('n1')
      cluster.run(8_000)
      cluster.thaw('n1')
      cluster.run(2_000)
      expect(cluster.log.filter((l) => l.at === 'n1' && l.liveness === 'dead')).toEqual([])
    }
  })

  it('lengthens its own probe times when it is doubted, and shortens them again when it is well', () => {
    const cluster = createFakeCluster(3, 2)
    cluster.run(1_000)
    const claim: Claim = { node: 'n1', says: 'suspect', incarnation: 1, by: 'n2', cause: 'silent', confirmedBy: [] }
    cluster.feed('n1', { is: 'claims', from: 'n2', claims: [claim] })
    expect(cluster.swim('n1')).toMatchObject({ awareness: 1, incarnation: 2 })
    cluster.run(2_000)
    expect(cluster.swim('n1').awareness).toBe(0)
    expect(cluster.believes('n2', 'n1')).toBe('alive')
  })
})

describe('claims', () => {
  const claim = fc.record({
    node: fc.constant('x'),
    says: fc.constantFrom('alive', 'suspect', 'dead'),
    incarnation: fc.nat(3),
    by: fc.constant('y'),
    cause: fc.constant('' as const),
    confirmedBy: fc.constant([] as string[]),
  }) as fc.Arbitrary<Claim>

  it('end the same whatever the order in which they are heard', () => {
    fc.assert(
      fc.property(fc.array(claim, { maxLength: 8 }), fc.nat(), (claims, rotation) => {
        const heard = (list: readonly Claim[]) =>
          list.reduce<{ says: Claim['says']; incarnation: number }>((held, c) => (overrides(c, held) ? c : held), {
            says: 'alive',
            incarnation: 0,
          })
        const turned = [
          ...claims.slice(rotation % (claims.length + 1)),
          ...claims.slice(0, rotation % (claims.length + 1)),
        ].reverse()
        const [a, b] = [heard(claims), heard(turned)]
        expect([a.says, a.incarnation]).toEqual([b.says, b.incarnation])
      }),
    )
  })
})

describe('a death that another node tells', () => {
  const answeredMs = 10_000
  const hear = (cause: Claim['cause'], afterMs: number) => {
    const at = (nowMs: number) => ({ nowMs, random: () => 0.5, times: presets.local })
    const members = [{ node: 'b', presence: 'up' }] as const
    const dead: Claim = { node: 'b', says: 'dead', incarnation: 1, by: 'c', cause, confirmedBy: [] }
    const inputs: readonly (readonly [Input, number])[] = [
      [{ is: 'members', members, initial: false }, 0],
      [{ is: 'acked', node: 'b', incarnation: 1, run: 'run' }, answeredMs],
      [{ is: 'claims', from: 'c', claims: [dead] }, answeredMs + afterMs],
    ]
    const start = createSwim('a', 'run', { incarnation: 1, nowMs: 0 })
    return inputs.reduce((swim, [input, nowMs]) => step(swim, input, at(nowMs)).state, start).entries.get('b')?.liveness
  }

  it('of silence is a doubt only where the node has answered since, as after a healed cut', () => {
    expect(hear('silent', presets.local.suspicionMinMs - 1)).toBe('suspect')
    expect(hear('silent', presets.local.suspicionMinMs)).toBe('dead')
  })

  it('of a refused connection holds at once', () => {
    expect(hear('refused', 1)).toBe('dead')
  })
})

describe('when others are back', () => {
  it('asks the dead at once, and each at most once within a time-out, however many are back', () => {
    const times = presets.local
    const at = (nowMs: number) => ({ nowMs, random: () => 0.5, times })
    const claim = (node: string, says: Claim['says'], incarnation: number): Claim => {
      const [by, cause] = says === 'alive' ? [node, '' as const] : ['c', 'refused' as const]
      return { node, says, incarnation, by, cause, confirmedBy: [] }
    }
    const known = (['b', 'c', 'dead'] as const).map((node) => ({ node, presence: 'up' as const }))
    const start = createSwim('a', 'run', { incarnation: 1, nowMs: 0 })
    let { state } = step(start, { is: 'members', members: known, initial: false }, at(0))
    const hear = (nowMs: number, ...claims: Claim[]) => {
      const stepped = step(state, { is: 'claims', from: 'c', claims }, at(nowMs))
      state = stepped.state
      return stepped.effects.flatMap((effect) => (effect.do === 'probe' ? [effect.node] : []))
    }
    hear(1, claim('dead', 'dead', 1))
    const asked: string[] = []
    for (let turn = 1; turn <= 50; turn++) {
      asked.push(...hear(turn, claim('b', 'suspect', turn)), ...hear(turn, claim('b', 'alive', turn + 1)))
    }
    expect(asked.filter((node) => node === 'dead')).toHaveLength(1)
    hear(1_000, claim('b', 'suspect', 60))
    expect(hear(1_000 + times.probeTimeoutMs, claim('b', 'alive', 61))).toContain('dead')
  })
})

describe('a suspicion', () => {
  const options = { minMs: 1_000, maxMs: 4_000, members: 10 }

  it('lasts its maximum without confirmation and its minimum with two', () => {
    const alone = suspect('a', 0, options)
    expect(deadlineMs(alone)).toBe(4_000)
    const one = deadlineMs(confirm(alone, 'b'))
    expect(one).toBeGreaterThan(1_000)
    expect(one).toBeLessThan(4_000)
    expect(deadlineMs(confirm(confirm(alone, 'b'), 'c'))).toBe(1_000)
  })

  it('counts each doubter once, and the accuser not at all', () => {
    const twice = confirm(confirm(suspect('a', 0, options), 'a'), 'a')
    expect(deadlineMs(twice)).toBe(4_000)
  })
})
