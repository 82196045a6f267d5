/** Containers that are no tasks on networks of the cluster, with a real engine on one of two machines: they find services, are found by name, and leave nothing. */
import { expect, test } from 'vitest'
import { until } from '../until.ts'
import { answers } from './containers.ts'
import { startEngine } from './engines.ts'
import { createLan, joinLine, type Machine } from './machines.ts'

const ours = 'docker -H unix:///run/grapevine/vine.sock'
const engines = 'docker -H unix:///run/docker.sock'
/** Answers with this word at port 80. */
const page = (word: string) =>
  `box:1 sh -c 'mkdir -p /www && echo ${word} > /www/index.html && exec httpd -f -p 80 -h /www'`
const service = (word: string) =>
  `sh -c 'mkdir -p /tmp/${word} && echo ${word} > /tmp/${word}/index.html && exec busybox httpd -f -p 80 -h /tmp/${word}'`

test('a container that is no task is on a network while it is connected and runs, whoever ends meanwhile', async () => {
  const lan = await createLan()
  const [n1, n2] = [await lan.add(), await lan.add()]
  const engine = await startEngine(n1)
  await n1.start('vine agent --runtime process --dataplane linux')
  await n2.start(`${await joinLine(n1)} --dataplane linux`)
  expect(await n1.ok('vine network create --attachable --subnet 10.60.0.0/24 app')).not.toContain('warning')
  await n1.ok('vine network create closed')
  const away = '--constraint node.hostname==n2 --network app'
  await n1.ok(`vine service create --detach --quiet --name web ${away} --label grapevine.expose=80 ${service('web')}`)
  await n1.ok(`vine service create --detach --quiet --name caller ${away} sleep 10000`)
  await n1.ok(`${engines} run -d --name plain ${page('plain')}`)

  const refused = await n1.run(`${ours} network connect closed plain`)
  expect([refused.code, refused.err]).toEqual([1, expect.stringContaining('not manually attachable')])
  await n1.ok(`${ours} network connect --alias other app plain`)
  expect((await n1.run(`${ours} network connect app plain`)).err).toContain('already exists in network app')
  const fromPlain = (line: string) => n1.run(`${engines} exec plain ${line}`)
  expect(await answers(() => fromPlain('curl -sS -m 2 http://web/'), 'the service by its name')).toBe('web')
  expect(await answers(() => fromPlain('curl -sS -m 2 http://plain/'), 'itself by its name')).toBe('plain')
  for (const name of ['plain', 'other']) expect(await reached(n2, name)).toBe('plain')
  expect(await shown(n1)).toEqual(['plain'])
  expect((await n1.run('vine network rm app')).err).toMatch(/is in use by service/)

  await n1.killAgent()
  await n1.start('vine agent --runtime process --dataplane linux')
  expect(await reached(n2, 'plain')).toBe('plain')
  expect(await answers(() => fromPlain('curl -sS -m 2 http://web/'), 'the service after a restart')).toBe('web')

  await n1.ok(`${engines} kill plain`)
  await unknown(n2, 'plain')
  await nothingIsLeft(n1)
  await n1.ok(`${engines} start plain`)
  expect(await reached(n2, 'other')).toBe('plain')

  await n1.ok(`${ours} network disconnect app plain`)
  await unknown(n2, 'plain')
  await nothingIsLeft(n1)
  expect(await ofOurs(n1, 'plain')).toBe('')

  await n1.ok(`${ours} run -d --name ran --network app --network-alias runner ${page('ran')}`)
  expect(await reached(n2, 'runner')).toBe('ran')
  const fromRan = (line: string) => n1.run(`${ours} exec ran ${line}`)
  expect(await answers(() => fromRan('curl -sS -m 2 http://web/'), 'the service, with no other network')).toBe('web')
  await n1.ok(`${ours} rm -f ran`)
  await unknown(n2, 'ran')
  await nothingIsLeft(n1)
  expect(await engine.containers()).toEqual(['plain'])

  await n1.ok('vine network create --attachable --subnet 10.61.0.0/24 second')
  await n1.ok('vine network connect app plain')
  await n1.ok('vine network connect second plain')
  expect((await n1.run('vine network rm second')).err).toContain('has active endpoints: container plain on node n1')
  await n1.ok('vine network disconnect app plain')
  expect(await answers(() => fromPlain('curl -sS -m 2 http://plain.second/'), 'a name of the network that stays')).toBe(
    'plain',
  )
  expect((await fromPlain('curl -sS -m 2 http://web/')).code).not.toBe(0)

  await n1.ok('vine network connect app plain')
  expect(await reached(n2, 'plain')).toBe('plain')
  await n1.killAgent()
  await unknown(n2, 'plain')
  await n1.ok(`${engines} rm -f plain`)
  await n1.run('vine doctor --clean')
  await nothingIsLeft(n1)
}, 120_000)

