// What a Compose file asks the API for. The bodies were recorded from `docker stack deploy` 28.2.2 for the same files.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { networkSpecSchema, serviceSpecSchema } from '../../../../protocol/spec.ts'
import { composed, converted, specOf } from './compose.ts'

const recorded = (file: string) => readFileSync(join(import.meta.dirname, file), 'utf8')

test('a file with every key asks for what docker asks for', () => {
  const { services, create, external } = converted([recorded('every-key.yaml')])
  const wanted = JSON.parse(recorded('every-key.json'))
  expect(services).toEqual(wanted.services)
  expect(create).toEqual(wanted.networks)
  expect(external).toEqual(['others'])
  for (const service of services) expect(serviceSpecSchema.safeParse(service).success).toBe(true)
  for (const network of create) expect(networkSpecSchema.safeParse(network).success).toBe(true)
})

test.each([
  ['ports: [80]', [{ Protocol: 'tcp', TargetPort: 80, PublishMode: 'ingress' }]],
  ['ports: ["8080:80/udp"]', [{ Protocol: 'udp', TargetPort: 80, PublishedPort: 8080, PublishMode: 'ingress' }]],
  ['ports: ["[::1]:8080:80"]', [{ Protocol: 'tcp', TargetPort: 80, PublishedPort: 8080, PublishMode: 'ingress' }]],
  ['ports: [{target: 80, published: "81", mode: host}]', [{ TargetPort: 80, PublishedPort: 81, PublishMode: 'host' }]],
  [
    'ports: ["81-82:80", "70:70"]',
    [
      { Protocol: 'tcp', TargetPort: 70, PublishedPort: 70, PublishMode: 'ingress' },
      { Protocol: 'tcp', TargetPort: 80, PublishedPort: 81, PublishMode: 'ingress' },
      { Protocol: 'tcp', TargetPort: 80, PublishedPort: 82, PublishMode: 'ingress' },
    ],
  ],
])('%s', (service, ports) => {
  expect(specOf(service).EndpointSpec?.Ports).toEqual(ports)
})

test.each([
  ['image: docker.io/library/redis', 'redis:latest'],
  ['image: registry:5000/a/b', 'registry:5000/a/b:latest'],
  ['image: a@sha256:0', 'a@sha256:0'],
  ['image: "a:1"', 'a:1'],
])('%s runs %s', (image, wanted) => {
  const [spec] = converted([`services: {web: {${image}}}`]).services
  expect(spec?.TaskTemplate.ContainerSpec.Image).toBe(wanted)
})

test.each([
  ['restart: always', { Condition: 'any' }],
  ['restart: unless-stopped', { Condition: 'any' }],
  ['restart: "on-failure:3"', { Condition: 'on-failure', MaxAttempts: 3 }],
  ['restart: "no"', undefined],
  ['restart: always, deploy: {restart_policy: {condition: none}}', { Condition: 'none' }],
])('%s', (service, policy) => {
  expect(specOf(service).TaskTemplate.RestartPolicy).toEqual(policy)
})

test.each([
  ['deploy: {mode: global}', { Global: {} }],
  ['deploy: {replicas: 0}', { Replicated: { Replicas: 0 } }],
  ['deploy: {mode: global-job}', { GlobalJob: {} }],
  ['deploy: {mode: replicated-job, replicas: 2}', { ReplicatedJob: { MaxConcurrent: 2, TotalCompletions: 2 } }],
  ['deploy: ', { Replicated: {} }],
])('%s', (service, mode) => {
  expect(specOf(service).Mode).toEqual(mode)
})

test.each([
  ['cap_add: [net_admin, CAP_CHOWN], cap_drop: [NET_ADMIN, kill]', ['CAP_CHOWN', 'CAP_NET_ADMIN'], ['CAP_KILL']],
  ['cap_add: [net_admin, all]', ['ALL'], undefined],
])('%s', (service, add, drop) => {
  const container = specOf(service).TaskTemplate.ContainerSpec
  expect([container.CapabilityAdd, container.CapabilityDrop]).toEqual([add, drop])
})

