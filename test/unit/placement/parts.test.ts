// The smaller decisions around placement: constraints, templates, health, partitions, stays, sentences.
import { expect, test } from 'vitest'
import { afterProbe, healthCommand, startHealth } from '../../../agent/core/health.ts'
import { meetsConstraints, parseConstraint } from '../../../agent/core/placement/constraints.ts'
import { sideOf, startBudget } from '../../../agent/core/placement/partition.ts'
import { place } from '../../../agent/core/placement/place.ts'
import { hasStayed, noteStays } from '../../../agent/core/placement/stays.ts'
import { expand } from '../../../agent/core/templates.ts'
import type { Liveness } from '../../../agent/core/view.ts'
import { explain } from '../../../agent/core/why.ts'
import { member, service, task, view } from './build.ts'

const node = member('n1', {
  labels: { Zone: 'East' },
  value: { engineLabels: { gpu: 'yes' }, addresses: ['192.0.2.7'] },
})

test.for([
  ['node.labels.Zone==east', true],
  ['node.labels.zone==east', false],
  ['node.labels.none!=x', true],
  ['node.labels.none==x', false],
  ['engine.labels.gpu == yes', true],
  ['NODE.ID==N1', true],
  ['node.hostname!=n1', false],
  ['node.role==manager', true],
  ['node.platform.os==linux', true],
  ['node.platform.arch==x86_64', true],
  ['node.platform.arch==AMD64', true],
  ['node.platform.arch!=aarch64', true],
  ['node.ip==192.0.2.0/24', true],
  ['node.ip==192.0.2.8', false],
  ['node.ip!=192.0.2.8', true],
  ['not a constraint', false],
] as const)('constraint %s: %s', ([text, meets]) => {
  expect(meetsConstraints([text], node)).toBe(meets)
})

test.for(['node.labels.a=b', 'zone==a', 'node.labels.==a', 'node.id==', 'node.id>5'])(
  'constraint %s is refused',
  (text) => {
    expect(typeof parseConstraint(text)).toBe('string')
  },
)

const context = {
  service: { id: 'sid', name: 'web', labels: { 'com.acme': 'x' } },
  node: { id: 'nid', hostname: 'host', os: 'linux', arch: 'amd64' },
  task: { id: 'tid', name: 'web.2.tid', slot: '2', address: '127.0.0.1', port: 4000 },
}

test.for([
  ['{{.Service.Name}}-{{ .Task.Slot }}', 'web-2'],
  ['{{.Node.Hostname}} {{.Node.ID}} {{.Node.Platform.OS}}', 'host nid linux'],
  ['http://{{.Task.Address}}:{{.Task.Port}}/', 'http://127.0.0.1:4000/'],
  ['{{index .Service.Labels "com.acme"}}{{.Service.Labels.none}}', 'x'],
  ['f({{a:1}}) ${x} {{ 5 }}', 'f({{a:1}}) ${x} {{ 5 }}'],
])('template %s becomes %s', ([text = '', expanded]) => {
  expect(expand(text, context)).toBe(expanded)
})

test('a template with an unknown field is refused by name', () => {
  expect(() => expand('{{.Service.Foo}}', context)).toThrow('unknown field in template {{.Service.Foo}}')
})

const check = {
  test: ['CMD', 'true'],
  intervalMs: 1000,
  timeoutMs: 100,
  retries: 2,
  startPeriodMs: 0,
  startIntervalMs: 100,
}

test('the first probe comes one interval after the start, failures in a row make unhealthy, one success healthy', () => {
  const start = startHealth(check, 0)
  expect(start).toMatchObject({ status: 'starting', nextAtMs: 1000 })
  const once = afterProbe(check, start, { ok: false, nowMs: 1000 })
  expect(once).toMatchObject({ status: 'starting', nextAtMs: 2000 })
  const twice = afterProbe(check, once, { ok: false, nowMs: 2000 })
  expect(twice.status).toBe('unhealthy')
  expect(afterProbe(check, twice, { ok: true, nowMs: 3000 })).toMatchObject({ status: 'healthy', failures: 0 })
})

test('within the start period probes come at the start interval and failures do not count before the first success', () => {
  const slow = { ...check, startPeriodMs: 5000 }
  let state = startHealth(slow, 0)
  expect(state.nextAtMs).toBe(100)
  for (let i = 1; i < 40; i++) state = afterProbe(slow, state, { ok: false, nowMs: i * 100 })
  expect(state).toMatchObject({ status: 'starting', failures: 0 })
  state = afterProbe(slow, state, { ok: true, nowMs: 4000 })
  expect(state).toMatchObject({ status: 'healthy', nextAtMs: 5000 })
  state = afterProbe(slow, state, { ok: false, nowMs: 4500 })
  state = afterProbe(slow, state, { ok: false, nowMs: 4600 })
  expect(state.status).toBe('unhealthy')
})

