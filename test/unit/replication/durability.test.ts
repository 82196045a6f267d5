// What a node promises of its own writes: on the disk before anybody sees them, one author and one number for one write, for ever.
import { describe, expect, it } from 'vitest'
import { Fault } from '../../../agent/fault.ts'
import { compareVersions, zeroVersion } from '../../../protocol/hlc.ts'
import { createNet, memberValue, serviceValue, taskValue } from './cluster.ts'

const service = (id: string, name: string, over = {}) =>
  ({ scope: 'cluster', kind: 'service', id, value: serviceValue(name, over) }) as const

describe('a commit', () => {
  it('is held by another live member when it resolves', async () => {
    const net = createNet()
    const [a, b] = [await net.add('n1'), await net.add('n2')]
    net.loss = 1
    const { held } = await a.view.commit([service('s1', 'web')])
    expect(held).toBe('members')
    b.crash()
    a.crash()
    const back = await net.add('n2', { disk: b.disk })
    expect(back.view.services.has('s1')).toBe(true)
  })

  it('says here-only when the node is alone, or when no member answers within 1 s', async () => {
    const net = createNet()
    const a = await net.add('n1')
    expect((await a.view.commit([service('s1', 'web')])).held).toBe('here-only')
    const b = await net.add('n2')
    b.disk.full = true
    expect((await a.view.commit([service('s2', 'db')])).held).toBe('here-only')
  })

  it('of a version that is no longer held is refused as out of sequence', async () => {
    const net = createNet()
    const a = await net.add('n1')
    const { versions } = await a.view.commit([service('s1', 'web')])
    await a.view.commit([{ ...service('s1', 'web'), expect: versions[0]! }])
    await expect(a.view.commit([{ ...service('s1', 'web'), expect: versions[0]! }])).rejects.toMatchObject({
      code: 'stale',
      message: 'update out of sequence',
    })
  })

  it('of twenty that create one id at once succeeds exactly once, and so does a delete of it', async () => {
    const net = createNet()
    const a = await net.add('n1')
    const creations = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) => a.view.commit([{ ...service('s1', `w${i}`), expect: zeroVersion }])),
    )
    expect(creations.filter(({ status }) => status === 'fulfilled').length).toBe(1)
    const expected = a.view.services.get('s1')!.version
    const deletes = await Promise.allSettled(
      Array.from({ length: 20 }, () =>
        a.view.commit([{ scope: 'cluster', kind: 'service', id: 's1', value: null, expect: expected }]),
      ),
    )
    expect(deletes.filter(({ status }) => status === 'fulfilled').length).toBe(1)
  })

  it('never brings a deleted service back', async () => {
    const net = createNet()
    const a = await net.add('n1')
    await a.view.commit([{ scope: 'cluster', kind: 'service', id: 's1', value: null }])
    await expect(a.view.commit([service('s1', 'web')])).rejects.toMatchObject({ code: 'conflict' })
    a.view.put(service('s1', 'web'))
    expect(a.view.services.has('s1')).toBe(false)
  })

  it('that no node would take is refused before it is stamped', async () => {
    const net = createNet()
    const a = await net.add('n1')
    await expect(
      a.view.commit([{ scope: 'cluster', kind: 'service', id: 's1', value: { spec: 7 } as never }]),
    ).rejects.toMatchObject({ code: 'invalid' })
    expect(() => a.view.put({ scope: 'cluster', kind: 'task', id: 't1', value: taskValue('n2') })).toThrow(Fault)
  })

  it('on a full disk fails with the reason, shows nothing to anybody, and the node goes on', async () => {
    const net = createNet()
    const [a, b] = [await net.add('n1'), await net.add('n2')]
    await net.advance(1_000)
    a.disk.full = true
    await expect(a.view.commit([service('s1', 'web')])).rejects.toMatchObject({ code: 'unavailable' })
    expect(a.view.journalFailing()).toMatch('no space left')
    a.view.put({ scope: 'cluster', kind: 'task', id: 't1', value: taskValue('n1') })
    await net.advance(10_000)
    expect(a.view.services.has('s1')).toBe(false)
    expect(b.view.services.has('s1')).toBe(false)
    expect(b.view.tasks.has('t1')).toBe(true)
    a.disk.full = false
    await a.view.commit([service('s2', 'db')])
    await net.advance(10_000)
    expect(a.view.journalFailing()).toBeUndefined()
    expect(net.digestsEqual()).toBe(true)
    a.crash()
    const back = await net.add('n1', { disk: a.disk })
    expect([...back.view.services.keys()]).toEqual(['s2'])
    expect(back.view.tasks.has('t1')).toBe(true)
  })
})

