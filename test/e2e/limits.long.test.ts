/** What happens at the limits of a machine: thousands of connections, no file descriptors left, a full disk, a broken one. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { needsMounts } from '../needs.ts'
import { until } from '../until.ts'
import { type Caller, call, echoProgram, runs } from './clients.ts'
import { type Agent, createCluster, see } from './cluster.ts'
import { isAlive } from './processes.ts'

test('5,000 idle connections are held, to tasks here and elsewhere, and each still answers', async () => {
  const { agents } = await createCluster({ nodes: 2 })
  const [n1, n2] = agents
  await createEcho(n1, '2')
  const before = await runs(agents, 'echo', 2)
  const callers: Caller[] = []
  try {
    for (let i = 0; i < 5_000; i += 100) {
      const some = Array.from({ length: 100 }, (_, k) => call((k % 2 === 0 ? n1 : n2).address, 7000))
      callers.push(...some)
      await Promise.all(some.map((caller) => caller.say('a', 10_000)))
    }
    await see(agents, agents)
    for (let i = 0; i < 5_000; i += 500)
      await Promise.all(callers.slice(i, i + 500).map((caller) => caller.say('b', 10_000)))
    expect(callers.filter((caller) => caller.isOpen())).toHaveLength(5_000)
    expect(await runs(agents, 'echo', 2)).toEqual(before)
  } finally {
    for (const caller of callers) caller.hangUp()
  }
})

test('without file descriptors new connections wait, old ones live, the agent goes on, and the log says so once', async () => {
  const cluster = await createCluster({ nodes: 1, started: false })
  const [n1] = cluster.agents
  // Of 1,024 forwarding may use 768, and lets connections wait from 614 on.
  await n1.start({ prefix: ['/bin/sh', '-c', 'ulimit -n 1024; exec "$@"', 'sh'] })
  await createEcho(n1, '1')
  await runs([n1], 'echo', 1)
  const callers = Array.from({ length: 420 }, () => call(n1.address, 7000))
  const late: Caller[] = []
  try {
    const served = new Set<Caller>()
    const first = callers.map((caller) => caller.say('a', 60_000).then(() => void served.add(caller)))
    await until(() => served.size > 250 && /descriptors/.test(n1.said()), {
      deadlineMs: 10_000,
      what: 'the log to say so',
    })
    const early = [...served]
    expect(early.length).toBeLessThan(420)
    await Promise.all(early.map((caller) => caller.say('b', 10_000)))
    expect(callers.every((caller) => caller.isOpen())).toBe(true)
    // More than may wait: these are closed, and the agent keeps what it needs itself.
    late.push(...Array.from({ length: 600 }, () => call(n1.address, 7000)))
    await until(() => late.some((caller) => !caller.isOpen()), { deadlineMs: 10_000, what: 'some to be turned away' })
    expect(await n1.ok('service', 'ls')).toContain('echo')
    await Promise.all(early.map((caller) => caller.say('c', 10_000)))
    for (const caller of [...late, ...early]) caller.hangUp()
    await Promise.all(first)
    expect(n1.said().match(/descriptors/g)).toHaveLength(1)
  } finally {
    for (const caller of [...callers, ...late]) caller.hangUp()
  }
})

test('a corrupt journal is kept aside, the state comes from the members, and its tasks go on untouched', async () => {
  const { agents } = await createCluster({ nodes: 2 })
  const [n1, n2] = agents
  await n1.ok('service', 'create', '--detach', '--quiet', '--name', 'a', '--replicas', '4', 'sleep', '1000')
  const before = await runs(agents, 'a', 4)
  await n2.killAgent()
  for (const file of readdirSync(n2.dir).filter((name) => name.startsWith('state.'))) {
    const path = join(n2.dir, file)
    const bytes = readFileSync(path)
    bytes.fill(0x5a, Math.floor(bytes.length / 3))
    bytes.fill(0xa5, 0, 16)
    writeFileSync(path, bytes)
  }
  await n2.start()
  await see(agents, agents)
  expect(readdirSync(n2.dir)).toContain('state.snapshot.broken-1')
  expect(n2.said()).toContain('the journal is broken; it is set aside and the state comes from the other members')
  const pidsOf = (tasks: typeof before) =>
    tasks
      .map(({ pid }) => pid)
      .sort()
      .join(' ')
  await until(async () => pidsOf(await runs(agents, 'a', 4)) === pidsOf(before), {
    deadlineMs: 15_000,
    what: 'the tasks from before, and their replacements gone',
  })
  await n2.ok('service', 'create', '--detach', '--quiet', '--name', 'b', 'sleep', '1000')
  await runs(agents, 'b', 1)
  await until(async () => (await n2.vine('status')).code === 0, { deadlineMs: 10_000, what: 'all to be well' })
})

test('on a full disk writes are refused with the reason, what runs goes on, and with space all is well again', async () => {
  const mounts = needsMounts()
  const cluster = await createCluster({ nodes: 2, started: false })
  const [n1, n2] = cluster.agents
  // A private mount of 8 MB in place of n2's data directory, which ends with the agent's last process.
  const script = `mount -t tmpfs -o size=8m,mode=700 none "${n2.dir}" && exec "$@"`
  await n1.start()
  const token = await n1.ok('token', '--quiet')
  await n2.start({ join: [n1], token, prefix: [...mounts, '/bin/sh', '-c', script, 'sh'] })
  await see(cluster.agents, cluster.agents)
  await n1.ok('service', 'create', '--detach', '--quiet', '--name', 'a', '--replicas', '4', 'sleep', '1000')
  const before = await runs(cluster.agents, 'a', 4)
  const filler = `/proc/${n2.pid}/root${n2.dir}/filler`
  fill(filler)
  // The last block of the journal has room for some records more.
  const tries = Array.from({ length: 30 }, (_, i) => `b${i}`)
  const refused = await until(
    async () => {
      const ran = await n2.vine(
        'service',
        'create',
        '--detach',
        '--replicas',
        '0',
        '--name',
        tries.pop() ?? '',
        'sleep',
        '1000',
      )
      return ran.code === 0 ? undefined : ran
    },
    { deadlineMs: 15_000, what: 'a write to be refused' },
  )
  expect(refused.err).toMatch(/ENOSPC|no space/i)
  expect((await n2.vine('status')).out).toMatch(/ENOSPC|no space/i)
  await n1.ok('service', 'create', '--detach', '--quiet', '--name', 'c', 'sleep', '1000')
  await runs([n1], 'c', 1)
  expect(before.every(({ pid }) => isAlive(pid))).toBe(true)
  writeFileSync(filler, '')
  await until(async () => (await n2.vine('service', 'create', '--detach', '--name', 'b', 'sleep', '1000')).code === 0, {
    deadlineMs: 15_000,
    everyMs: 300,
    what: 'writes to be taken again',
  })
  await runs(cluster.agents, 'b', 1)
  await until(async () => (await n2.vine('status')).code === 0, { deadlineMs: 10_000, what: 'all to be well' })
})

function createEcho(agent: Agent, replicas: string): Promise<string> {
  const what = ['--name', 'echo', '--replicas', replicas, '--publish', '7000:7']
  return agent.ok('service', 'create', '--detach', '--quiet', ...what, 'node', '-e', echoProgram)
}

/** Writes until nothing more fits. */
function fill(path: string): void {
  const chunk = Buffer.alloc(64 * 1024)
  for (const size of [chunk.length, 4_096, 1]) {
    try {
      for (;;) writeFileSync(path, chunk.subarray(0, size), { flag: 'a' })
    } catch {
      // No space for this size: the next is smaller.
    }
  }
}