test('a shell check runs in a shell, the other as it is', () => {
  expect(healthCommand({ ...check, test: ['CMD-SHELL', 'a | b'] })).toEqual(['/bin/sh', '-c', 'a | b'])
  expect(healthCommand({ ...check, test: ['CMD', 'a', 'b'] })).toEqual(['a', 'b'])
})

const sides = (livenesses: readonly Liveness[]) =>
  sideOf(view({ members: livenesses.map((liveness, i) => member(`n${i}`, { liveness, sinceMs: i * 10 })) }))

test.for<[readonly Liveness[], boolean, boolean]>([
  [['alive', 'alive', 'dead'], false, true],
  [['alive', 'dead', 'dead'], true, false],
  [['alive', 'suspect', 'dead', 'dead'], true, true],
  [['dead', 'dead', 'alive', 'alive'], false, false],
  [['alive', 'left', 'left', 'left'], false, true],
  // Two see each other: no fewer than half, whatever the third is.
  [['alive', 'alive', 'suspect'], false, true],
  // A node that has just been cut off, or that starts from its journal and has heard nobody: it gives up nothing that runs.
  [['alive', 'suspect', 'suspect'], true, true],
  [['alive', 'suspect'], false, true],
])('of %j: minority %s, prevails %s', ([livenesses, minority, prevails]) => {
  expect(sides(livenesses)).toMatchObject({ minority, prevails })
})

test('a minority starts nothing at first, then four tasks or as many as it runs', () => {
  const side = sides(['alive', 'dead', 'dead', 'dead'])
  expect(side.minoritySinceMs).toBe(30)
  const at = (nowMs: number) => ({ nowMs, minorityWaitMs: 10_000 })
  expect(startBudget(side, at(10_029), { recent: 0, older: 0 })).toBe(0)
  expect(startBudget(side, at(10_030), { recent: 1, older: 0 })).toBe(3)
  expect(startBudget(side, at(10_030), { recent: 1, older: 9 })).toBe(8)
  expect(startBudget(sides(['alive', 'alive']), at(0), { recent: 0, older: 0 })).toBe(Number.POSITIVE_INFINITY)
})

test('the loss that made a minority may be a suspicion; one that was long ago does not shorten the wait, and a refuted one ends it', () => {
  const since = (losses: readonly (readonly [Liveness, number])[]) =>
    sideOf(view({ members: losses.map(([liveness, sinceMs], i) => member(`n${i}`, { liveness, sinceMs })) }))
      .minoritySinceMs
  expect(
    since([
      ['alive', 0],
      ['dead', 10],
      ['suspect', 90_000],
    ]),
  ).toBe(90_000)
  expect(
    since([
      ['alive', 0],
      ['dead', 10],
      ['alive', 90_300],
    ]),
  ).toBe(undefined)
  // Back, and another is seen again: still fewer than half, so the wait that is over stays over.
  expect(
    since([
      ['alive', 0],
      ['alive', 60_000],
      ['dead', 30],
      ['dead', 20],
      ['dead', 40],
    ]),
  ).toBe(40)
})

test('a node must stay twice as long from the second early end on, and as at first after a long stay', () => {
  const seen = (liveness: Liveness) => view({ members: [member('n1', { liveness })] })
  const at = (nowMs: number) => ({ nowMs, firstMs: 30_000 })
  let stays = noteStays(new Map(), seen('alive'), at(0))
  expect(hasStayed(stays, 'n1', 29_999)).toBe(false)
  expect(hasStayed(stays, 'n1', 30_000)).toBe(true)
  stays = noteStays(stays, seen('dead'), at(10_000))
  stays = noteStays(stays, seen('alive'), at(20_000))
  expect(hasStayed(stays, 'n1', 50_000)).toBe(true)
  stays = noteStays(stays, seen('dead'), at(31_000))
  stays = noteStays(stays, seen('suspect'), at(32_000))
  expect(hasStayed(stays, 'n1', 91_999)).toBe(false)
  expect(hasStayed(stays, 'n1', 92_000)).toBe(true)
  stays = noteStays(stays, seen('dead'), at(1_000_000))
  stays = noteStays(stays, seen('alive'), at(1_000_001))
  expect(hasStayed(stays, 'n1', 1_030_001)).toBe(true)
})