describe('a restart', () => {
  it('finds the state as it was, and writes on under the same log', async () => {
    const net = createNet()
    const a = await net.add('n1', { networks: ['net1'] })
    await a.view.commit([service('s1', 'web')])
    a.view.put({ scope: 'cluster', kind: 'service', id: 's0', value: null })
    const before = a.view.digest('cluster')
    await a.view.close()
    a.crash()
    const back = await net.add('n1', { disk: a.disk, withoutMember: true })
    expect(back.view.found).toBe('whole')
    expect(back.view.digest('cluster')).toEqual(before)
    expect(back.view.holds('network/net1')).toBe(true)
    expect(back.view.tombstones('cluster').length).toBe(1)
    back.view.put(service('s2', 'db'))
    expect([...back.view.digest('cluster').values()].map(({ covered }) => covered)).toEqual([
      [[1, before.values().next().value!.covered[0]![1] + 1]],
    ])
  })

  it('after a power cut never uses a number again that others may have seen', async () => {
    const net = createNet()
    const [a, b] = [await net.add('n1'), await net.add('n2')]
    await net.advance(1_000)
    const disk = a.disk.copy()
    for (let i = 0; i < 50; i++) a.view.put({ scope: 'cluster', kind: 'task', id: `t${i}`, value: taskValue('n1') })
    await net.advance(300)
    a.crash()
    const back = await net.add('n1', { disk })
    back.view.put({ scope: 'cluster', kind: 'task', id: 'new', value: taskValue('n1') })
    await net.advance(10_000)
    for (const { view } of [back, b]) expect(view.tasks.size).toBe(51)
    expect(net.digestsEqual()).toBe(true)
    expect(back.view.counts.get('own-log.restarted')).toBeUndefined()
  })

  it('with a torn end of the journal keeps what is whole, under a new log', async () => {
    const net = createNet()
    const a = await net.add('n1')
    await a.view.commit([service('s1', 'web')])
    await a.view.commit([service('s2', 'db')])
    a.crash()
    const name = [...a.disk.files.keys()].find((file) => file.startsWith('state.log'))!
    for (let cut = 1; cut < 40; cut += 3) {
      const disk = a.disk.copy()
      disk.files.set(name, disk.files.get(name)!.subarray(0, -cut))
      const back = await net.add('n1', { disk })
      expect(back.view.found).toBe('cut')
      expect([...back.view.services.keys()]).toEqual(['s1'])
      expect(back.view.digest('cluster').size).toBe(2)
      back.crash()
      const again = await net.add('n1', { disk })
      expect(again.view.found).toBe('whole')
      again.crash()
    }
  })

  it('with a flipped bit in the log keeps what comes before it, and never what was changed', async () => {
    const net = createNet()
    const a = await net.add('n1')
    await a.view.commit([service('s1', 'web')])
    await a.view.commit([service('s2', 'databasename')])
    a.crash()
    const name = [...a.disk.files.keys()].find((file) => file.startsWith('state.log'))!
    const bytes = a.disk.files.get(name)!
    bytes[Buffer.from(bytes).indexOf('databasename')]! ^= 1
    const back = await net.add('n1', { disk: a.disk })
    expect(back.view.found).toBe('cut')
    expect([...back.view.services.keys()]).toEqual(['s1'])
  })

  it('with a broken journal sets it aside and has the state from the members', async () => {
    const net = createNet()
    const [a, b] = [await net.add('n1'), await net.add('n2')]
    await a.view.commit([service('s1', 'web')])
    await net.advance(300)
    a.crash()
    a.disk.files.get('state.snapshot')![20]! ^= 0xff
    const back = await net.add('n1', { disk: a.disk })
    expect(back.view.found).toBe('broken')
    await net.advance(1_000)
    expect(back.view.services.has('s1')).toBe(true)
    expect([...a.disk.files.keys()]).toContain('state.snapshot.broken-1')
    expect(b.view.members.get('n1')?.record.value.run).not.toBe(undefined)
    expect(net.digestsEqual()).toBe(true)
  })

  it('from an older copy of the data directory keeps what the lost run wrote, and what it writes itself', async () => {
    const net = createNet()
    const [a, b] = [await net.add('n1'), await net.add('n2')]
    await net.advance(1_000)
    const copy = a.disk.copy()
    for (let i = 0; i < 3_000; i++) a.view.put({ scope: 'cluster', kind: 'task', id: `t${i}`, value: taskValue('n1') })
    await net.advance(2_000)
    a.crash()
    net.cut.add('n1>n2').add('n2>n1')
    const back = await net.add('n1', { disk: copy })
    for (let i = 0; i < 10; i++)
      back.view.put({ scope: 'cluster', kind: 'task', id: `late${i}`, value: taskValue('n1') })
    await net.advance(1_000)
    net.connect('n1', 'n2')
    await net.advance(10_000)
    for (const { view } of [back, b]) {
      expect(view.tasks.size).toBe(3_010)
      expect(view.members.get('n1')?.record.value.run).toBe(back.view.members.get('n1')?.record.value.run)
    }
    expect(net.digestsEqual()).toBe(true)
  })

  it('from an older copy of a data directory that was left in good order goes on under a new log', async () => {
    const net = createNet()
    const [a, b] = [await net.add('n1'), await net.add('n2')]
    await net.advance(1_000)
    await a.view.close()
    a.crash()
    const copy = a.disk.copy()
    const again = await net.add('n1', { disk: a.disk })
    for (let i = 0; i < 20; i++) again.view.put({ scope: 'cluster', kind: 'task', id: `t${i}`, value: taskValue('n1') })
    await net.advance(2_000)
    again.crash()
    const back = await net.add('n1', { disk: copy })
    await net.advance(10_000)
    expect(back.view.counts.get('own-log.restarted')).toBe(1)
    for (const { view } of [back, b]) expect(view.tasks.size).toBe(20)
    expect(net.digestsEqual()).toBe(true)
  })

  it('from an older copy keeps both runs apart, also when it has written more than the run that it lost (seed 180 of the soak)', async () => {
    const net = createNet()
    const [a, b] = [await net.add('n1'), await net.add('n2')]
    await net.advance(1_000)
    const copy = a.disk.copy()
    for (const [disk, run, count] of [
      [a.disk, 'first', 10],
      [copy, 'second', 50],
    ] as const) {
      net.nodes.get('n1')?.crash()
      // The second meets nobody before it has written more.
      if (run === 'second') net.cut.add('n1>n2').add('n2>n1')
      const node = await net.add('n1', { disk })
      for (let i = 0; i < count; i++)
        node.view.put({ scope: 'cluster', kind: 'task', id: `${run}${i}`, value: taskValue('n1') })
      // Under no number that the second gives to the same record: that is noticed.
      if (run === 'first') node.view.put({ scope: 'cluster', kind: 'member', id: 'n1', value: memberValue() })
      await net.advance(2_000)
    }
    net.connect('n1', 'n2')
    await net.advance(10_000)
    const back = net.nodes.get('n1')!
    for (const { view } of [back, b]) expect(view.tasks.size).toBe(60)
    expect(net.digestsEqual()).toBe(true)
  })

  it('keeps the journal within twice the state', async () => {
    const net = createNet()
    const a = await net.add('n1')
    for (let i = 0; i < 6_000; i++) {
      a.view.put({
        scope: 'cluster',
        kind: 'task',
        id: 't1',
        value: taskValue('n1', { stateMs: i, message: 'x'.repeat(500) }),
      })
      if (i % 100 === 0) await net.advance(5)
    }
    await net.advance(100)
    const bytes = [...a.disk.files.values()].reduce((sum, file) => sum + file.length, 0)
    expect(bytes).toBeLessThan(1.2 * 1024 * 1024)
    expect([...a.disk.files.keys()].length).toBe(2)
  })
})

