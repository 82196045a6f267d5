/**
 * What Docker refuses is told in its words, tried again after a while, and runs when the reason is gone: one machine whose engine has a small disk of its
 * own and lets containers outlive it. Logins for registries: machines-docker-registry.long.test.ts; an engine that is too old: test/unit/docker-runtime.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { needs } from '../needs.ts'
import { until } from '../until.ts'
import { create, errors, nothingIsLeft, rest, running, serves, told, webSpec } from './containers.ts'
import { startEngine, type TestEngine } from './engines.ts'
import { type Lan, type Machine, openLan } from './machines.ts'

const docker = 'docker -H unix:///run/docker.sock'
const disk = 'mkdir -p /var/lib/docker && mount -t tmpfs -o size=64m engine /var/lib/docker'
let lan: Lan
let n1: Machine
let engine: TestEngine

beforeAll(async () => {
  lan = await openLan()
  n1 = await lan.add({ setUp: disk })
  engine = await startEngine(n1, '--live-restore')
  await n1.start('vine agent --dataplane linux')
})

afterAll(async () => {
  await nothingIsLeft(n1, engine)
  await lan.close()
})

async function shown(service: string, what: RegExp): Promise<void> {
  await told(n1, service, what)
  expect(await n1.ok(`vine service ps --no-trunc ${service}`)).toMatch(what)
}

test('an engine that restarts under its containers finds them, and so does the agent: nothing is replaced', async () => {
  await n1.ok(`${create} --name kept --replicas 2 box:1 ${rest}`)
  await serves(n1, 'kept', 2)
  const before = await running(engine)
  const pids = async () => (await n1.ok('pgrep -f "^sleep 1000"')).split('\n').sort()
  const programs = await pids()
  expect(programs).toHaveLength(2)
  await engine.kill()
  await until(() => n1.said().includes('Docker does not answer'), { deadlineMs: 5_000, what: 'the loss to be told' })
  expect(await errors(n1, 'kept')).toBe('running \nrunning ')
  await engine.start()
  await until(() => n1.said().includes('Docker answers again'), { deadlineMs: 20_000, what: 'the return to be told' })
  expect(await running(engine)).toEqual(before)
  expect(await pids()).toEqual(programs)
  expect(await errors(n1, 'kept')).toBe('running \nrunning ')

  // It is heard again what happens there.
  await engine.docker.getContainer([...before.values()][0] ?? '').kill()
  await told(n1, 'kept', /failed task: non-zero exit \(137\)/)
  await serves(n1, 'kept', 2)
  await n1.ok('vine service rm kept')
})

test('an image that nobody has, a mount of nothing and a name that is taken are told, and over when they are over', async () => {
  for (const tool of ['docker', 'nc']) needs(tool)
  await n1.ok(`${create} --name lost localhost:1/nobody:1 ${rest}`)
  const {
    Name: _,
    EndpointSpec: __,
    ...spec
  } = webSpec({ Mounts: [{ Type: 'bind', Source: '/run/missing', Target: '/data' }] })
  await n1.client.post('/services/create', { ...spec, Name: 'unbound' })
  // A registry that says nothing: the time in which somebody takes the name of the container that is about to be made.
  await n1.ok(`${docker} tag box:1 127.0.0.1:5001/box:latest`)
  n1.begin('nc -lk 127.0.0.1 5001', () => {})
  await n1.ok(`${create} --name clash 127.0.0.1:5001/box ${rest}`)
  const name = await taskThatPulls('clash')
  await n1.ok(`${docker} create --name ${name} box:1 true && pkill -x nc`)

  await shown('lost', /rejected.*No such image: localhost:1\/nobody:1 \(.*(refused|no such host|lookup)/i)
  await shown('unbound', /rejected.*bind source path does not exist: \/run\/missing/i)
  await shown('clash', /rejected.*Conflict. The container name "\/clash\.1\.\w+" is already in use by container/i)
  expect(await errors(n1, 'lost')).not.toContain('running')

  await n1.ok(`mkdir -p /run/missing && ${docker} tag box:1 localhost:1/nobody:1`)
  await serves(n1, 'lost', 1)
  await serves(n1, 'unbound', 2)
  await serves(n1, 'clash', 1)
  expect(await n1.ok(`${docker} inspect -f '{{.State.Status}}' ${name}`)).toBe('created')
  await n1.ok(`${docker} rm ${name} && vine service rm lost unbound clash`)
})

test('an engine without room says so, what runs goes on, and the task runs when there is room again', async () => {
  await n1.ok(`${create} --name there box:1 ${rest}`)
  await serves(n1, 'there', 1)
  const before = await running(engine)
  await n1.run('dd if=/dev/zero of=/var/lib/docker/filler bs=64k 2>/dev/null')
  await n1.ok(`${create} --name full box:1 ${rest}`)
  await shown('full', /rejected.*no space left on device/i)
  expect(await running(engine)).toEqual(before)
  await n1.ok('rm /var/lib/docker/filler')
  await serves(n1, 'full', 1)
  await n1.ok('vine service rm there full')
})

/** Name of the task that waits for its image. */
async function taskThatPulls(service: string): Promise<string> {
  const filters = encodeURIComponent(JSON.stringify({ service: [service] }))
  return await until(
    async () => {
      const tasks = await n1.client.get<
        readonly { readonly ID: string; readonly Slot: number; readonly Status: { readonly Message: string } }[]
      >(`/tasks?filters=${filters}`)
      const task = tasks.find(({ Status }) => Status.Message.startsWith('pulling'))
      return task === undefined ? '' : `${service}.${task.Slot}.${task.ID}`
    },
    { deadlineMs: 10_000, what: `a task of ${service} to wait for its image` },
  )
}
