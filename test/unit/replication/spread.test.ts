// What a cluster of views promises: a write on one is soon on all, whatever is lost on the way (swarm-reference.md 3.A, 5.C; design.md 3).
import { describe, expect, it } from 'vitest'
import type { Digest } from '../../../protocol/digest.ts'
import { type Version, zeroVersion } from '../../../protocol/hlc.ts'
import { requestKinds } from '../../../protocol/messages.ts'
import type { ServiceValue } from '../../../protocol/model.ts'
import {
  createNet,
  createRandom,
  endpointValue,
  memberValue,
  type Net,
  serviceValue,
  type TestNode,
  taskValue,
} from './cluster.ts'

describe('records of one node on another', () => {
  it('appear, change and go as they do at their writer', async () => {
    const net = createNet()
    const [a, b] = [await net.add('n1'), await net.add('n2')]
    a.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: serviceValue('web') })
    await net.advance(200)
    expect(b.view.services.get('s1')?.value.spec.Name).toBe('web')
    a.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: serviceValue('web', { generation: 2 }) })
    await net.advance(200)
    expect(b.view.services.get('s1')?.value.generation).toBe(2)
    a.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: null })
    await net.advance(200)
    expect(b.view.services.has('s1')).toBe(false)
  })

  it('converge to equal digests and equal records after any loss, reordering, partition and writing', async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const random = createRandom(seed)
      const net = createNet(seed)
      const size = 2 + Math.floor(random.next() * 5)
      const ids = Array.from({ length: size }, (_, i) => `n${i}`)
      for (const id of ids) await net.add(id, { networks: random.next() < 0.5 ? ['net1', 'net2'] : ['net1'] })
      net.loss = 0.4
      for (let step = 0; step < 60; step++) {
        const node = net.nodes.get(ids[Math.floor(random.next() * size)]!)!
        const id = `k${Math.floor(random.next() * 8)}`
        const value = random.next() < 0.8
        const kind = random.next()
        if (kind < 0.4)
          node.view.put({ scope: 'cluster', kind: 'service', id, value: value ? serviceValue(`${id}-${step}`) : null })
        else if (kind < 0.6)
          node.view.put({
            scope: 'cluster',
            kind: 'task',
            id: `${id}-${node.id}`,
            value: value ? taskValue(node.id) : null,
          })
        else if (kind < 0.9)
          node.view.put({
            scope: 'network/net1',
            kind: 'endpoint',
            id: `${id}-${node.id}`,
            value: value ? endpointValue(node.id) : null,
          })
        else
          await node.view.commit([
            { scope: 'cluster', kind: 'node', id, value: { spec: { Availability: 'active' }, created: zeroVersion } },
          ])
        if (random.next() < 0.1) net.cut.add(`${ids[Math.floor(random.next() * size)]}>${node.id}`)
        if (random.next() < 0.3) await net.advance(random.next() * 500)
      }
      net.loss = 0
      net.cut.clear()
      await net.advance(10_000)
      for (const scope of ['cluster', 'network/net1', 'network/net2'] as const)
        expect([seed, scope, net.digestsEqual(scope)]).toEqual([seed, scope, true])
      const shown = [...net.nodes.values()].map(({ view }) =>
        JSON.stringify(
          [[...view.services].sort(), [...view.tasks].sort(), [...(view.endpoints.get('net1') ?? [])].sort()],
          order,
        ),
      )
      expect(new Set(shown).size).toBe(1)
      for (const { view } of net.nodes.values()) expect(view.need('cluster')).toBe(0)
    }
  }, 60_000)

  it('reach a node that joins late, all 1000 of them, by sync alone', async () => {
    const net = createNet()
    const a = await net.add('n1')
    for (let i = 0; i < 1000; i++)
      a.view.put({ scope: 'network/ingress', kind: 'endpoint', id: `t${i}`, value: endpointValue('n1') })
    net.loss = 1
    const b = await net.add('n2')
    await net.advance(100)
    expect(b.view.endpoints.get('ingress')?.size).toBe(1000)
    expect(b.sync.readiness('network/ingress')).toBe('caught-up')
  })

  it('arrive though the writer left the network and joined it again with changes in its queue', async () => {
    const net = createNet()
    const a = await net.add('n1', { networks: ['net1'] })
    const b = await net.add('n2', { networks: ['net1'] })
    for (let i = 0; i < 3; i++)
      a.view.put({ scope: 'network/net1', kind: 'endpoint', id: `t${i}`, value: endpointValue('n1') })
    a.view.dropScope('network/net1')
    a.gossip.follow()
    a.view.holdScope('network/net1')
    a.gossip.follow()
    await net.advance(300)
    expect(b.view.endpoints.get('net1')?.size).toBe(3)
    a.sync.onHeld('network/net1')
    await net.advance(300)
    expect(a.view.endpoints.get('net1')?.size).toBe(3)
  })
})

