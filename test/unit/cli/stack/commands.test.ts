// What `vine stack …` asks an agent, in which order, and what it prints.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Answer, type FakeAgent, fakeAgent } from '../fake-agent.ts'
import { type Ran, vine } from '../vine.ts'

const label = 'com.docker.stack.namespace'
const service = (name: string, stack: string) => ({
  ID: `id-${name}`.padEnd(25, '0'),
  Version: { Index: 7 },
  Spec: {
    Name: name,
    Labels: { [label]: stack, 'com.docker.stack.image': 'node' },
    TaskTemplate: { ContainerSpec: { Image: 'node@sha256:1' }, ForceUpdate: 3 },
    Mode: { Replicated: { Replicas: 1 } },
  },
  ServiceStatus: { RunningTasks: 1, DesiredTasks: 1 },
})

/** Only what carries the label that was asked for. */
const labelled = (
  all: readonly { readonly labels: Readonly<Record<string, string>>; readonly body: object }[],
): Answer => {
  return ({ query }) => {
    const wanted: readonly string[] = JSON.parse(query.filters ?? '{}').label ?? []
    const has = (labels: Readonly<Record<string, string>>) =>
      wanted.every((text) => (text.includes('=') ? labels[label] === text.split('=')[1] : Object.hasOwn(labels, text)))
    return { status: 200, body: all.filter(({ labels }) => has(labels)).map(({ body }) => body) }
  }
}

const services = [service('shop_web', 'shop'), service('shop_old', 'shop'), service('other_web', 'other')]
let agent: FakeAgent
let folder = ''

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'vine-stack-'))
  agent = await fakeAgent({
    'GET /services': labelled(services.map((body) => ({ labels: body.Spec.Labels, body }))),
    'GET /networks': labelled([{ labels: { [label]: 'shop' }, body: { Id: 'net1', Name: 'shop_default' } }]),
    'POST /networks/create': { Id: 'new' },
    'POST /services/create': { ID: 'made' },
    'POST /secrets/create': () => ({ status: 501, body: { message: 'Grapevine does not support secrets yet' } }),
    [`POST /services/${services[0]?.ID}/update`]: { Warnings: ['look here'] },
    [`DELETE /services/${services[0]?.ID}`]: {},
    [`DELETE /services/${services[1]?.ID}`]: {},
    'DELETE /networks/net1': () => ({ status: 403, body: { message: 'network shop_default is in use' } }),
  })
})
afterEach(async () => {
  await agent.close()
  rmSync(folder, { recursive: true })
})

const stack = (...words: readonly string[]): Promise<Ran> => vine(['stack', ...words], { socket: agent.socket })
const writes = () => agent.asked.filter(({ method }) => method !== 'GET').map(({ method, path }) => `${method} ${path}`)
const file = (text: string) => {
  const path = join(folder, 'compose.yaml')
  writeFileSync(path, text)
  return path
}

test('deploy creates networks, then services, and tells each', async () => {
  expect(await stack('deploy', '-c', file('services: {b: {image: n}, a: {image: n}}'), 'new')).toEqual({
    code: 0,
    out: 'Creating network new_default\nCreating service new_a\nCreating service new_b\n',
    err: '',
  })
  expect(writes()).toEqual(['POST /networks/create', 'POST /services/create', 'POST /services/create'])
})

test('deploy updates what is there against the version that it read, and keeps forced updates', async () => {
  const { out, err } = await stack('deploy', '-c', file('services: {web: {image: node}}'), 'shop')
  expect(out).toBe(`Updating service shop_web (id: ${services[0]?.ID})\n`)
  expect(err).toBe('WARNING: look here\n')
  const { query, body } = agent.asked.at(-1) ?? {}
  expect(query).toEqual({ version: '7' })
  expect(body).toMatchObject({ TaskTemplate: { ContainerSpec: { Image: 'node:latest' }, ForceUpdate: 3 } })
})

test('an image that the file has not changed may stay', async () => {
  await stack('deploy', '--resolve-image', 'changed', '-c', file('services: {web: {image: node}}'), 'shop')
  expect(agent.asked.at(-1)?.body).toMatchObject({ TaskTemplate: { ContainerSpec: { Image: 'node@sha256:1' } } })
})

