// What is peculiar to tasks that are processes: their shim, their group, their files, and what an agent finds after a bad end.
import { spawn } from 'node:child_process'
import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { probePrivacy } from '../../../agent/runtime/process/namespace.ts'
import type { Exit, LogLine, Runtime, TaskPlan } from '../../../agent/world.ts'
import { processHarness, shell, shimsOf } from '../../contract/runtime/harness.ts'
import { until } from '../../until.ts'

let harness: Awaited<ReturnType<typeof processHarness>>
let runtime: Runtime
let exits: Map<string, Exit>
const KILL = { signal: 'SIGKILL', graceMs: 0 }

beforeEach(async () => {
  harness = await processHarness()
  runtime = harness.runtime
  exits = new Map()
  runtime.onExit((task, exit) => exits.set(task, exit))
})
afterEach(() => harness.dispose())

async function ended(plan: TaskPlan): Promise<Exit> {
  return await until(() => exits.get(plan.task), { deadlineMs: 5_000, what: `${plan.name} to end` })
}

async function read(task: string, from = runtime): Promise<readonly LogLine[]> {
  const lines: LogLine[] = []
  const query = { follow: false, tail: undefined, sinceMs: undefined, signal: new AbortController().signal }
  for await (const line of from.logs(task, query)) lines.push(line)
  return lines
}

async function whole(plan: TaskPlan): Promise<readonly string[]> {
  await runtime.start(plan)
  await ended(plan)
  return (await read(plan.task)).map((line) => line.text)
}