describe('records that somebody else has', () => {
  it('are waited for, but not those of a double of this node: it ends, and what it gave to nobody is gone', async () => {
    const net = createNet()
    const [a] = [await net.add('n1'), await net.add('n2')]
    await net.advance(1_000)
    const theirs: Digest = new Map([['n9/log', { covered: [[1, 2]], refused: [] }]])
    const lackedFrom = (node: string) => [a.view.compare('cluster', node, theirs).weLack.size, a.view.need('cluster')]
    expect(lackedFrom('n1')).toEqual([1, 0])
    expect(lackedFrom('n2')).toEqual([1, 2])
  })
})

describe('deletes', () => {
  it('of an id that is unknown here still leave a tombstone, so a late create never revives it', async () => {
    const net = createNet()
    const [a, b] = [await net.add('n1'), await net.add('n2')]
    net.cut.add('n1>n2')
    a.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: serviceValue('web') })
    await net.advance(10)
    b.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: null })
    net.connect('n1', 'n2')
    await net.advance(10_000)
    for (const { view } of [a, b]) expect(view.services.has('s1')).toBe(false)
  })

  it('of a service win over a concurrent update with a later clock', async () => {
    const net = createNet()
    const [a, b] = [await net.add('n1'), await net.add('n2', { wallOffsetMs: 5_000 })]
    a.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: serviceValue('web') })
    await net.advance(300)
    net.cut.add('n1>n2').add('n2>n1')
    a.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: null })
    b.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: serviceValue('web', { generation: 9 }) })
    net.connect('n1', 'n2')
    await net.advance(10_000)
    for (const { view } of [a, b]) expect(view.services.has('s1')).toBe(false)
  })

  it('made while the owner was down still hold when it returns', async () => {
    const net = createNet()
    const [a, b] = [await net.add('n1'), await net.add('n2')]
    b.view.put({
      scope: 'cluster',
      kind: 'network',
      id: 'w1',
      value: { spec: { Name: 'w' }, created: zeroVersion, subnet: '', gateway: '' },
    })
    await net.advance(300)
    b.crash()
    a.view.put({ scope: 'cluster', kind: 'network', id: 'w1', value: null })
    await net.advance(300)
    const back = await net.add('n2', { disk: b.disk })
    await net.advance(5_000)
    expect(back.view.networks.has('w1')).toBe(false)
    expect(a.view.networks.has('w1')).toBe(false)
  })

  it('leave no tombstone once every member covers it, and none comes back', async () => {
    const net = createNet()
    const nodes = [await net.add('n1'), await net.add('n2'), await net.add('n3')]
    nodes[0]!.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: null })
    await net.advance(40_000)
    expect(nodes.map(({ view }) => view.tombstones('cluster').length)).toEqual([1, 1, 1])
    for (let round = 0; round < 8; round++) {
      for (const { janitor } of nodes) janitor.sweep()
      await net.advance(10_000)
    }
    expect(nodes.map(({ view }) => view.tombstones('cluster').length)).toEqual([0, 0, 0])
    expect(net.digestsEqual()).toBe(true)
  })

  it('keep their tombstone while a known member has not covered it', async () => {
    const net = createNet()
    const [a, , c] = [await net.add('n1'), await net.add('n2'), await net.add('n3')]
    await net.advance(1_000)
    c.crash()
    a.view.setLiveness('n3', 'dead', a.clock.now())
    a.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: null })
    await net.advance(60_000)
    a.janitor.sweep()
    expect(a.view.tombstones('cluster').length).toBe(1)
  })

  it('hold against a member that was away beyond the limit: it takes the state before it contributes', async () => {
    const net = createNet()
    const a = await net.add('n1', { absentMaxMs: 60_000 })
    const b = await net.add('n2', { absentMaxMs: 60_000 })
    const c = await net.add('n3')
    a.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: serviceValue('web') })
    await net.advance(1_000)
    expect(c.view.services.has('s1')).toBe(true)
    c.crash()
    for (const { view, clock } of [a, b]) view.setLiveness('n3', 'dead', clock.now())
    a.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: null })
    await net.advance(30_000)
    for (let round = 0; round < 8; round++) {
      for (const { janitor } of [a, b]) janitor.sweep()
      await net.advance(10_000)
    }
    expect(a.view.tombstones('cluster').length).toBe(0)
    const back = await net.add('n3', { disk: c.disk })
    back.view.put({ scope: 'cluster', kind: 'task', id: 't9', value: taskValue('n3') })
    await net.advance(20_000)
    for (const { view } of [a, b, back]) {
      expect(view.services.has('s1')).toBe(false)
      expect(view.tasks.has('t9')).toBe(true)
    }
    expect(back.view.counts.get('sync.reseeded')).toBeGreaterThan(0)
    expect(net.digestsEqual()).toBe(true)
  })
})