describe('a copied data directory', () => {
  it('makes the later boot stop writing, and the earlier one go on with all its writes intact', async () => {
    const net = createNet()
    const a = await net.add('n1')
    const b = await net.add('n2')
    const disk = a.disk.copy()
    await net.advance(1_000)
    const clone = await net.add('n1', { disk, place: 'copy' })
    for (let i = 0; i < 20; i++) {
      if (clone.duplicates.length === 0)
        clone.view.put({ scope: 'cluster', kind: 'task', id: `c${i}`, value: taskValue('n1') })
      a.view.put({ scope: 'cluster', kind: 'task', id: `a${i}`, value: taskValue('n1') })
      await net.advance(1_000)
    }
    expect(clone.duplicates.map(({ yields }) => yields)).toEqual([true])
    expect(a.duplicates.every(({ yields }) => !yields)).toBe(true)
    expect(() => clone.view.put({ scope: 'cluster', kind: 'task', id: 'x', value: taskValue('n1') })).toThrow(
      'Another machine',
    )
    clone.crash()
    await net.advance(20_000)
    for (let i = 0; i < 20; i++) expect(b.view.tasks.has(`a${i}`)).toBe(true)
    expect(net.digestsEqual()).toBe(true)
  })

  it.for([1, 2, 3, 4, 5])('is found about as soon as the two can hear of each other (seed %i)', async (seed) => {
    const net = createNet(seed)
    const a = await net.add('n1')
    for (const other of ['n2', 'n3']) await net.add(other)
    const disk = a.disk.copy()
    await net.advance(10_000)
    const clone = await net.add('n1', { disk, place: 'copy' })
    clone.sync.hurry()
    await net.advance(1_500)
    expect(clone.duplicates.map(({ yields }) => yields)).toEqual([true])
  })

  it('is not seen in the records of an earlier run of the same node', async () => {
    const net = createNet()
    const [a] = [await net.add('n1'), await net.add('n2')]
    for (let run = 0; run < 5; run++) {
      const now = net.nodes.get('n1')!
      now.crash()
      const back = await net.add('n1', { disk: run % 2 === 0 ? now.disk : a.disk.copy() })
      await net.advance(5_000)
      expect(back.duplicates).toEqual([])
    }
  })
})

