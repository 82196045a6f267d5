// A Compose file deployed with docker's own command and with vine against one agent: the same specs are stored, and each of the two changes nothing
// of what the other deployed.
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { needs } from '../needs.ts'
import { runs } from './clients.ts'
import { type Agent, createCluster, type Ran } from './cluster.ts'

const compose = `
x-task: &task
  image: node
  command: -e 'setInterval(() => {}, 1000)'
services:
  web:
    <<: *task
    environment: {GREETING: "\${GREETING:-hello}", PRICE: 5$$, EMPTY: }
    ports: ["8080:80", {target: 81, published: 8081, protocol: udp, mode: ingress}]
    networks: {front: {aliases: [www]}, back: }
    labels: [tier=web]
    healthcheck: {test: exit 0, interval: 1s, timeout: 1s, retries: 2}
    stop_grace_period: 1m30s
    hostname: "{{.Task.Name}}"
    depends_on: [db]
    deploy:
      replicas: 2
      labels: {grapevine.ttl: "3"}
      placement: {constraints: [node.hostname==n1], preferences: [{spread: node.labels.zone}], max_replicas_per_node: 5}
      resources: {reservations: {cpus: "0.01", memory: 8M}}
      restart_policy: {condition: on-failure, delay: 1s, max_attempts: 3, window: 10s}
      update_config: {order: start-first}
  db:
    <<: *task
    entrypoint: [env, node]
    networks: [back]
    deploy: {endpoint_mode: dnsrr}
  everywhere:
    <<: *task
    deploy: {mode: global}
networks:
  front: {internal: true, labels: {a: b}}
  back: {ipam: {config: [{subnet: 10.91.0.0/24}]}}
`

test('vine stack deploys what docker stack deploys, and each leaves alone what the other made', async () => {
  const docker = needs('docker')
  const { agents, dir } = await createCluster({ nodes: 1 })
  const [agent] = agents
  const path = join(dir, 'compose.yaml')
  writeFileSync(path, compose)

  const theirs = await runDocker(docker, agent, ['stack', 'deploy', '-c', path, 'shop'])
  expect(theirs.code, theirs.err).toBe(0)
  await runs([agent], 'shop_web', 2)
  await runs([agent], 'shop_db', 1)
  const made = await stored(agent)
  const tasks = await taskIds(agent)

  expect(await agent.ok('stack', 'deploy', '--detach=false', '--quiet', '-c', path, 'shop')).toContain(
    'Updating service shop_web',
  )
  expect(await stored(agent)).toEqual(made)
  expect(await taskIds(agent)).toEqual(tasks)

  const listed = await runDocker(docker, agent, ['stack', 'ls'])
  expect(await agent.ok('stack', 'ls')).toBe(listed.out.trimEnd())
  const rows = await runDocker(docker, agent, [
    'stack',
    'services',
    '--format',
    '{{.Name}} {{.Mode}} {{.Replicas}} {{.Image}}',
    'shop',
  ])
  expect(await agent.ok('stack', 'services', '--format', '{{.Name}} {{.Mode}} {{.Replicas}} {{.Image}}', 'shop')).toBe(
    rows.out.trimEnd(),
  )
  expect(await agent.ok('stack', 'ps', '--format', '{{.Name}} {{.Node}} {{.DesiredState}}', 'shop')).toContain(
    'shop_web.2 n1 Running',
  )
  const config = await runDocker(docker, agent, ['stack', 'config', '-c', path])
  expect(parse(await agent.ok('stack', 'config', '-c', path))).toEqual(parse(config.out))

  const removed = await agent.vine('stack', 'rm', 'shop')
  expect(removed, removed.err).toMatchObject({ code: 0 })
  expect(await stored(agent)).toEqual({ services: [], networks: [] })

  // The other way round: vine first, docker over it.
  await agent.ok('stack', 'deploy', '-c', path, 'shop')
  expect(await stored(agent)).toEqual(made)
  await runs([agent], 'shop_web', 2)
  await runs([agent], 'shop_db', 1)
  const ours = await taskIds(agent)
  const over = await runDocker(docker, agent, ['stack', 'deploy', '-c', path, 'shop'])
  expect(over.code, over.err).toBe(0)
  expect(await stored(agent)).toEqual(made)
  expect(await taskIds(agent)).toEqual(ours)
  const gone = await runDocker(docker, agent, ['stack', 'rm', 'shop'])
  expect(gone.code, gone.err).toBe(0)
  expect(await agent.vine('stack', 'ps', 'shop')).toMatchObject({ code: 1, out: '' })
})

/** What the agent keeps of the stack, with the names of networks for their ids. */
async function stored({ client }: Agent) {
  const filters = JSON.stringify({ label: ['com.docker.stack.namespace=shop'] })
  const services = await client.get<readonly { readonly Spec: { readonly Name: string } }[]>('/services', { filters })
  const networks = await client.get<readonly { readonly Id: string; readonly Name: string; readonly Labels: object }[]>(
    '/networks',
    { filters },
  )
  let text = JSON.stringify(services.map(({ Spec }) => Spec).toSorted((a, b) => (a.Name < b.Name ? -1 : 1)))
  for (const { Id, Name } of networks) text = text.replaceAll(Id, Name)
  return {
    services: JSON.parse(text),
    networks: networks
      .map(({ Id: _, ...rest }) => ({ ...rest, Created: '' }))
      .toSorted((a, b) => (a.Name < b.Name ? -1 : 1)),
  }
}

async function taskIds({ client }: Agent): Promise<readonly string[]> {
  const filters = JSON.stringify({ 'desired-state': ['running'] })
  return (await client.get<readonly { readonly ID: string }[]>('/tasks', { filters })).map(({ ID }) => ID).sort()
}

function runDocker(docker: string, { socket }: Agent, words: readonly string[]): Promise<Ran> {
  return new Promise((resolve) => {
    const env = { PATH: process.env.PATH ?? '', HOME: '/nonexistent', DOCKER_HOST: `unix://${socket}` }
    execFile(docker, [...words], { env, timeout: 30_000 }, (error, out, err) =>
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, out, err }),
    )
  })
}