describe('a log that ended, with nothing live in it', () => {
  it('is remembered, so that a backup of any member brings back nothing that was deleted', async () => {
    const net = createNet()
    const b = await net.add('n2')
    const c = await net.add('n3')
    const a = await net.add('n1')
    a.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: serviceValue('web') })
    await net.advance(5_000)
    expect(c.view.services.has('s1')).toBe(true)
    const backups = { n1: a.disk.copy(), n3: c.disk.copy() }
    const ended = [...a.view.services.values()][0]!.author.log
    // Its journal is lost: it goes on under a new log, in which all that is its own is written anew.
    a.crash()
    await net.add('n1')
    await net.advance(10_000)
    b.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: null })
    for (let round = 0; round < 8; round++) {
      await net.advance(10_000)
      for (const { janitor } of net.nodes.values()) janitor.sweep()
    }
    expect(b.view.tombstones('cluster')).toEqual([])
    expect([...b.view.digest('cluster').keys()]).toContain(`n1/${ended}`)
    for (const id of ['n1', 'n3'] as const) {
      net.nodes.get(id)!.crash()
      await net.add(id, { disk: backups[id] })
      await net.advance(20_000)
      for (const { view } of net.nodes.values()) expect(view.services.has('s1')).toBe(false)
      expect(net.digestsEqual()).toBe(true)
    }
  })
})

describe('a service whose delete nobody has to be told any more', () => {
  it('is deleted again when it is changed at a node that is back from a backup and has not re-seeded (seed 83 of the soak)', async () => {
    const { net, a, back } = await backFromBackup()
    back.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: changed(back, 's1') })
    await net.advance(200)
    expect(a.view.services.has('s1')).toBe(false)
    await net.advance(10_000)
    expect(back.view.services.has('s1')).toBe(false)
    expect(net.digestsEqual()).toBe(true)
  })

  it('is so also by a member that was started again since, first from its log and then from its snapshot', async () => {
    const { net, a, back } = await backFromBackup()
    let again = a
    for (const name of ['state.log-1', 'state.log-2']) {
      again.crash()
      net.cut.add('n1>n3').add('n3>n1')
      // A log with a torn end is replaced by a snapshot when it has been read.
      again.disk.files.set(name, Uint8Array.from([...again.disk.files.get(name)!, 1]))
      again = await net.add('n1', { disk: again.disk })
      expect(again.view.found).toBe('cut')
    }
    again.janitor.start()
    net.cut.clear()
    expect(again.view.wasDeleted('s1')).toBe(true)
    back.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: changed(back, 's1') })
    await net.advance(200)
    expect(again.view.services.has('s1')).toBe(false)
  })

  it('is deleted again by a member that lost its power when it had come back there', async () => {
    const { net, a, back } = await backFromBackup()
    a.janitor.stop()
    back.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: changed(back, 's1') })
    await net.advance(200)
    expect(a.view.services.has('s1')).toBe(true)
    for (const { crash } of [a, back]) crash()
    const again = await net.add('n1', { disk: a.disk })
    expect(again.view.services.has('s1')).toBe(true)
    again.janitor.start()
    await net.advance(15_000)
    expect(again.view.services.has('s1')).toBe(false)
  })

  it('is remembered for the last 4,096 deletes', async () => {
    const { view } = await createNet().add('n1')
    const ids = Array.from({ length: 4_098 }, (_, i) => `s${i}`)
    for (const id of ids) view.put({ scope: 'cluster', kind: 'service', id, value: null })
    view.collect(
      'cluster',
      view.tombstones('cluster').map(({ key }) => key),
    )
    expect(ids.filter((id) => !view.wasDeleted(id))).toEqual(['s0', 's1'])
  })
})