describe('a wrong clock', () => {
  it('an hour ahead stamps nothing more than 10 s over cluster time, and takes no API writes', async () => {
    const net = createNet()
    const [a] = [await net.add('n1', { wallOffsetMs: 3_600_000 }), await net.add('n2'), await net.add('n3')]
    a.view.noteClock('n2', -3_600_000)
    a.view.noteClock('n3', -3_600_000)
    await expect(a.view.commit([service('s1', 'web')])).rejects.toThrow('3600.0 s ahead of the cluster')
    const version = a.view.put({ scope: 'cluster', kind: 'task', id: 't1', value: taskValue('n1') })
    expect(version.ms).toBeLessThanOrEqual(a.view.clusterTime() + 10_000)
  })

  it('of another node is refused above 60 s over cluster time, and asked for again later', async () => {
    const net = createNet()
    const a = await net.add('n1')
    const wire = (ms: number) => ['service', 's1', serviceValue('web'), ms, 0, 'n9', 'n9', 'x', 1] as const
    a.view.apply('cluster', [wire(a.clock.wall() + 61_000)], 'n9')
    expect(a.view.counts.get('refused.clock')).toBe(1)
    await net.advance(61_000)
    expect(a.view.digest('cluster').get('n9/x')?.refused).toEqual([[1, 1]])
    a.janitor.sweep()
    expect(a.view.digest('cluster').has('n9/x')).toBe(false)
    a.view.apply('cluster', [wire(a.clock.wall())], 'n9')
    expect(a.view.services.has('s1')).toBe(true)
  })

  it('that has a delete refused keeps its tombstone with the others, so that what it deleted cannot return', async () => {
    const net = createNet()
    const [a, b, c] = [await net.add('n1'), await net.add('n2'), await net.add('n3')]
    await a.view.commit([service('s1', 'web')])
    await net.advance(1_000)
    c.clock.wallOffsetMs = -120_000
    await a.view.commit([{ scope: 'cluster', kind: 'service', id: 's1', value: null }])
    await net.advance(20_000)
    expect(c.view.counts.get('refused.clock')).toBeGreaterThan(0)
    for (const { janitor } of [a, b]) janitor.sweep()
    expect([a, b].map(({ view }) => view.tombstones('cluster').length)).toEqual([1, 1])
    c.clock.wallOffsetMs = 0
    await net.advance(61_000)
    for (let round = 0; round < 2; round++) {
      for (const { janitor } of [a, b, c]) janitor.sweep()
      await net.advance(20_000)
    }
    expect(c.view.services.has('s1')).toBe(false)
    expect([a, b, c].map(({ view }) => view.tombstones('cluster').length)).toEqual([0, 0, 0])
  })

  it('that has a write refused does not count as holding it', async () => {
    const net = createNet()
    const [a, b] = [await net.add('n1'), await net.add('n2')]
    await net.advance(1_000)
    b.clock.wallOffsetMs = -120_000
    const committed = a.view.commit([service('s1', 'web')])
    await net.advance(2_000)
    expect((await committed).held).toBe('here-only')
    expect(b.view.services.has('s1')).toBe(false)
  })

  it('in the own journal is no reason to forget what it holds', async () => {
    const net = createNet()
    const a = await net.add('n1', { wallOffsetMs: 3_600_000 })
    await a.view.commit([service('s1', 'web')])
    a.crash()
    const back = await net.add('n1', { disk: a.disk })
    expect(back.view.services.has('s1')).toBe(true)
    const before = back.view.services.get('s1')!.version
    const { versions } = await back.view.commit([service('s1', 'web', { generation: 2 })])
    expect(compareVersions(versions[0]!, before)).toBeGreaterThan(0)
  })
})