test('variables come from files, then from the file, and a bare name from the environment', () => {
  const { Env } = specOf('environment: [A=1, B, C, D=], env_file: [one.env, /two.env]', '', {
    env: { B: 'here', D: 'here too', F: 'from here' },
    files: { '/stack/one.env': 'A=0\nE=5\nF\n', '/two.env': 'E=6 7\n# no' },
  }).TaskTemplate.ContainerSpec
  expect(Env).toEqual(['A=1', 'B=here', 'C', 'D=here too', 'E=6 7', 'F=from here'])
})

test('secrets and configs are asked for by name, for the API to answer', () => {
  const { Secrets, Configs } = specOf(
    'secrets: [s], configs: [{source: c, target: /etc/c, mode: 0400}]',
    'secrets: {s: {file: ./s}}\nconfigs: {c: {external: true, name: shared}}',
  ).TaskTemplate.ContainerSpec
  expect(Secrets).toEqual([{ File: { Name: 's', UID: '0', GID: '0', Mode: 0o444 }, SecretName: 's_s' }])
  expect(Configs).toEqual([{ File: { Name: '/etc/c', UID: '0', GID: '0', Mode: 0o400 }, ConfigName: 'shared' }])
})

test.each([
  ['networks: [back]', 'service web: undefined network "back"'],
  ['volumes: ["data:/x"]', 'service web: undefined volume "data"'],
  ['secrets: [s]', 'service web: undefined secret "s"'],
  ['image: ""', 'invalid image reference for service web: no image specified'],
  ['deploy: {mode: global, replicas: 2}', 'replicas can only be used with replicated or replicated-job mode'],
  ['deploy: {mode: odd}', 'unknown mode: odd'],
  ['restart: sometimes', "invalid restart policy: 'sometimes'"],
  ['healthcheck: {test: x, disable: true}', "test and disable can't be set at the same time"],
  ['volumes: [{type: tmpfs, source: x, target: /y}]', 'invalid tmpfs source, source must be empty'],
  ['volumes: [{type: bind, target: /y}]', 'invalid bind source, source cannot be empty'],
  [
    'volumes: [{type: bind, source: /x, target: /y, volume: {nocopy: true}}]',
    'volume options are incompatible with type bind',
  ],
  ['volumes: [{type: disk, target: /y}]', 'volume type must be volume, bind, tmpfs, npipe, or cluster'],
])('%s: %s', (service, sentence) => {
  const image = service.startsWith('image') ? '' : 'image: node, '
  expect(() => converted([`services: {web: {${image}${service}}}`])).toThrow(sentence)
})

test('an external network is looked for by its name, and none of every machine', () => {
  const text = `services: {web: {image: node, networks: [a, b, c, host]}}
networks: {a: {external: true}, b: {external: true, name: bee}, c: {external: {name: sea}}, host: {external: true}}`
  expect(converted([text])).toMatchObject({ create: [], external: ['a', 'bee', 'sea'] })
  const host = converted([text]).services[0]?.TaskTemplate.Networks?.find(({ Target }) => Target === 'host')
  expect(host).toEqual({ Target: 'host' })
})

test('a network that no service joins is not made', () => {
  const { create } = converted(['services: {web: {image: node, networks: [a]}}\nnetworks: {a: , b: }'])
  expect(create.map(({ Name }) => Name)).toEqual(['s_a'])
})

test('a later file is laid over an earlier one', () => {
  const [first, later] = recorded('merged.yaml').split('---\n')
  expect(composed([first ?? '', later ?? '']).compose).toEqual(
    // Recorded from `docker stack config`, but for what merge.ts says of health checks, and for truths that are denied.
    JSON.parse(recorded('merged.json')),
  )
})