describe('a member that was away beyond the limit', () => {
  it('gives nothing back before it has re-seeded, also when another one asks it first', async () => {
    const { net, a, back } = await deletedMeanwhile(by('n1'))
    // A record that the cluster does not know, for what was deleted meanwhile.
    back.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: serviceValue('web', { generation: 2 }) })
    await a.sync.exchange('n3')
    expect(a.view.services.has('s1')).toBe(false)
    await expectGone(net, [a, back])
  })

  it('loses what was deleted meanwhile, also what it had made itself and changed while it was away', async () => {
    const { net, a, back } = await deletedMeanwhile(by('n3'))
    back.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: changed(back, 's1') })
    await expectGone(net, [a, back])
  })

  it.each(['loses its holder', 'loses its power'])(
    'loses what was deleted meanwhile also when it %s while it reads what there is (seed 198 of the soak)',
    async (how) => {
      const { net, a, back } = await deletedMeanwhile(by('n1'))
      const { onRequest } = a.sync
      let [isRead, isLost] = [false, false]
      Object.assign(a.sync, {
        async onRequest(...[from, kind, bytes]: Parameters<typeof onRequest>) {
          if (isRead && !isLost) {
            isLost = true
            await new Promise<void>((resolve) => void a.clock.after(100, resolve))
            if (how === 'loses its power') back.crash()
            throw new Error('the holder does not answer')
          }
          isRead ||= kind === requestKinds.pull
          return onRequest(from, kind, bytes)
        },
      })
      net.connect('n1', 'n3')
      await net.advance(1_000)
      expect(isLost).toBe(true)
      const again = how === 'loses its power' ? await net.add('n3', { disk: back.disk }) : back
      await expectGone(net, [a, again])
    },
  )

  it('does not take back from its side what was deleted meanwhile and changed there', async () => {
    const net = createNet()
    const [a, c, d] = [await net.add('n1'), await net.add('n3', { absentMaxMs: 60_000 }), await net.add('n4')]
    c.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: serviceValue('web', { created: by('n3') }) })
    await net.advance(1_000)
    for (const way of ['n3>n1', 'n1>n3', 'n3>n4', 'n4>n3']) net.cut.add(way)
    for (const absent of ['n1', 'n4']) c.view.setLiveness(absent, 'dead', c.clock.now())
    c.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: null })
    a.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: changed(a, 's1') })
    await net.advance(70_000)
    c.janitor.sweep()
    expect([c.view.tombstones('cluster').length, d.view.services.get('s1')?.value.generation]).toEqual([0, 2])
    net.connect('n3', 'n4')
    await net.advance(10_000)
    for (const { view } of [c, d]) expect(view.services.has('s1')).toBe(false)
    net.connect('n1', 'n3')
    await net.advance(10_000)
    for (const { view } of [a, c, d]) expect(view.services.has('s1')).toBe(false)
    expect(net.digestsEqual()).toBe(true)
  })

  it('keeps what is changed while it reads what there is (seed 148 of the soak)', async () => {
    const net = createNet()
    const [a, c] = [await net.add('n1'), await net.add('n3')]
    c.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: serviceValue('web', { created: by('n3') }) })
    await net.advance(1_000)
    for (const way of ['n3>n1', 'n1>n3']) net.cut.add(way)
    letGoOfOne(c)
    await net.advance(1_000)
    // The change is on both before the answer to the first question for records.
    const { onRequest } = c.sync
    let isChanged = false
    Object.assign(c.sync, {
      async onRequest(...[from, kind, bytes]: Parameters<typeof onRequest>) {
        if (kind === requestKinds.pull && !isChanged) {
          isChanged = true
          c.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: changed(c, 's1') })
          await new Promise<void>((resolve) => void c.clock.after(200, resolve))
        }
        return onRequest(from, kind, bytes)
      },
    })
    net.connect('n1', 'n3')
    await net.advance(10_000)
    expect(isChanged).toBe(true)
    for (const { view } of [a, c]) expect(view.services.get('s1')?.value.generation).toBe(2)
    expect(net.digestsEqual()).toBe(true)
  })

  it('keeps what another one on its side made meanwhile and it changed itself (seed 91 of the soak)', async () => {
    const net = createNet()
    const c = await net.add('n3')
    letGoOfOne(c)
    for (const way of ['n3>n1', 'n1>n3', 'n3>n2', 'n2>n3']) net.cut.add(way)
    const [a, b] = [await net.add('n1'), await net.add('n2')]
    b.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: serviceValue('web', { created: by('n2') }) })
    await net.advance(1_000)
    a.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: changed(a, 's1') })
    await net.advance(1_000)
    net.connect('n1', 'n3')
    net.connect('n2', 'n3')
    await net.advance(10_000)
    for (const { view } of [a, b, c]) expect(view.services.get('s1')?.value.generation).toBe(2)
    expect(net.digestsEqual()).toBe(true)
  })
})