test('--prune removes services that the file does not name', async () => {
  const { err } = await stack('deploy', '--prune', '-c', file('services: {web: {image: node}}'), 'shop')
  expect(err).toContain('Removing service shop_old\n')
  expect(writes()).toEqual([`DELETE /services/${services[1]?.ID}`, `POST /services/${services[0]?.ID}/update`])
})

test('nothing is created of a file with a fault', async () => {
  const path = file('services: {a: {image: n}, b: {image: n, networks: [x]}}')
  expect(await stack('deploy', '-c', path, 'new')).toMatchObject({ code: 1, err: 'service b: undefined network "x"\n' })
  expect(agent.asked).toEqual([])
})

test('an external network that is not there is told before anything is created', async () => {
  const path = file('services: {a: {image: n, networks: [x, y]}}\nnetworks: {x: {external: true}, y: }')
  const { code, err } = await stack('deploy', '-c', path, 'new')
  expect(code).toBe(1)
  expect(err).toContain('network "x" is declared as external, but could not be found.')
  expect(writes()).toEqual([])
})

test('what the API refuses is told in its words', async () => {
  const path = file('services: {a: {image: n, secrets: [s]}}\nsecrets: {s: {file: compose.yaml}}')
  const { code, err } = await stack('deploy', '-c', path, 'new')
  expect([code, err]).toEqual([1, 'failed to create secret new_s: Grapevine does not support secrets yet\n'])
})

test('ignored keys are named as Docker names them', async () => {
  const { err } = await stack('deploy', '-c', file('services: {a: {image: n, build: ., container_name: x}}'), 'new')
  expect(err).toBe(
    'Ignoring unsupported options: build\n\nIgnoring deprecated options:\n\ncontainer_name: Setting the container name is not supported.\n\n',
  )
})

test.each([
  [['deploy', 'shop'], 'Specify a Compose file (with --compose-file)'],
  [['deploy', '-c', '/no/such', 'shop'], 'cannot read /no/such: ENOENT'],
  [['ps', 'nope'], 'nothing found in stack: nope'],
])('%j ends with 1: %s', async (words, sentence) => {
  const { code, err } = await stack(...words)
  expect(code).toBe(1)
  expect(err).toContain(sentence)
})

test('ls counts services, services lists those of one stack', async () => {
  expect((await stack('ls')).out).toBe('NAME      SERVICES\nother     1\nshop      2\n')
  expect((await stack('ls', '--format', '{{.Name}}')).out).toBe('other\nshop\n')
  expect((await stack('services', '--format', '{{.Name}} {{.Replicas}}', 'shop')).out).toBe(
    'shop_old 1/1\nshop_web 1/1\n',
  )
  expect(await stack('services', 'nope')).toEqual({ code: 0, out: '', err: 'Nothing found in stack: nope\n' })
})

test('rm removes services, then networks, goes on after a refusal, and ends with 1 then', async () => {
  expect(await stack('rm', 'nope', 'shop')).toEqual({
    code: 1,
    out: '',
    err: `Nothing found in stack: nope
Removing service shop_web
Removing service shop_old
Removing network shop_default
network shop_default is in use
Failed to remove some resources from stack: shop
`,
  })
})

test('config prints every file as one, with short forms written out, and asks nobody', async () => {
  const path = file('services: {web: {image: "${IMAGE:-n}", ports: ["80:81"], labels: {a: "yes", b: 1.0}}}')
  const asked = await vine(['stack', 'config', '-c', path], { socket: '/none', env: { IMAGE: 'y' } })
  expect(asked.out).toBe(`version: "3.13"
services:
  web:
    image: "y"
    labels:
      a: "yes"
      b: "1"
    ports:
      - mode: ingress
        target: 81
        published: 80
        protocol: tcp
`)
  const kept = await vine(['stack', 'config', '--skip-interpolation', '-c', path], { socket: '/none' })
  expect(kept.out).toContain('image: ${IMAGE:-n}')
})
