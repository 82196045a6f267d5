/** Docker's own command line, unchanged, against two agents: whoever runs a Swarm types here what they typed there. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { until } from '../until.ts'
import { ask, webProgram } from './clients.ts'
import { type Agent, type Cluster, openCluster } from './cluster.ts'
import { type DockerCli, dockerOf, rowsOf } from './docker-cli.ts'

let cluster: Cluster<2>
let n1: Agent
let n2: Agent
let docker: DockerCli

beforeAll(async () => {
  cluster = await openCluster({ nodes: 2 })
  ;[n1, n2] = cluster.agents
})
beforeEach(() => {
  docker = dockerOf(n1.socket, cluster.dir)
})
afterEach(async () => {
  const services = await n1.client.get<readonly { readonly ID: string }[]>('/services')
  if (services.length > 0) await n1.ok('service', 'rm', ...services.map(({ ID }) => ID))
})
afterAll(() => cluster.close())

const deadlineMs = 20_000
const idle = ['node', '-e', 'setInterval(() => console.log("tick"), 200)']

test('docker network create, ls, inspect and rm', async () => {
  const id = await docker.ok('network', 'create', '--driver', 'overlay', '--label', 'tier=back', 'app')
  expect(id).toMatch(/^[a-z0-9]{25}$/)
  expect(rowsOf(await docker.ok('network', 'ls', '--filter', 'label=tier=back'))).toEqual([
    ['NETWORK ID', 'NAME', 'DRIVER', 'SCOPE'],
    [id.slice(0, 12), 'app', 'overlay', 'swarm'],
  ])
  const [network] = JSON.parse(await docker.ok('network', 'inspect', 'app'))
  expect(network).toMatchObject({ Name: 'app', Id: id, Scope: 'swarm', Driver: 'overlay', Labels: { tier: 'back' } })
  await docker.ok('service', 'create', '--detach', '--name', 'user', '--network', 'app', ...idle)
  expect((await docker.run(['network', 'rm', 'app'])).err).toContain('network app is in use by service user')
  await docker.ok('service', 'rm', 'user')
  expect(await docker.ok('network', 'rm', 'app')).toBe('app')
  expect(await docker.run(['network', 'inspect', 'app'])).toMatchObject({
    code: 1,
    err: expect.stringMatching(/no such network: app|network app not found/i),
  })
})

test('docker service create waits until the service runs; ls, ps, inspect, update, scale, logs, rollback and rm', async () => {
  const flags = ['--name', 'web', '--replicas', '2', '--publish', '8080:80', '--label', 'tier=front']
  const created = await docker.run(['service', 'create', ...flags, 'node', '-e', webProgram])
  expect([created.code, created.out]).toEqual([
    0,
    expect.stringMatching(/^[a-z0-9]{25}\noverall progress: 0 out of 2 tasks\n[\s\S]*Service (\w+ )?converged/),
  ])
  expect((await ask(n2.address, 8080)).length).toBeGreaterThan(0)
  const id = created.out.split('\n')[0] ?? ''
  expect(rowsOf(await docker.ok('service', 'ls', '--filter', 'label=tier=front'))).toEqual([
    ['ID', 'NAME', 'MODE', 'REPLICAS', 'IMAGE', 'PORTS'],
    [id.slice(0, 12), 'web', 'replicated', '2/2', 'node:latest', '*:8080->80/tcp'],
  ])
  const [head, ...tasks] = rowsOf(await docker.ok('service', 'ps', 'web'))
  expect(head).toEqual(['ID', 'NAME', 'IMAGE', 'NODE', 'DESIRED STATE', 'CURRENT STATE', 'ERROR', 'PORTS'])
  expect(tasks.map(([, name, image, , desired]) => [name, image, desired])).toEqual([
    ['web.1', 'node:latest', 'Running'],
    ['web.2', 'node:latest', 'Running'],
  ])
  expect(tasks.map((row) => row[3]).sort()).toEqual(['n1', 'n2'])
  const pretty = await docker.ok('service', 'inspect', '--pretty', 'web')
  for (const line of [/^Name:\s+web$/m, /^Service Mode:\s+Replicated$/m, /^ Replicas:\s+2$/m, /PublishedPort = 8080/])
    expect(pretty).toMatch(line)
  const [found] = JSON.parse(await docker.ok('inspect', 'web'))
  expect(found.Spec).toMatchObject({
    Name: 'web',
    Mode: { Replicated: { Replicas: 2 } },
    EndpointSpec: { Mode: 'vip' },
  })

  expect(await docker.ok('service', 'update', '--detach', '--env-add', 'ROUND=2', 'web')).toBe('web')
  await until(async () => (await docker.ok('service', 'inspect', '--pretty', 'web')).match(/State:\s+completed/), {
    deadlineMs,
    what: 'the update to complete',
  })
  expect(await docker.ok('service', 'scale', '--detach', 'web=3')).toBe('web scaled to 3')
  await until(async () => (await docker.ok('service', 'ls')).includes('3/3'), { deadlineMs, what: 'three tasks' })
  await docker.ok('service', 'rollback', '--detach', 'web')
  await until(async () => (await docker.ok('service', 'ls')).includes('2/2'), { deadlineMs, what: 'two tasks again' })

  await docker.ok('service', 'create', '--detach', '--name', 'talk', ...idle)
  await until(async () => /^talk\.1\.\w+@n\d\s+\| tick$/m.test(await docker.ok('service', 'logs', 'talk')), {
    deadlineMs,
    what: 'a line of the log',
  })
  expect(await docker.ok('service', 'rm', 'web', 'talk')).toBe('web\ntalk')
  expect(await docker.run(['service', 'inspect', 'web'])).toMatchObject({
    code: 1,
    err: expect.stringContaining('no such service: web'),
  })
})

test('docker stack deploy makes a stack, changes it the second time, and rm leaves nothing', async () => {
  const compose = (round: string, replicas: number) => `
version: "3.8"
services:
  web:
    image: node
    command: ["-e", ${JSON.stringify(webProgram.replaceAll('$', '$$'))}]
    environment: { ROUND: "${round}" }
    ports: ["8088:80"]
    networks: [front]
    deploy:
      replicas: ${replicas}
      labels: { tier: front }
      placement: { constraints: [node.platform.os==linux] }
  everywhere:
    image: node
    command: ["-e", "setInterval(() => {}, 1000)"]
    deploy: { mode: global }
networks:
  front: {}
`
  const file = join(cluster.dir, 'compose.yaml')
  writeFileSync(file, compose('1', 1))
  // Debian's client of 2023 has no such command.
  if ((await docker.run(['stack', '--help'])).out.includes('config'))
    expect(await docker.ok('stack', 'config', '--compose-file', file)).toContain('replicas: 1')
  const first = await docker.ok('stack', 'deploy', '--compose-file', file, 'shop')
  expect(
    first
      .split('\n')
      .filter((line) => line.startsWith('Creating'))
      .sort(),
  ).toEqual([
    'Creating network shop_default',
    'Creating network shop_front',
    'Creating service shop_everywhere',
    'Creating service shop_web',
  ])
  expect(rowsOf(await docker.ok('stack', 'ls', '--format', '{{.Name}}  {{.Services}}'))).toEqual([['shop', '2']])
  await until(async () => /global\s+2\/2[\s\S]*replicated\s+1\/1/.test(await docker.ok('stack', 'services', 'shop')), {
    deadlineMs,
    what: 'the stack to run',
  })
  writeFileSync(file, compose('2', 2))
  const second = await docker.ok('stack', 'deploy', '--compose-file', file, 'shop')
  expect(second).toMatch(/^Updating service shop_web \(id: \w{25}\)$/m)
  await until(async () => /replicated\s+2\/2/.test(await docker.ok('stack', 'services', 'shop')), {
    deadlineMs,
    what: 'the change',
  })
  const tasks = rowsOf(await docker.ok('stack', 'ps', '--filter', 'desired-state=running', 'shop')).slice(1)
  expect(tasks.map(([, name = '']) => name.replace(/\.[a-z0-9]{25}$/, ''))).toEqual([
    'shop_everywhere',
    'shop_everywhere',
    'shop_web.1',
    'shop_web.2',
  ])
  const removed = await docker.ok('stack', 'rm', 'shop')
  expect(removed).toMatch(/Removing service shop_web[\s\S]*Removing network shop_front/)
  expect([await docker.ok('service', 'ls', '--quiet'), (await docker.ok('network', 'ls')).includes('shop')]).toEqual([
    '',
    false,
  ])
  expect(await docker.run(['stack', 'ps', 'shop'])).toMatchObject({
    code: 1,
    err: expect.stringContaining('nothing found in stack: shop'),
  })
})

test('docker node ls, ps, inspect, update and rm', async () => {
  const [head, ...nodes] = rowsOf(await docker.ok('node', 'ls'))
  expect(head).toEqual(['ID', 'HOSTNAME', 'STATUS', 'AVAILABILITY', 'MANAGER STATUS', 'ENGINE VERSION'])
  expect(nodes.map((row) => row.slice(1, 5)).sort()).toEqual([
    ['n1', 'Ready', 'Active', 'Reachable'],
    ['n2', 'Ready', 'Active', 'Reachable'],
  ])
  await docker.ok('service', 'create', '--detach', '--name', 'here', '--constraint', 'node.hostname==n1', ...idle)
  await until(async () => /here\.1/.test(await docker.ok('node', 'ps')), { deadlineMs, what: 'the task of this node' })
  expect(await docker.ok('node', 'inspect', '--pretty', 'self')).toMatch(
    /Hostname:\s+n1[\s\S]*Raft Status:\s+Reachable/,
  )
  await docker.ok('node', 'update', '--availability', 'drain', '--label-add', 'rack=7', 'n2')
  expect(
    rowsOf(await docker.ok('node', 'ls', '--filter', 'node.label=rack=7'))
      .slice(1)
      .map((row) => row.slice(1, 4)),
  ).toEqual([['n2', 'Ready', 'Drain']])
  await docker.ok('node', 'update', '--availability', 'active', '--label-rm', 'rack', 'n2')
  expect((await docker.run(['node', 'rm', 'n2'])).err).toContain("node n2 is not down and can't be removed")
  expect((await docker.run(['node', 'demote', 'n2'])).err).toContain('every node is a manager here')
})

test('docker swarm, info, version and events', async () => {
  expect(await docker.ok('swarm', 'join-token', 'worker')).toContain('vine token')
  expect(await docker.ok('swarm', 'join-token', '--rotate', '--quiet', 'manager')).toContain('vine token')
  for (const [words, sentence] of [
    [['swarm', 'leave'], /participating as a manager.*--force/],
    [['swarm', 'init'], /already part of a swarm/],
    [['swarm', 'update', '--task-history-limit', '3'], /no raft.*settings to change.*vine token --rotate/],
    [['swarm', 'unlock-key'], /no unlock key/],
  ] as const)
    expect((await docker.run(words)).err).toMatch(sentence)
  expect(await docker.ok('info')).toMatch(/Swarm: active[\s\S]*Is Manager: true[\s\S]*Nodes: 2/)
  expect(await docker.ok('version', '--format', '{{.Server.Version}}')).toMatch(/^\d+\.\d+\.\d+/)
  const sinceS = Math.floor(Date.now() / 1000)
  await docker.ok('service', 'create', '--detach', '--name', 'told', ...idle)
  await docker.ok('service', 'rm', 'told')
  const filter = ['--filter', 'type=service', '--format', '{{.Type}} {{.Action}} {{.Actor.Attributes.name}}']
  // The client sends whole seconds: what happened in this one is told in the next.
  const told = async () =>
    (await docker.ok('events', '--since', String(sinceS), '--until', '0s', ...filter)).split('\n')
  const events = await until(
    async () => {
      const lines = (await told()).filter((line) => line.endsWith(' told'))
      return lines.length === 2 ? lines : undefined
    },
    { deadlineMs, everyMs: 200, what: 'both events' },
  )
  expect(events).toEqual(['service create told', 'service remove told'])
})

test('what a cluster does not have is an empty list or a refusal that says why', async () => {
  expect(await docker.ok('secret', 'ls', '--quiet')).toBe('')
  expect(await docker.ok('config', 'ls', '--quiet')).toBe('')
  for (const [words, sentence] of [
    [['secret', 'create', 's', '-'], /does not support secrets yet/],
    [['config', 'create', 'c', '-'], /does not support configs yet/],
    [['service', 'create', '--detach', '--mode', 'replicated-job', ...idle], /does not support jobs/],
    [['service', 'create', '--detach', '--network', 'nope', ...idle], /no such network: nope|network nope not found/i],
    [['ps'], /no Docker engine to ask.*--docker-socket/],
    [['run', '--rm', 'busybox', 'true'], /no Docker engine to ask/],
    [['images'], /no Docker engine to ask/],
    [['network', 'create', 'local'], /does not support the network driver "bridge".*--driver overlay/],
    [['inspect', 'nope'], /no such object: nope/i],
  ] as const)
    expect(await docker.run(words, { input: 'x' })).toMatchObject({
      code: expect.any(Number),
      err: expect.stringMatching(sentence),
    })
})

test.each(['1.24', '1.41', '1.47'])('a client of API %s is served', async (version) => {
  await docker.ok('service', 'create', '--detach', '--name', 'old', ...idle)
  const ran = await docker.run(['service', 'ls'], { env: { DOCKER_API_VERSION: version } })
  expect([ran.code, rowsOf(ran.out)[1]?.[1]]).toEqual([0, 'old'])
})

test('a client of a later API is told which is the last', async () => {
  const ran = await docker.run(['service', 'ls'], { env: { DOCKER_API_VERSION: '1.99' } })
  expect(ran).toMatchObject({
    code: 1,
    err: expect.stringContaining('client version 1.99 is too new. Maximum supported API version is 1.56'),
  })
})