/** s1, made at a node, deleted at n1 while n3 was away, and forgotten. n3 is back with its old state, and unheard of n1. */
async function deletedMeanwhile(created: Version) {
  const net = createNet()
  const [a, c] = [await net.add('n1', { absentMaxMs: 60_000 }), await net.add('n3')]
  const maker = created.node === 'n1' ? a : c
  maker.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: serviceValue('web', { created }) })
  await net.advance(1_000)
  c.crash()
  a.view.setLiveness('n3', 'dead', a.clock.now())
  a.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: null })
  await net.advance(70_000)
  a.janitor.sweep()
  expect(a.view.tombstones('cluster').length).toBe(0)
  net.cut.add('n3>n1')
  const back = await net.add('n3', { disk: c.disk, withoutMember: true })
  return { net, a, back }
}

/** n3 runs on a disk of the time when there was the service s1, is connected, and has asked nobody yet. */
async function backFromBackup(): Promise<{ net: Net; a: TestNode; back: TestNode }> {
  const net = createNet()
  const [a, c] = [await net.add('n1'), await net.add('n3')]
  a.janitor.start()
  a.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: serviceValue('web') })
  await net.advance(5_000)
  const backup = c.disk.copy()
  a.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: null })
  await net.advance(30_000)
  expect(a.view.tombstones('cluster')).toEqual([])
  c.crash()
  net.cut.add('n1>n3').add('n3>n1')
  const back = await net.add('n3', { disk: backup })
  net.cut.clear()
  return { net, a, back }
}

async function expectGone(net: Net, nodes: readonly TestNode[]): Promise<void> {
  net.connect('n1', 'n3')
  await net.advance(10_000)
  for (const { view } of nodes) expect(view.services.has('s1')).toBe(false)
  expect(net.digestsEqual()).toBe(true)
}

/** From now on who has not heard of this must re-seed from the node. */
function letGoOfOne({ view }: TestNode): void {
  view.put({ scope: 'cluster', kind: 'service', id: 's0', value: serviceValue('old') })
  view.put({ scope: 'cluster', kind: 'service', id: 's0', value: null })
  view.collect(
    'cluster',
    view.tombstones('cluster').map(({ key }) => key),
  )
  expect(view.tombstones('cluster').length).toBe(0)
}

function by(node: string): Version {
  return { ms: 1, counter: 0, node }
}

function changed({ view }: TestNode, id: string): ServiceValue {
  const { value, version } = view.services.get(id)!
  return { ...value, generation: value.generation + 1, parent: version, ancestors: [version] }
}

describe('a failed node', () => {
  it('keeps its records, hidden by its liveness, and has them at once on return without a word sent', async () => {
    const net = createNet()
    const [a, b] = [await net.add('n1'), await net.add('n2')]
    b.view.put({ scope: 'cluster', kind: 'task', id: 't1', value: taskValue('n2') })
    await net.advance(300)
    const seen: unknown[] = []
    a.view.watch((notice) => seen.push(notice.kind === 'liveness' ? [notice.before, notice.after] : notice.kind))
    a.view.setLiveness('n2', 'dead', a.clock.now())
    a.view.setLiveness('n2', 'dead', a.clock.now())
    expect(a.view.tasks.has('t1')).toBe(true)
    expect(a.view.members.get('n2')?.liveness).toBe('dead')
    a.view.setLiveness('n2', 'alive', a.clock.now())
    expect(a.view.tasks.has('t1')).toBe(true)
    expect(seen).toEqual(['snapshot', ['alive', 'dead'], ['dead', 'alive']])
  })

  it('that is removed takes its member, task and endpoint records with it, on every node and for late arrivals too', async () => {
    const net = createNet()
    const [a, b] = [await net.add('n1'), await net.add('n2')]
    b.view.put({ scope: 'cluster', kind: 'task', id: 't1', value: taskValue('n2') })
    b.view.put({ scope: 'network/ingress', kind: 'endpoint', id: 't1', value: endpointValue('n2') })
    await net.advance(300)
    b.crash()
    a.view.put({
      scope: 'cluster',
      kind: 'removal',
      id: 'n2',
      value: { by: 'n1', atMs: 1, signature: new Uint8Array(64) },
    })
    expect(a.view.members.has('n2')).toBe(false)
    expect(a.view.tasks.has('t1')).toBe(false)
    expect(a.view.endpoints.has('ingress')).toBe(false)
    a.view.apply('cluster', [['task', 't2', taskValue('n2'), 1, 0, 'n2', 'n2', 'old', 1]], 'n3')
    expect(a.view.tasks.has('t2')).toBe(false)
    const c = await net.add('n3')
    await net.advance(5_000)
    expect(c.view.tasks.size).toBe(0)
    expect(net.digestsEqual()).toBe(true)
  })
})