test('a container on a network of its engine finds names there and on ours, and one of an internal network of ours has no way out', async () => {
  const lan = await createLan()
  const n1 = await lan.add()
  await startEngine(n1)
  await n1.start('vine agent --runtime process --dataplane linux')
  await n1.ok('vine network create --attachable --subnet 10.60.0.0/24 app')
  await n1.ok('vine network create --attachable --internal --subnet 10.61.0.0/24 vault')
  const web = `--network app --network vault --label grapevine.expose=80 ${service('web')}`
  await n1.ok(`vine service create --detach --quiet --name web ${web}`)
  await n1.ok(`${ours} network create engines`)
  await n1.ok(`${ours} run -d --name near --network engines ${page('near')}`)
  await n1.ok(`${ours} run -d --name both --network engines --dns 10.77.0.254 ${page('both')}`)
  const from = (name: string, line: string) => n1.run(`${engines} exec ${name} ${line}`)
  await n1.ok(`${ours} network connect app both`)
  expect(await answers(() => from('both', 'curl -sS -m 2 http://near/'), 'a name of the engine')).toBe('near')
  expect(await answers(() => from('both', 'curl -sS -m 2 http://web/'), 'a name of ours')).toBe('web')
  expect((await n1.run(`vine network connect app near`)).err).toContain('do not find names of the network')

  await n1.ok(`${ours} run -d --name kept --network vault ${page('kept')}`)
  expect(await answers(() => from('kept', 'curl -sS -m 2 http://web/'), 'a name in the vault')).toBe('web')
  expect(await n1.ok(`${engines} exec kept ip route`)).not.toContain('default')
  await n1.ok(`${ours} run -d --name out --network app ${page('out')}`)
  expect(await answers(() => from('out', 'curl -sS -m 2 http://web/'), 'a name with a way out')).toBe('web')
  expect(await n1.ok(`${engines} exec out ip route`)).toContain('default')

  await n1.ok(`${ours} network disconnect engines near`)
  expect((await n1.run(`${ours} network connect --ip 10.60.0.77 app near`)).err).toContain('cannot choose its address')
  await n1.ok(`${ours} run -d --name machines --network host ${page('machines')}`)
  expect((await n1.run(`${ours} network connect app machines`)).err).toContain('sharing network namespace')
  await n1.ok('vine agent stop')
  await nothingIsLeft(n1)
  for (const name of ['both', 'kept', 'out']) expect(await ofOurs(n1, name)).toBe('')
}, 120_000)

/** Interfaces and tables of ours in a container. */
async function ofOurs(machine: Machine, container: string): Promise<string> {
  const pid = await machine.ok(`${engines} inspect -f '{{.State.Pid}}' ${container}`)
  return await machine.ok(
    `nsenter -t ${pid} -n sh -c "ip -o link | grep -o ' vn[a-z0-9]*'; nft list tables | grep grapevine; true"`,
  )
}

/** From inside the task that sleeps. */
async function reached(machine: Machine, name: string): Promise<string> {
  const line = `nsenter -t $(pgrep -x -o sleep) -n -m curl -sS -m 2 http://${name}/`
  return await answers(() => machine.run(line), `${name} to answer`)
}

/** A name is asked of the task's own resolver. */
async function unknown(machine: Machine, name: string): Promise<void> {
  await until(
    async () => (await machine.run(`vine resolve ${name} --from caller.1`)).err.includes('There is no name'),
    {
      deadlineMs: 5_000,
      what: `${name} to be unknown`,
    },
  )
}

async function shown(machine: Machine): Promise<readonly string[]> {
  const { Containers } = await machine.client.get<{ readonly Containers: Readonly<Record<string, { Name: string }>> }>(
    '/networks/app',
  )
  return Object.values(Containers).map(({ Name }) => Name)
}

async function nothingIsLeft(machine: Machine): Promise<void> {
  const looked = async () =>
    `${await machine.ok('ip netns')}${await machine.ok("ip -o link | grep -o ' vt[a-z0-9]*' || true")}`
  await until(async () => (await looked()) === '', { deadlineMs: 10_000, what: 'no namespace and no cable to be left' })
}