function runs(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

test('a task sees its own environment, no input, and a session of its own', async () => {
  process.env.AGENT_SECRET = 'mine'
  const script =
    'env | sort; cat; pwd; ps -o pid=,pgid=,sid= -p $$ | while read a b c; do [ $a = $b ] && [ $b = $c ] && echo leader; done'
  const lines = await whole(shell('env', script, { image: 'sh', env: { A: "it's", 'a.b': '1' } }))
  expect(lines.filter((line) => !/^(PWD|SHLVL|_|OLDPWD|HOME|LANG|TZ)=/.test(line))).toEqual([
    ...["A=it's", 'PATH=/usr/local/bin:/usr/bin:/bin'],
    ...['/', 'leader'],
  ])
  delete process.env.AGENT_SECRET
})

test('SIGINT and SIGQUIT reach a task: its shim does not have them ignored', async () => {
  for (const signal of ['INT', 'QUIT']) {
    const plan = shell(`sig${signal.toLowerCase()}`, `trap 'exit 9' ${signal}; kill -${signal} $$; exit 1`)
    await runtime.start(plan)
    expect(await ended(plan)).toMatchObject({ code: 9, signal: undefined })
  }
})

test('children in the group of a task end with it, when it is stopped and when it ends by itself', async () => {
  for (const last of ['exec sleep 1000', 'exit 0']) {
    const plan = shell(`kids${last.length}`, `(trap '' TERM HUP; exec sleep 1000) & echo $!; ${last}`)
    await runtime.start(plan)
    const [line] = await until(() => read(plan.task).then((lines) => lines.length > 0 && lines), {
      deadlineMs: 5_000,
      what: 'the pid',
    })
    if (last !== 'exit 0') await runtime.stop(plan.task, { signal: 'SIGTERM', graceMs: 5_000 })
    await ended(plan)
    await until(() => !runs(Number(line!.text)), { deadlineMs: 2_000, what: 'the child to end' })
  }
})

test('the end of a task that came while no agent ran is told by the next one, with code, time and last line', async () => {
  const plan = shell('away', 'echo waiting; while [ ! -e "$GO" ]; do sleep 0.02; done; echo gone wrong >&2; exit 5', {
    env: { GO: join(harness.dir, 'go') },
  })
  await runtime.start(plan)
  await runtime.close()
  writeFileSync(join(harness.dir, 'go'), '')
  await until(() => shimsOf(harness.dir).length === 0, { deadlineMs: 5_000, what: 'the task to end' })
  const again = await harness.restart()
  expect(await again.list()).toMatchObject([{ running: false, exit: { code: 5, lastLine: 'gone wrong' } }])
  expect((await read(plan.task, again)).map((line) => line.text)).toEqual(['waiting', 'gone wrong'])
})

test('a shim that is killed costs the exit status only: the task runs on and its end is noticed', async () => {
  const plan = shell('orphan', 'exec sleep 1000')
  const { pid } = await runtime.start(plan)
  process.kill(shimsOf(harness.dir)[0]!, 'SIGKILL')
  await until(() => shimsOf(harness.dir).length === 0, { deadlineMs: 2_000, what: 'the shim to end' })
  expect(await runtime.list()).toMatchObject([{ running: true, pid }])
  process.kill(pid!, 'SIGKILL')
  expect(await ended(plan)).toMatchObject({ code: undefined, signal: undefined })
})

test('a pid that was used again, and a task of an earlier boot, are not taken for the task', async () => {
  const victim = shell('victim', 'exec sleep 1000')
  const { pid } = await runtime.start(victim)
  const pidFile = (name: string) => join(harness.dir, 'tasks', shell(name, '').task, 'pid')
  const [, ticks, shim, boot] = readFileSync(pidFile('victim'), 'utf8').trim().split(' ')
  const stale = {
    later: `${pid} ${Number(ticks) - 1} 4194300 ${boot}\n`,
    boot: `${pid} ${ticks} ${shim} ${'0'.repeat(8)}-${boot!.slice(9)}\n`,
  }
  for (const [name, line] of Object.entries(stale)) {
    await runtime.start(shell(name, 'exit 0'))
    await ended(shell(name, ''))
    rmSync(join(harness.dir, 'tasks', shell(name, '').task, 'ended.json'))
    writeFileSync(join(harness.dir, 'exits', shell(name, '').task), ' \n')
    writeFileSync(pidFile(name), line)
  }
  const again = await harness.restart()
  const listed = new Map((await again.list()).map((task) => [task.task, task.running]))
  expect(['victim', 'later', 'boot'].map((name) => listed.get(shell(name, '').task))).toEqual([true, false, false])
  for (const name of Object.keys(stale)) await again.stop(shell(name, '').task, KILL)
  expect(runs(pid!)).toBe(true)
})

test('files that cannot be read are set aside with their task ended, and the others are adopted', async () => {
  const [good, bad] = [shell('good', 'exec sleep 1000'), shell('bad', 'exec sleep 1000')]
  for (const plan of [good, bad]) await runtime.start(plan)
  const pids = new Map((await runtime.list()).map((task) => [task.task, task.pid]))
  appendFileSync(join(harness.dir, 'tasks', bad.task, 'task.json'), '}')
  mkdirSync(join(harness.dir, 'tasks', 'not-a-task'))
  const again = await harness.restart()
  expect((await again.list()).map((task) => task.task)).toEqual([good.task])
  expect(readdirSync(join(harness.dir, 'aside')).sort()).toEqual([
    expect.stringMatching(/^bad/),
    expect.stringMatching(/^not-a-task/),
  ])
  await until(() => !runs(pids.get(bad.task)!), { deadlineMs: 2_000, what: 'the bad task to end' })
  expect(runs(pids.get(good.task)!)).toBe(true)
})

test('whatever stands in the files of a task, an agent starts', async () => {
  const plan = shell('fuzz', 'exit 0')
  await runtime.start(plan)
  await ended(plan)
  const files = readdirSync(join(harness.dir, 'tasks', plan.task))
  const original = files.map((file) => readFileSync(join(harness.dir, 'tasks', plan.task, file)))
  const damage = fc.tuple(fc.nat(files.length - 1), fc.nat(200), fc.uint8Array({ maxLength: 40 }), fc.boolean())
  await fc.assert(
    fc.asyncProperty(damage, async ([which, at, bytes, cut]) => {
      const folder = join(harness.dir, 'tasks', plan.task)
      mkdirSync(folder, { recursive: true })
      files.forEach((file, i) => {
        const text = original[i]!
        const broken = Buffer.concat([text.subarray(0, at), bytes, cut ? Buffer.alloc(0) : text.subarray(at)])
        writeFileSync(join(folder, file), i === which ? broken : text)
      })
      const again = await harness.restart()
      for (const task of await again.list()) expect(task.running).toBe(false)
    }),
    { numRuns: 60 },
  )
})

test('a start that fails leaves no file and no process', async () => {
  await expect(runtime.start(shell('nodir', '', { dir: '/no/such/dir' }))).rejects.toMatchObject({ code: 'invalid' })
  await expect(runtime.start(shell('nouser', '', { user: 'no-such-user' }))).rejects.toMatchObject({ code: 'invalid' })
  await expect(runtime.start(shell('zero', '', { args: ['a\0b'] }))).rejects.toMatchObject({ code: 'invalid' })
  rmSync(join(harness.dir, 'exits'), { recursive: true })
  writeFileSync(join(harness.dir, 'exits'), '')
  await expect(runtime.start(shell('nodisk', 'exit 0'))).rejects.toMatchObject({ code: 'unavailable' })
  expect(readdirSync(join(harness.dir, 'tasks'))).toEqual([])
  expect(await runtime.list()).toEqual([])
  rmSync(join(harness.dir, 'exits'))
  mkdirSync(join(harness.dir, 'exits'))
})

test('thirty tasks started, stopped and removed at the same time leave nothing', async () => {
  const fds = () => readdirSync('/proc/self/fd').length
  await runtime.list()
  const before = fds()
  const plans = Array.from({ length: 30 }, (_, i) => shell(`many${i}`, 'exec sleep 1000'))
  await Promise.all(plans.map((plan) => runtime.start(plan)))
  await Promise.all(plans.map((plan) => runtime.stop(plan.task, { signal: 'SIGTERM', graceMs: 5_000 })))
  await Promise.all(plans.map((plan) => runtime.remove(plan.task)))
  expect(['tasks', 'exits'].flatMap((folder) => readdirSync(join(harness.dir, folder)))).toEqual([])
  await until(() => shimsOf(harness.dir).length === 0 && fds() <= before, {
    deadlineMs: 2_000,
    what: 'shims and descriptors to go',
  })
})

test('a health command has the environment of its task, bounded output and bounded time, and leaves no child', async () => {
  const plan = shell('health', 'exec sleep 1000', { env: { PORT: '81' }, dir: '/tmp' })
  await runtime.start(plan)
  expect(await runtime.exec(plan.task, ['sh', '-c', 'echo $PORT; pwd; exit 3'], 5_000)).toEqual({
    code: 3,
    output: '81\n/tmp\n',
  })
  const long = await runtime.exec(plan.task, ['sh', '-c', 'yes | head -c 100000'], 5_000)
  expect([long.code, long.output.length]).toEqual([0, 4096])
  const slow = await runtime.exec(plan.task, ['sh', '-c', 'sleep 1000 & echo $!; wait'], 500)
  expect(slow).toEqual({ code: -1, output: expect.stringMatching(/^\d+\nTook more than 500 ms$/) })
  await until(() => !runs(Number.parseInt(slow.output, 10)), { deadlineMs: 2_000, what: 'the child to end' })
  expect(await runtime.exec(plan.task, ['no-such-command'], 1_000)).toMatchObject({ code: 127 })
})

test('logs stand garbage, endless lines and a program that cuts its own output', async () => {
  const garbage = await whole(
    shell(
      'garbage',
      String.raw`printf 'a\377\376\000b\nc\r\n'; head -c 150000 /dev/zero | tr '\0' x; echo; printf 'no end'`,
    ),
  )
  expect(garbage.map((line) => line.length)).toEqual([5, 1, 65_536, 65_536, 150_000 - 2 * 65_536, 6])
  expect(garbage[0]).toBe('a��\0b')
  expect(await whole(shell('cutter', 'echo first; echo oops >/dev/stderr; echo again >/dev/stderr; exit 1'))).toContain(
    'again',
  )
  expect(exits.get(shell('cutter', '').task)?.lastLine).toBe('again')
})

test('a task has its own /etc/hosts where this host allows it, its health commands too, and the host keeps its own', async () => {
  const self = { uid: process.getuid!(), gid: process.getgid!() }
  const names = join(harness.dir, 'hosts')
  writeFileSync(names, '127.9.9.9 database\n')
  const plan = shell('hosts', 'cat /etc/hosts; id -u; exec sleep 1000')
  await runtime.start({ ...plan, attachment: { ...plan.attachment, hostsFile: names } })
  const own = readFileSync('/etc/hosts', 'utf8')
  const shown = (await probePrivacy(self)) === 'none' ? own : '127.9.9.9 database\n'
  const text = async () => (await read(plan.task)).map((line) => `${line.text}\n`).join('')
  await until(async () => (await text()) === `${shown}${self.uid}\n`, { deadlineMs: 5_000, what: 'its hosts and user' })
  expect(await runtime.exec(plan.task, ['cat', '/etc/hosts'], 5_000)).toEqual({ code: 0, output: shown })
  expect(own).not.toContain('database')
})

test('a task runs as the user of its plan, which only root can give it', async () => {
  const plan = shell('user', 'id -un; id -gn; echo again >/dev/stdout; exec sleep 1000', { user: 'nobody:daemon' })
  if (process.getuid!() !== 0) {
    await expect(runtime.start(plan)).rejects.toMatchObject({ code: 'forbidden' })
    return
  }
  await runtime.start(plan)
  const last = async () => (await read(plan.task)).at(-1)?.text
  await until(async () => (await last()) === 'again', { deadlineMs: 5_000, what: 'its lines' })
  expect(await runtime.exec(plan.task, ['id', '-un'], 5_000)).toEqual({ code: 0, output: 'nobody\n' })
})

test('SIGKILL to the agent, and to its whole process group, leaves its tasks running and writing', async () => {
  const plan = shell('alone', 'while :; do echo alive; echo alive >&2; sleep 0.05; done')
  const agent = spawn(process.execPath, ['--input-type=module', '-e', AGENT, harness.dir, JSON.stringify(plan)], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const pid = Number(await new Promise((resolve) => agent.stdout.once('data', resolve)))
  const gone = new Promise((resolve) => agent.once('exit', resolve))
  process.kill(-agent.pid!, 'SIGKILL')
  await gone
  const again = await harness.restart()
  expect(await again.list()).toMatchObject([{ task: plan.task, running: true, pid }])
  const before = (await read(plan.task, again)).length
  const more = async () => (await read(plan.task, again)).length > before + 2
  await until(more, { deadlineMs: 5_000, what: 'lines written after the agent died' })
  expect(runs(pid)).toBe(true)
})

/** An agent of nothing but a runtime: starts the plan and says the pid. */
const AGENT = `
  const [dir, plan] = process.argv.slice(1)
  const { createProcessRuntime } = await import('${import.meta.dirname}/../../../agent/runtime/process/runtime.ts')
  const { createClock } = await import('${import.meta.dirname}/../../../agent/real.ts')
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  const runtime = createProcessRuntime({ dir, clock: createClock(), log, path: '/usr/bin:/bin' })
  console.log((await runtime.start(JSON.parse(plan))).pid)
`