describe('a record of another owner', () => {
  it('cannot be forged: a stranger changes or deletes no task, endpoint or member of another node', async () => {
    const net = createNet()
    const a = await net.add('n1')
    a.view.put({ scope: 'cluster', kind: 'task', id: 't1', value: taskValue('n1') })
    const far = a.clock.wall() + 1_000
    a.view.apply(
      'cluster',
      [
        ['task', 't1', taskValue('n1', { state: 'failed' }), far, 0, 'n2', 'n2', 'x', 1],
        ['task', 't1', null, far, 1, 'n2', 'n2', 'x', 2],
        ['member', 'n1', null, far, 2, 'n2', 'n2', 'x', 3],
        ['member', 'n1', memberValue(), far, 3, 'n2', 'n2', 'x', 4],
      ],
      'n2',
    )
    expect(a.view.tasks.get('t1')?.value.state).toBe('running')
    expect(a.view.members.has('n1')).toBe(true)
    expect(a.view.counts.get('refused.owner')).toBe(3)
  })

  it("is not killed by a stranger's tombstone that was here first", async () => {
    const net = createNet()
    const a = await net.add('n1')
    const far = a.clock.wall() + 1_000
    a.view.apply('cluster', [['task', 't1', null, far, 0, 'n2', 'n2', 'x', 1]], 'n2')
    a.view.put({ scope: 'cluster', kind: 'task', id: 't1', value: taskValue('n1') })
    expect(a.view.tasks.get('t1')?.value.state).toBe('running')
  })

  it('that is refused within a chunk stays refused, though the chunk speaks for its number', async () => {
    const net = createNet()
    const a = await net.add('n1')
    const bad = ['comet', 'c1', {}, 5, 0, 'n9', 'n9', 'x', 2]
    a.view.apply('cluster', [bad], 'n9', new Map([['n9/x', [[1, 3]]]]))
    expect(a.view.digest('cluster').get('n9/x')).toEqual({
      covered: [
        [1, 1],
        [3, 3],
      ],
      refused: [[2, 2]],
    })
  })

  it('that is refused counts as taken in here, and is never spoken for to others', async () => {
    const net = createNet()
    const [a, b] = [await net.add('n1'), await net.add('n2')]
    await net.advance(100)
    a.view.apply('cluster', [['service', 's1', { spec: 7 }, 5, 0, 'n9', 'n9', 'x', 1]], 'n9')
    expect(a.view.digest('cluster').get('n9/x')).toEqual({ covered: [], refused: [[1, 1]] })
    b.view.apply('cluster', [['service', 's1', serviceValue('web'), 5, 0, 'n9', 'n9', 'x', 1]], 'n9')
    await a.sync.exchange('n2')
    expect(b.view.services.has('s1')).toBe(true)
    expect(a.view.need('cluster')).toBe(0)
  })
})