describe('a member that has no room for a log', () => {
  it('does not count as holding what is written in it', async () => {
    const net = createNet()
    const [a, b] = [await net.add('n1'), await net.add('n2')]
    const ofLog = (log: string, seq: number) =>
      ['service', `${log}-${seq}`, serviceValue(`${log}-${seq}`), b.clock.wall(), 0, 'n9', 'n9', log, seq] as const
    // As many as are kept of one node (scope-state.ts).
    for (let log = 0; log < 1000; log++) b.view.apply('cluster', [ofLog(`l${log}`, 1)], 'n9')
    a.view.apply('cluster', [ofLog('l0', 2), ofLog('new', 1)], 'n9')
    const push = (log: string, seq: number) =>
      a.sync.pushDurably('n2', a.view.delta('cluster', new Map([[`n9/${log}`, [[seq, seq]]]]), 1).records)
    const answers = Promise.all([push('l0', 2), push('new', 1)])
    await net.advance(1_000)
    expect(await answers).toEqual([true, false])
    expect(['l0-2', 'new-1'].map((id) => b.view.services.has(id))).toEqual([true, false])
  })
})

describe('two updates of one service at the same time', () => {
  it('leave one winner, and the other is kept as superseded, with an event that says who lost what', async () => {
    const net = createNet()
    const [a, b] = [await net.add('n1'), await net.add('n2')]
    const { versions } = await a.view.commit([service('s1', 'web')])
    await net.advance(300)
    net.cut.add('n1>n2').add('n2>n1')
    const parent = versions[0]!
    const ancestors = [parent]
    a.view.put(service('s1', 'web', { parent, ancestors, spec: { ...serviceValue('web').spec, Labels: { by: 'a' } } }))
    await net.advance(5)
    b.view.put(service('s1', 'web', { parent, ancestors, spec: { ...serviceValue('web').spec, Labels: { by: 'b' } } }))
    net.connect('n1', 'n2')
    await net.advance(5_000)
    for (const { view, events } of [a, b]) {
      expect(view.services.get('s1')?.value.spec.Labels).toEqual({ by: 'b' })
      expect(view.superseded('s1').map(({ lost, fields }) => [lost.author.node, fields])).toEqual([
        ['n1', ['Labels.by']],
      ])
      expect(events.map(({ action }) => action)).toEqual(['superseded'])
    }
  })

  it('one after another are no loss, though they arrive in the wrong order', async () => {
    const net = createNet()
    const a = await net.add('n1')
    const first = { ms: 5, counter: 0, node: 'n9' }
    a.view.apply(
      'cluster',
      [
        [
          'service',
          's1',
          serviceValue('web', {
            generation: 2,
            parent: first,
            ancestors: [first],
            spec: { ...serviceValue('web').spec, Labels: { v: '2' } },
          }),
          9,
          0,
          'n9',
          'n9',
          'x',
          2,
        ],
        ['service', 's1', serviceValue('web'), 5, 0, 'n9', 'n9', 'x', 1],
      ],
      'n9',
    )
    expect(a.view.superseded('s1')).toEqual([])
    expect(a.view.services.get('s1')?.value.generation).toBe(2)
  })
})

describe('a value from a newer agent', () => {
  it('keeps its unknown fields at every depth through merge, journal and sync', async () => {
    const net = createNet()
    const a = await net.add('n1')
    const platform = { os: 'linux', arch: 'x64', libc: 'musl' }
    a.view.apply(
      'cluster',
      [['member', 'n9', { ...memberValue({ platform }), future: { a: [1] } }, 5, 0, 'n9', 'n9', 'x', 1]],
      'n9',
    )
    await net.advance(100)
    a.crash()
    const back = await net.add('n1', { disk: a.disk })
    const b = await net.add('n2')
    for (const { view } of [back, b]) {
      expect(view.members.get('n9')?.record.value).toMatchObject({ future: { a: [1] }, platform: { libc: 'musl' } })
    }
  })
})
