/** Tasks as containers, with a real engine on each machine: on both data planes, through every kind of loss, and nothing left behind. */
import { expect, test } from 'vitest'
import { until } from '../until.ts'
import { startEngine, type TestEngine } from './engines.ts'
import { createLan, joinLine, type Machine } from './machines.ts'

/** Answers with its host name, says a word on each stream, and ends only when it is killed. */
const serve = `box:1 sh -c 'mkdir -p /www && hostname > /www/index.html && echo begun && echo heard >&2 && exec httpd -f -p 80 -h /www'`
const create = 'vine service create --detach --quiet --stop-signal SIGKILL'

/** Names of containers that are no sandboxes -> their ids, of those that run. */
async function running({ docker }: TestEngine): Promise<ReadonlyMap<string, string>> {
  const all = await docker.listContainers()
  const named = all.map(({ Names, Id }) => [(Names[0] ?? '').slice(1), Id] as const)
  return new Map(named.filter(([name]) => !name.endsWith('.net')).sort())
}

async function serves(machine: Machine, service: string, count: number): Promise<void> {
  await until(async () => (await states(machine, service)).filter((state) => state === 'Running').length === count, {
    deadlineMs: 20_000,
    what: `${count} tasks of ${service} to run`,
  })
}

async function states(machine: Machine, service: string): Promise<readonly string[]> {
  const text = await machine.ok(
    `vine service ps ${service} --filter desired-state=running --format '{{.CurrentState}}'`,
  )
  return text.split('\n').map((state) => state.split(' ')[0] ?? '')
}

async function errors(machine: Machine, service: string): Promise<string> {
  return await machine.ok(`vine service ps ${service} --no-trunc --format '{{.CurrentState}} {{.Error}}'`)
}

/** As if typed at a shell in the container. */
async function inside(machine: Machine, service: string, line: string): Promise<string> {
  const id = await machine.ok(
    `curl -fsS --unix-socket /run/docker.sock 'http://docker/containers/json' | tr ',' '\\n' | grep -o '/${service}[.][^"]*' | grep -v net$ | head -1`,
  )
  return await machine.ok(`docker -H unix:///run/docker.sock exec ${id.slice(1)} sh -c '${line}'`)
}

async function answers(
  ask: () => Promise<{ readonly code: number; readonly out: string }>,
  what: string,
): Promise<string> {
  const ran = await until(
    async () => {
      const { code, out } = await ask()
      return code === 0 ? out : ''
    },
    { deadlineMs: 10_000, what },
  )
  return ran.trim()
}

async function nothingIsLeft(machine: Machine, engine: TestEngine): Promise<void> {
  await until(async () => (await engine.containers()).length === 0 && (await machine.ok('ip netns')) === '', {
    deadlineMs: 20_000,
    what: `no container and no namespace to be left on ${machine.name}`,
  })
}