describe('watchers', () => {
  it('get a snapshot first and then each change once, with the last value seen here', async () => {
    const net = createNet()
    const [a, b] = [await net.add('n1'), await net.add('n2')]
    a.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: serviceValue('one') })
    await net.advance(300)
    const seen: string[] = []
    b.view.watch((notice) => {
      if (notice.kind === 'liveness' || notice.kind === 'reach') return
      for (const { kind, before, after } of notice.changes) {
        if (kind === 'service') seen.push(`${notice.kind}: ${nameOf(before)} -> ${nameOf(after)}`)
      }
    })
    a.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: serviceValue('two') })
    await net.advance(300)
    a.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: null })
    await net.advance(300)
    await b.sync.exchange('n1')
    expect(seen).toEqual(['snapshot: - -> one', 'changes: one -> two', 'changes: two -> -'])
  })

  it('see an update that comes before its create as one create, and a delete of the unknown not at all', async () => {
    const net = createNet()
    const a = await net.add('n1')
    const seen: string[] = []
    a.view.watch((notice) => {
      if (notice.kind === 'changes')
        for (const { before, after } of notice.changes) seen.push(`${nameOf(before)} -> ${nameOf(after)}`)
    })
    a.view.apply('cluster', [['service', 's1', serviceValue('two'), 7, 0, 'n9', 'n9', 'x', 2]], 'n9')
    a.view.apply('cluster', [['service', 's1', serviceValue('one'), 6, 0, 'n9', 'n9', 'x', 1]], 'n9')
    a.view.apply('cluster', [['service', 's2', null, 8, 0, 'n9', 'n9', 'x', 3]], 'n9')
    expect(seen).toEqual(['- -> two'])
  })
})

describe('the first change', () => {
  it('is sent at once, and what follows within 20 ms goes in one message', async () => {
    const net = createNet()
    const a = await net.add('n1')
    await net.advance(1_000)
    a.published.length = 0
    for (let i = 0; i < 20; i++) a.view.put({ scope: 'cluster', kind: 'task', id: `t${i}`, value: taskValue('n1') })
    expect(a.published.length).toBe(1)
    await net.advance(25)
    expect(a.published.length).toBe(2)
  })

  it('of one network never travels on the topic of another scope', async () => {
    const net = createNet()
    const [a, b] = [await net.add('n1', { networks: ['net1'] }), await net.add('n2')]
    a.view.put({ scope: 'network/net1', kind: 'endpoint', id: 't1', value: endpointValue('n1') })
    await net.advance(10_000)
    expect(a.published.at(-1)).toBe('vine/network/net1')
    expect(b.view.endpoints.size).toBe(0)
  })
})

describe('sync', () => {
  it('finishes every one of several exchanges with one member at once', async () => {
    const net = createNet()
    const [a] = [await net.add('n1'), await net.add('n2'), await net.add('n3')]
    for (let i = 0; i < 2_000; i++) a.view.put({ scope: 'cluster', kind: 'task', id: `t${i}`, value: taskValue('n1') })
    const others = ['n2', 'n3'].map((id) => net.nodes.get(id)!)
    const done = await Promise.all([
      ...others.map(({ sync }) => sync.exchange('n1')),
      ...others.map(({ sync }) => sync.exchange('n1')),
      a.sync.exchange('n2'),
    ])
    expect(done).toEqual([true, true, true, true, true])
    for (const { view } of others) expect(view.tasks.size).toBe(2_000)
  })

  it('makes both sides equal in one exchange, whoever began it', async () => {
    const net = createNet()
    net.loss = 1
    const [a, b] = [await net.add('n1'), await net.add('n2')]
    await net.advance(100)
    a.view.put({ scope: 'cluster', kind: 'task', id: 'a', value: taskValue('n1') })
    b.view.put({ scope: 'cluster', kind: 'task', id: 'b', value: taskValue('n2') })
    await a.sync.exchange('n2')
    for (const { view } of [a, b]) expect([...view.tasks.keys()].sort()).toEqual(['a', 'b'])
    expect(net.digestsEqual()).toBe(true)
  })

  it('counts what is missing against what members showed, down to 0', async () => {
    const net = createNet()
    net.loss = 1
    const [a, b] = [await net.add('n1'), await net.add('n2')]
    await net.advance(100)
    for (let i = 0; i < 5; i++) a.view.put({ scope: 'cluster', kind: 'task', id: `t${i}`, value: taskValue('n1') })
    b.view.compare('cluster', 'n1', a.view.digest('cluster'))
    expect(b.view.need('cluster')).toBe(5)
    await b.sync.exchange('n1')
    expect(b.view.need('cluster')).toBe(0)
  })

  it('does not wait for ever for what only a dead member had', async () => {
    const net = createNet()
    const [a, b] = [await net.add('n1'), await net.add('n2')]
    await net.advance(100)
    b.view.put({ scope: 'cluster', kind: 'task', id: 't1', value: taskValue('n2') })
    a.view.compare('cluster', 'n2', b.view.digest('cluster'))
    expect(a.view.need('cluster')).toBe(1)
    a.view.setLiveness('n2', 'dead', a.clock.now())
    expect(a.view.need('cluster')).toBe(0)
  })
})

