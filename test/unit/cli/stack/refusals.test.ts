// What is wrong in a Compose file is told with its file and line, in Docker's words; what has no effect is named.
import { expect, test } from 'vitest'
import { composed } from './compose.ts'

test.each([
  ['services:\n  web:\n    image: n\n    foo: 1', 'a.yaml:4: services.web Additional property foo is not allowed'],
  ['sevices: {}', 'a.yaml:1: (root) Additional property sevices is not allowed'],
  ['services:\n  "we b": {image: n}', 'a.yaml:2: services Additional property we b is not allowed'],
  ['services:\n  web:', 'a.yaml:2: services.web must be a mapping'],
  ['services: {web: {image: n, user: 10}}', 'a.yaml:1: services.web.user must be a string'],
  ['services: {web: {image: n, command: [sleep, 10]}}', 'services.web.command.1 must be a string'],
  ['services: {web: {image: n, command: 10}}', 'services.web.command must be a string or list'],
  ['services: {web: {image: n, command: "a \'b"}}', 'services.web.command EOF found when expecting closing quote'],
  ['services: {web: {image: n, tty: 1}}', 'services.web.tty must be a boolean'],
  ['services: {web: {image: n, ports: [x]}}', "services.web.ports.0 Does not match format 'ports'"],
  ['services: {web: {image: n, ports: ["1-2:3-5"]}}', "services.web.ports.0 Does not match format 'ports'"],
  ['services: {web: {image: n, ports: ["1-99999:80"]}}', "services.web.ports.0 Does not match format 'ports'"],
  ['services: {web: {image: n, ports: [{target: x}]}}', 'services.web.ports.0.target must be a integer'],
  [
    'services: {web: {image: n, ports: [{tarjet: 1}]}}',
    'services.web.ports.0 Additional property tarjet is not allowed',
  ],
  ['services: {web: {image: n, depends_on: {db: {}}}}', 'services.web.depends_on must be a list'],
  [
    'services: {web: {image: n, stop_grace_period: 5x}}',
    "services.web.stop_grace_period Does not match format 'duration'",
  ],
  [
    'services: {web: {image: n, environment: {A: true}}}',
    'services.web.environment.A must be a string, number or null',
  ],
  [
    'services:\n web:\n  image: n\n  deploy:\n   replicas: x',
    'a.yaml:5: services.web.deploy.replicas must be a integer',
  ],
  ['services: {web: {image: n, deploy: {resources: {limits: {memory: much}}}}}', "invalid size: 'much'"],
  ['services: {web: {image: n, deploy: {update_config: {order: odd}}}}', 'must be one of the following: "start-first"'],
  ['services: {web: {image: n, volumes: ["aa::b"]}}', 'invalid spec: aa::b: empty section between colons'],
  ['services: {web: {image: n, volumes: [{type: volume, at: /x}]}}', 'Additional property at is not allowed'],
  [
    'services: {web: {image: n, networks: {a: {alias: x}}}}',
    'services.web.networks.a Additional property alias is not allowed',
  ],
  [
    'services: {web: {image: n}}\nnetworks: {a: {ipam: {config: [{gateway: 10.0.0.1}]}}}',
    'Additional property gateway is not allowed',
  ],
  ['services: {web: {image: n}}\nnetworks: {a: {name: x, external: {name: y}}}', 'only use network.name'],
  [
    'services: {web: {image: n}}\nvolumes: {a: {external: true, driver: x}}',
    'conflicting parameters "external" and "driver" specified for volume "a"',
  ],
  ['version: "2.4"', 'a.yaml:1: unsupported Compose file version: 2.4'],
  ['version: 3.8', 'a.yaml:1: version must be a string'],
  ['- a', 'a.yaml: top-level object must be a mapping'],
  ['a: [\nb: c', 'a.yaml:2: '],
  ['a: 1\na: 2', 'a.yaml:2: Map keys must be unique'],
  ['services: {web: {image: n, mem_limit: 1m}}', 'a.yaml:1: mem_limit: Set resource limits using deploy.resources'],
  ['services: {web: {extends: {service: x}}}', 'Compose file contains unsupported options:'],
])('%j: %s', (text, sentence) => {
  expect(() => composed([text])).toThrow(sentence)
})

test('the file that holds the fault is the one that is named', () => {
  expect(() => composed(['services: {web: {image: n}}', 'services:\n  web:\n    imag: n'])).toThrow('b.yaml:3: ')
})

test('keys without an effect are named once each, sorted', () => {
  const text = `services:
  web: {image: n, privileged: true, build: ., ports: ["127.0.0.1:80:80"], networks: {a: {ipv4_address: 10.0.0.9}}}
  db: {image: n, build: ., tmpfs: /x, container_name: y, expose: [80], depends_on: [web], restart: always}
networks: {a: }`
  expect(composed([text]).ignored).toEqual({
    unsupported: [
      'build',
      'depends_on',
      'networks.ipv4_address',
      'ports (the address before a port)',
      'privileged',
      'tmpfs',
    ],
    deprecated: [
      'container_name: Setting the container name is not supported.',
      "expose: Exposing ports is unnecessary - services on the same network can access each other's containers on any port.",
    ],
  })
})

test("keys that begin with x- are the user's own, and anchors may be merged", () => {
  const text = 'x-base: &base {image: n, tty: true}\nservices: {web: {<<: *base, x-mine: 1}}\nnetworks: {a: {x-b: 2}}'
  expect(composed([text]).compose.services?.web).toEqual({ image: 'n', tty: true, 'x-mine': 1 })
})
