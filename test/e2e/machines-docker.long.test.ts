/** Tasks as containers where only user space forwards, and what becomes of them when Docker dies and comes back. */
import { expect, test } from 'vitest'
import { until } from '../until.ts'
import { answers, create, inside, nothingIsLeft, running, serves, told, webSpec } from './containers.ts'
import { startEngine, type TestEngine } from './engines.ts'
import { createLan, joinLine, type Machine } from './machines.ts'

test('on the data plane in user space published ports reach containers at their own address, from every node', async () => {
  const lan = await createLan()
  const [n1, n2] = [await lan.add(), await lan.add()]
  const engine = await startEngine(n1)
  await n1.start('vine agent')
  expect(await n1.ok('vine node inspect self --pretty')).toMatch(/Runtime:\t+docker 2\d/)
  await n2.start(await joinLine(n1))
  // Only Docker mounts: the node without it gets none of them.
  const spec = webSpec({ Mounts: [{ Type: 'tmpfs', Target: '/data' }] })
  await n2.client.post('/services/create', spec)
  await serves(n2, 'web', 2)
  expect((await running(engine)).size).toBe(2)
  for (const machine of [n1, n2]) {
    const host = await answers(
      () => lan.outside(`curl -sS -m 2 http://${machine.address}:8080/`),
      `an answer at ${machine.name}`,
    )
    expect(host).toMatch(/^[a-z0-9]{12}$/)
  }
  expect(await inside(n1, 'web', 'mount | grep /data')).toContain('tmpfs')
  await n1.killAgent()
  const kept = await running(engine)
  await n1.start('vine agent')
  await serves(n1, 'web', 2)
  expect(await running(engine)).toEqual(kept)
  await answers(() => lan.outside(`curl -sS -m 2 http://${n2.address}:8080/`), 'an answer after the restart')
  await n1.ok('vine service rm web')
  await flagsReachTheContainer(n1, n2, engine)
  await nothingIsLeft(n1, engine)
}, 120_000)

/** What vine's flags ask for is what the engine was told, and what the task finds; without a node for it the service says what is missing. */
async function flagsReachTheContainer(n1: Machine, n2: Machine, engine: TestEngine): Promise<void> {
  const flags = [
    '--mount type=tmpfs,target=/t,tmpfs-size=1m --mount type=volume,source=kept,target=/kept,volume-label=a=b',
    '--cap-drop ALL --cap-add chown --limit-memory 64m --limit-cpu 0.5 --limit-pids 50 --ulimit nofile=200 --ulimit core=0:9',
    '--read-only --init --sysctl net.ipv4.ip_unprivileged_port_start=81 --host db:192.0.2.1 --oom-score-adj 100 --group 7',
  ]
  // The node without Docker reads the words; the other one runs the task.
  await n2.ok(`${create} --name tight ${flags.join(' ')} box:1 sleep 1000`)
  await serves(n2, 'tight', 1)
  const [name = ''] = (await running(engine)).keys()
  const { HostConfig } = await engine.docker.getContainer(name).inspect()
  expect(HostConfig).toMatchObject({
    CapAdd: ['CAP_CHOWN'],
    CapDrop: ['ALL'],
    Memory: 64 * 1024 * 1024,
    NanoCpus: 500_000_000,
    PidsLimit: 50,
    Ulimits: [
      { Name: 'core', Soft: 0, Hard: 9 },
      { Name: 'nofile', Soft: 200, Hard: 200 },
    ],
    ReadonlyRootfs: true,
    Init: true,
    OomScoreAdj: 100,
    GroupAdd: ['7'],
  })
  const found = async (words: string, line: RegExp) => expect(await inside(n1, 'tight', words)).toMatch(line)
  await found('mount | sort', / on \/kept [\s\S]*tmpfs on \/t .*size=1024k/)
  await found('cat /proc/self/limits; id -G', /core file size +0 +9 [\s\S]*open files +200 +200 [\s\S]*\n0 7/)
  await found('grep CapEff /proc/self/status', /0000000000000001$/m)
  await found(
    'touch /x || cat /etc/hosts; cat /proc/sys/net/ipv4/ip_unprivileged_port_start',
    /192\.0\.2\.1\s+db[\s\S]*\n81$/,
  )
  await n1.ok('vine service update --detach --mount-rm /t --cap-drop chown --limit-pids 0 tight')
  await until(async () => !(await running(engine)).has(name), {
    deadlineMs: 20_000,
    what: 'the first task to be replaced',
  })
  await serves(n2, 'tight', 1)
  await found('mount; grep CapEff /proc/self/status', /^(?![\s\S]* on \/t )[\s\S]*CapEff:\s0+$/m)
  await n1.ok('vine node update --availability drain n1')
  const pending =
    /Pending .* "no suitable node \(no Docker, which it needs, on 1 node; 1 node not available for new tasks\)"/
  await until(async () => pending.test(await n2.ok('vine service ps --no-trunc tight')), {
    deadlineMs: 20_000,
    everyMs: 200,
    what: 'the service to say what is missing',
  })
  // So does who waits for it.
  expect(await n2.run('timeout -s INT 3 vine service update --force tight')).toMatchObject({
    out: expect.stringContaining('1/1: no suitable node (no Docker, which it needs, on 1 node;'),
  })
  await n1.ok('vine service rm tight')
}

test("without Docker none is taken; an engine that dies is found again, and its tasks are replaced; checks are the image's", async () => {
  const lan = await createLan()
  const n1 = await lan.add()
  expect(await n1.run('vine agent --runtime docker')).toMatchObject({
    code: 1,
    err: expect.stringContaining('Docker does not answer at /var/run/docker.sock'),
  })
  const engine = await startEngine(n1)
  await n1.start('vine agent --dataplane linux')
  await n1.ok(`${create} --name sick --publish 8081:80 checked:1 sh -c 'sleep 1000'`)
  await told(n1, 'sick', /failed.*its health check failed/)
  await n1.ok('vine service rm sick')
  await n1.ok(`${create} --name well checked:1 sh -c 'touch /tmp/well; sleep 1000'`)
  await serves(n1, 'well', 1)

  const before = await running(engine)
  await engine.kill()
  await engine.start()
  await until(async () => [...(await running(engine)).keys()].some((name) => !before.has(name)), {
    deadlineMs: 30_000,
    what: 'another container of the service to run',
  })
  await serves(n1, 'well', 1)
  await n1.ok('vine service rm well')
  await nothingIsLeft(n1, engine)
}, 120_000)