describe('a network that a node leaves', () => {
  const scope = 'network/net1'

  it('is known by another holder with all that was written here, whatever gossip lost', async () => {
    const net = createNet()
    const [a, b] = [await net.add('n1', { networks: ['net1'] }), await net.add('n2', { networks: ['net1'] })]
    await net.add('n3', { networks: ['net1'] })
    await net.advance(300)
    net.loss = 1
    a.view.put({ scope, kind: 'endpoint', id: 't1', value: endpointValue('n1') })
    // One exchange runs, and has begun without what comes now.
    const running = a.sync.exchange('n2')
    a.view.put({ scope, kind: 'endpoint', id: 't1', value: null })
    a.view.put({ scope, kind: 'endpoint', id: 't2', value: endpointValue('n1') })
    await a.sync.handOver(scope)
    await running
    expect([...(b.view.endpoints.get('net1')?.keys() ?? [])]).toEqual(['t2'])
    expect(b.view.digest(scope)).toEqual(a.view.digest(scope))
  })

  it('is let go of where nobody can be told', async () => {
    const net = createNet()
    const a = await net.add('n1', { networks: ['net1'] })
    await net.add('n2')
    await net.advance(300)
    await a.sync.handOver(scope)
    expect(a.view.holds(scope)).toBe(true)
  })

  it('is not waited for by others: what only it had is not missing any more', async () => {
    const net = createNet()
    const [a, b] = [await net.add('n1', { networks: ['net1'] }), await net.add('n2', { networks: ['net1'] })]
    await net.advance(300)
    net.loss = 1
    b.view.put({ scope, kind: 'endpoint', id: 't1', value: endpointValue('n2') })
    a.view.compare(scope, 'n2', b.view.digest(scope))
    expect(a.view.need(scope)).toBe(1)
    net.loss = 0
    const { value } = b.view.members.get('n2')!.record
    b.view.put({ scope: 'cluster', kind: 'member', id: 'n2', value: { ...value, networks: [] } })
    await net.advance(300)
    expect(a.view.need(scope)).toBe(0)
  })
})

describe('ended tasks', () => {
  it('are left to whoever forgets with the record what the task left on the machine', async () => {
    const net = createNet()
    const a = await net.add('n1')
    for (let i = 0; i < 9; i++) {
      const value = taskValue('n1', { state: 'failed', created: { ms: i, counter: 0, node: 'n1' } })
      a.view.put({ scope: 'cluster', kind: 'task', id: `t${i}`, value })
    }
    // Of a service that is gone, and more of one slot than are kept.
    a.janitor.sweep()
    expect(a.view.tasks.size).toBe(9)
  })
})

function nameOf(stamped: unknown): string {
  return (stamped as { value: { spec?: { Name: string } } } | undefined)?.value.spec?.Name ?? '-'
}

function order(_: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}

describe('a connection that is not kept', () => {
  it('brings nothing by itself to a node that has caught up', async () => {
    const { a, b, net } = await visited()
    a.view.put({ scope: 'cluster', kind: 'service', id: 's1', value: serviceValue('web') })
    net.connect('n1', 'n2')
    await net.advance(100)
    expect(b.view.services.has('s1')).toBe(false)
    net.visitors.clear()
    net.connect('n1', 'n2')
    await net.advance(100)
    expect(b.view.services.has('s1')).toBe(true)
  })

  it('brings everything to one that is behind, and what both hold of a network', async () => {
    const { a, b, net } = await visited(['net1'])
    a.view.put({ scope: 'network/net1', kind: 'endpoint', id: 't1', value: endpointValue('n1') })
    net.connect('n1', 'n2')
    await net.advance(100)
    expect(b.view.endpoints.get('net1')?.has('t1')).toBe(true)
    net.visitors.add('n3')
    const c = await net.add('n3')
    await net.advance(100)
    expect(c.view.members.size).toBe(3)
  })

  /** Two nodes that have caught up with each other, hear no gossip, and whose next exchange by turn is seconds away. */
  async function visited(networks: readonly string[] = []) {
    const net = createNet()
    const [a, b] = [await net.add('n1', { networks }), await net.add('n2', { networks })]
    await net.advance(10_000)
    net.loss = 1
    net.visitors.add('n2')
    return { a, b, net }
  }
})