test('on the linux data plane containers answer at their virtual IP and published port, are replaced when killed, and outlive the agent', async () => {
  const lan = await createLan()
  const [n1, n2] = [await lan.add(), await lan.add()]
  const engines = [await startEngine(n1), await startEngine(n2)] as const
  const [engine] = engines
  await n1.start('vine agent --runtime docker --dataplane linux')
  await n2.start(`${await joinLine(n1)} --dataplane linux`)
  expect(await n2.ok('vine node inspect self --pretty')).toMatch(/Runtime:\t+docker 2\d/)
  await n1.ok('vine network create -d overlay one')
  await n1.ok(`${create} --name web --network one --replicas 2 --publish 8080:80 ${serve}`)
  await n1.ok(`${create} --name near --network one --mode global box:1 sleep 1000`)
  await serves(n1, 'web', 2)
  await serves(n1, 'near', 2)

  const hosts = new Set<string>()
  for (const machine of [n1, n2]) {
    // Docker drops what is forwarded and not its own: here that it does not.
    expect(await machine.ok('iptables -S FORWARD')).toContain('-P FORWARD DROP')
    expect(await machine.ok('vine doctor')).toContain('firewall: ok')
    hosts.add(
      await answers(() => lan.outside(`curl -sS -m 2 http://${machine.address}:8080/`), 'an answer from outside'),
    )
    hosts.add(await inside(machine, 'near', 'curl -sS -m 3 http://web/'))
  }
  for (const host of hosts) expect(host).toMatch(/^[a-z0-9]{12}$/)

  const logs = await n2.ok('vine service logs web 2>&1')
  expect(logs.split('\n').filter((line) => /begun$|heard$/.test(line))).toHaveLength(4)

  const before = await running(engine)
  const victim = [...before.keys()].find((name) => name.startsWith('web.')) ?? ''
  await engine.docker.getContainer(victim).kill()
  await until(async () => (await errors(n1, 'web')).includes('task: non-zero exit (137)'), {
    deadlineMs: 5_000,
    what: 'the end of the container to be told',
  })
  await serves(n1, 'web', 2)

  const kept = await running(engine)
  expect(kept.has(victim)).toBe(false)
  await n1.killAgent()
  await n1.start('vine agent --runtime docker --dataplane linux')
  await serves(n1, 'web', 2)
  expect(await running(engine)).toEqual(kept)
  await answers(() => lan.outside(`curl -sS -m 2 http://${n1.address}:8080/`), 'an answer after the restart')

  await n1.ok('vine service rm web near')
  for (const [i, machine] of [n1, n2].entries()) await nothingIsLeft(machine, engines[i]!)
  await n1.ok('vine agent stop')
  await until(async () => !(await n1.ok('iptables -S DOCKER-USER')).includes('grapevine'), {
    deadlineMs: 10_000,
    what: 'the rules to be taken back',
  })
}, 120_000)

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
  await nothingIsLeft(n1, engine)
}, 120_000)

test("what Docker refuses is told in its words; an engine that dies is found again, and its tasks are replaced; checks are the image's", async () => {
  const lan = await createLan()
  const n1 = await lan.add()
  expect(await n1.run('vine agent --runtime docker')).toMatchObject({
    code: 1,
    err: expect.stringContaining('Docker does not answer at /var/run/docker.sock'),
  })
  const engine = await startEngine(n1)
  await n1.start('vine agent --dataplane linux')
  await n1.ok(`${create} --name lost localhost:1/nobody:1`)
  await told(n1, 'lost', /Rejected.*No such image: localhost:1\/nobody:1 \(.*(refused|no such host|lookup)/)
  const mount = webSpec({ Mounts: [{ Type: 'bind', Source: '/no/such', Target: '/data' }] })
  await n1.client.post('/services/create', { ...mount, Name: 'unbound', EndpointSpec: {} })
  await told(n1, 'unbound', /Rejected.*bind source path does not exist: \/no\/such/)
  // It comes about, and the task runs when it is tried again.
  await n1.ok('mkdir -p /no/such')
  await serves(n1, 'unbound', 2)
  await n1.ok('vine service rm lost unbound')

  await n1.ok(`${create} --name sick --publish 8081:80 checked:1 sh -c 'sleep 1000'`)
  await told(n1, 'sick', /Failed.*its health check failed/)
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

function webSpec(container: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const Args = ['sh', '-c', 'mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 80 -h /www']
  return {
    Name: 'web',
    Mode: { Replicated: { Replicas: 2 } },
    TaskTemplate: { ContainerSpec: { Image: 'box:1', Args, StopSignal: 'SIGKILL', ...container } },
    EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 8080 }] },
  }
}

async function told(machine: Machine, service: string, what: RegExp): Promise<void> {
  await until(
    async () => what.test(await errors(machine, service)) || Promise.reject(new Error(await errors(machine, service))),
    {
      deadlineMs: 20_000,
      what: `${service} to say ${what}`,
    },
  )
}