test('why: a slot says where it runs and why, or why nowhere', () => {
  const web = service('web', { replicas: 2, template: { Placement: { MaxReplicas: 1 } } })
  const members = [member('n1')]
  const tasks = [task('t', web, { slot: '1', node: 'n1' })]
  expect(explain(view({ members, services: [web], tasks }), web, 0)).toEqual([
    {
      slot: '1',
      node: 'n1',
      task: 't',
      sentence: 'it runs on n1, with 1 task in all, and a running slot stays where it is',
    },
    {
      slot: '2',
      node: undefined,
      task: undefined,
      sentence: 'no suitable node (max replicas per node limit exceed on 1 node)',
    },
  ])
})

test('why: a task that starts says what it waits for, by its health check before its ports', () => {
  const members = [member('n1')]
  const ports = [{ protocol: 'tcp' as const, target: 80, actual: 25_000 }]
  const sentence = (template: Parameters<typeof service>[1]) => {
    const web = service('web', template)
    const tasks = [task('t', web, { slot: '1', node: 'n1', state: 'starting', ports })]
    return explain(view({ members, services: [web], tasks }), web, 0)[0]?.sentence
  }
  expect(sentence({})).toBe('it starts on n1: nothing listens on port 25000 yet ($PORT, for 80)')
  expect(sentence({ template: { ContainerSpec: { Image: 'x', Healthcheck: { Test: ['CMD', 'true'] } } } })).toBe(
    'it starts on n1: its health check has not passed yet',
  )
})

test('why: while the restart delay runs, a slot says what ended its last task', () => {
  const web = service('web', { template: { RestartPolicy: { Condition: 'any', Delay: 5e9 } } })
  const failed = { state: 'failed' as const, stateMs: 1_000, error: 'task: non-zero exit (1): no config' }
  const tasks = [task('t', web, { slot: '1', node: 'n1', ...failed })]
  expect(explain(view({ members: [member('n1')], services: [web], tasks }), web, 2_000)[0]?.sentence).toBe(
    'task: non-zero exit (1): no config; it starts again on n1 in 4 s',
  )
  const stopping = [task('t', web, { slot: '1', node: 'n1', state: 'running', stopping: true, stateMs: 1_000 })]
  expect(explain(view({ members: [member('n1')], services: [web], tasks: stopping }), web, 2_000)[0]?.sentence).toBe(
    'it starts on n1 when the task before it has stopped',
  )
})

test('scaling down keeps one on each node before a second on any, and what runs before what does not', () => {
  const web = service('web', { replicas: 2 })
  const on = (slot: string, node: string, state: 'running' | 'starting' = 'running') =>
    task(`t${slot}`, web, { slot, node, state })
  const members = [member('n1'), member('n2')]
  const kept = (tasks: readonly ReturnType<typeof on>[]) =>
    place(view({ members, services: [web], tasks }), 0)
      .services.get('web')
      ?.map(({ slot }) => slot)
  expect(kept([on('1', 'n1'), on('2', 'n1'), on('3', 'n1'), on('4', 'n2')])).toEqual(['1', '4'])
  expect(kept([on('1', 'n1', 'starting'), on('2', 'n1'), on('3', 'n1'), on('4', 'n2')])).toEqual(['2', '4'])
})

test('a task that stops holds its slot no more, and keeps it closed until it ended or a minute is over', () => {
  const web = service('web')
  const stopping = task('t', web, { slot: '1', node: 'n1', stopping: true, stateMs: 1_000 })
  const parts = { members: [member('n1')], services: [web], tasks: [stopping] }
  const [plan] = place(view(parts), 2_000).services.get('web') ?? []
  expect(plan).toMatchObject({ task: undefined, node: 'n1', notBeforeMs: 61_000, why: 'the task before it stops' })
  const earlier = task('e', web, { slot: '1', node: 'n1', state: 'shutdown' })
  const [again] = place(view({ ...parts, tasks: [earlier, stopping] }), 2_000).services.get('web') ?? []
  expect(again).toEqual(plan)
  const ended = { ...stopping, value: { ...stopping.value, state: 'shutdown' as const } }
  const [after] = place(view({ ...parts, tasks: [ended] }), 2_000).services.get('web') ?? []
  expect(after).toMatchObject({ node: 'n1', notBeforeMs: 0 })
})
