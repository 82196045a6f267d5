// From flags to what the agent is asked for.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parsePublish } from '../../../agent/cli/service/publish.ts'
import { parseBytes, parseEnvFile, parseNetwork, splitCommand } from '../../../agent/cli/service/words.ts'
import { serviceSpecSchema } from '../../../protocol/spec.ts'
import { lists, web } from './cluster.ts'
import { type FakeAgent, fakeAgent } from './fake-agent.ts'
import { vine } from './vine.ts'

let agent: FakeAgent
beforeEach(async () => {
  agent = await fakeAgent({
    ...lists,
    'POST /services/create': () => ({ status: 201, body: { ID: web.ID } }),
    [`POST /services/${web.ID}/update`]: () => ({ status: 200, body: { Warnings: null } }),
    'GET /networks/backend': lists['GET /networks'][0] ?? {},
    'POST /networks/create': () => ({ status: 201, body: { Id: 'netnew' } }),
    'GET /nodes/self': lists['GET /nodes'][1] ?? {},
    [`POST /nodes/${lists['GET /nodes'][1]?.ID}/update`]: () => ({ status: 200 }),
  })
})
afterEach(() => agent.close())

/** The body of the one write that a command made, and its query. */
async function written(...words: readonly string[]) {
  const { code, err } = await vine(words, { socket: agent.socket, env: { HERE: 'from here' } })
  expect({ code, err }).toEqual({ code: 0, err: '' })
  const writes = agent.asked.filter(({ method }) => method === 'POST')
  expect(writes).toHaveLength(1)
  return { body: writes[0]?.body, query: writes[0]?.query }
}

describe('service create', () => {
  test('says nothing that was not asked for', async () => {
    expect((await written('service', 'create', '--detach', 'node')).body).toEqual({
      Name: '',
      Labels: {},
      TaskTemplate: { ContainerSpec: { Image: 'node' } },
      Mode: { Replicated: { Replicas: 1 } },
      EndpointSpec: { Mode: 'vip', Ports: [] },
    })
  })

  test('flags end at the image: the rest belongs to the program', async () => {
    const { body } = await written(
      'service',
      'create',
      '--detach=true',
      '--name',
      'p',
      'busybox',
      'ping',
      '-c',
      '3',
      '--detach=true',
      '--name',
      'x',
    )
    expect(body).toMatchObject({
      Name: 'p',
      TaskTemplate: { ContainerSpec: { Image: 'busybox', Args: ['ping', '-c', '3', '--detach=true', '--name', 'x'] } },
    })
  })

  test('takes every flag', async () => {
    const { body } = await written(
      ...[
        'service',
        'create',
        '-d',
        '--name',
        'all',
        '--replicas=4',
        '-l',
        'a=b',
        '-l',
        'bare',
        '--container-label',
        'c=d',
      ],
      ...[
        '-e',
        'X=1',
        '-e',
        'HERE',
        '-e',
        'NOT_HERE',
        '--env',
        'Y=a=b',
        '-w',
        '/srv',
        '-u',
        'app',
        '--entrypoint',
        'sh -c',
      ],
      ...[
        '--network',
        'backend',
        '--network',
        'name=front,alias=www',
        '--constraint',
        'node.labels.zone==a',
        '--placement-pref',
        'spread=node.labels.zone',
      ],
      ...[
        '--replicas-max-per-node',
        '2',
        '--reserve-cpu',
        '0.5',
        '--reserve-memory',
        '64m',
        '--restart-condition',
        'on-failure',
      ],
      ...[
        '--restart-delay',
        '1m30s',
        '--restart-max-attempts',
        '3',
        '--restart-window',
        '10s',
        '--stop-signal',
        'SIGINT',
        '--stop-grace-period',
        '500ms',
      ],
      ...[
        '--health-cmd',
        'true',
        '--health-interval',
        '2s',
        '--health-retries',
        '4',
        '--endpoint-mode',
        'dnsrr',
        '--update-order',
        'start-first',
      ],
      ...['--hostname', '{{.Task.Name}}', '-p', 'published=53,target=5353,protocol=udp,mode=host', 'node'],
    )
    expect(serviceSpecSchema.safeParse(body).success).toBe(true)
    expect(body).toEqual({
      Name: 'all',
      Labels: { a: 'b', bare: '' },
      TaskTemplate: {
        ContainerSpec: {
          Image: 'node',
          Labels: { c: 'd' },
          Command: ['sh', '-c'],
          Hostname: '{{.Task.Name}}',
          Env: ['X=1', 'HERE=from here', 'Y=a=b'],
          Dir: '/srv',
          User: 'app',
          StopSignal: 'SIGINT',
          StopGracePeriod: 500_000_000,
          Healthcheck: { Test: ['CMD-SHELL', 'true'], Interval: 2_000_000_000, Retries: 4 },
        },
        Resources: { Reservations: { NanoCPUs: 500_000_000, MemoryBytes: 67_108_864 } },
        RestartPolicy: { Condition: 'on-failure', Delay: 90_000_000_000, MaxAttempts: 3, Window: 10_000_000_000 },
        Placement: {
          Constraints: ['node.labels.zone==a'],
          Preferences: [{ Spread: { SpreadDescriptor: 'node.labels.zone' } }],
          MaxReplicas: 2,
        },
        Networks: [{ Target: 'backend' }, { Target: 'front', Aliases: ['www'] }],
      },
      Mode: { Replicated: { Replicas: 4 } },
      UpdateConfig: { Parallelism: 1, Order: 'start-first' },
      EndpointSpec: {
        Mode: 'dnsrr',
        Ports: [{ Protocol: 'udp', TargetPort: 5353, PublishedPort: 53, PublishMode: 'host' }],
      },
    })
  })

  test('--env wins over --env-file', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'vine-env-'))
    const path = join(directory, 'env')
    writeFileSync(path, '# comment\nA=file\n\nB=file\nHERE\n')
    try {
      const { body } = await written('service', 'create', '-d', '--env-file', path, '-e', 'A=flag', 'node')
      expect(body).toMatchObject({ TaskTemplate: { ContainerSpec: { Env: ['A=flag', 'B=file', 'HERE=from here'] } } })
    } finally {
      rmSync(directory, { recursive: true })
    }
  })
})

describe('service update', () => {
  test('is written against the version that was read, and leaves what no flag names', async () => {
    const { body, query } = await written('service', 'update', '-d', '--env-add', 'C=3', 'web')
    expect(query).toEqual({ version: String(web.Version.Index) })
    expect(body).toEqual({
      ...web.Spec,
      TaskTemplate: { ContainerSpec: { ...web.Spec.TaskTemplate.ContainerSpec, Env: ['A=1', 'B=2', 'C=3'] } },
    })
  })

  test('adds and removes in one go', async () => {
    const { body } = await written(
      ...['service', 'update', '-d', '--env-rm', 'A', '--env-add', 'B=new', '--label-rm', 'tier', '--label-add', 'x=y'],
      ...[
        '--publish-rm',
        '80',
        '--publish-add',
        '9090:80',
        '--network-add',
        'name=backend,alias=db',
        '--constraint-add',
        'node.ip==192.0.2.1',
      ],
      ...['--image', 'deno', '--args', "run 'my file.ts'", '--replicas', '5', '--force', 'web'],
    )
    expect(body).toEqual({
      ...web.Spec,
      Labels: { x: 'y' },
      TaskTemplate: {
        ContainerSpec: { Image: 'deno', Args: ['run', 'my file.ts'], Env: ['B=new'] },
        Placement: { Constraints: ['node.ip==192.0.2.1'] },
        Networks: [{ Target: lists['GET /networks'][0]?.Id, Aliases: ['db'] }],
        ForceUpdate: 1,
      },
      Mode: { Replicated: { Replicas: 5 } },
      EndpointSpec: {
        Mode: 'vip',
        Ports: [{ Protocol: 'tcp', TargetPort: 80, PublishedPort: 9090, PublishMode: 'ingress' }],
      },
    })
  })

  test('a port that is published again takes the place of the old one', async () => {
    const { body } = await written('service', 'update', '-d', '--publish-add', '8080:81', 'web')
    expect(body).toMatchObject({
      EndpointSpec: { Ports: [{ Protocol: 'tcp', TargetPort: 81, PublishedPort: 8080, PublishMode: 'ingress' }] },
    })
    expect((body as typeof web.Spec).EndpointSpec?.Ports).toHaveLength(1)
  })

  test.each([
    ['--publish-add', 'foo'],
    ['--publish-add', 'target=80,colour=red'],
    ['--publish-rm', 'foo'],
    ['--publish-rm', '80/icmp'],
    ['--network-add', 'name=backend,colour=red'],
    ['--network-add', 'alias=db'],
    ['--placement-pref-add', 'zone'],
    ['--placement-pref-rm', 'zone'],
    ['--env-add', '=x'],
    ['--label-add', '=x'],
    ['--container-label-add', '=x'],
  ])('an error of %s %s names that flag', async (flag, value) => {
    const { code, err } = await vine(['service', 'update', '-d', flag, value, 'web'], { socket: agent.socket })
    expect(code).toBe(125)
    expect(err.split('\n')[0]).toMatch(new RegExp(`(^|\\s)${flag}(?![\\w-])`))
  })

  test('scale changes the count and nothing else', async () => {
    const { body } = await written('service', 'scale', '-d', 'web=7')
    expect(body).toEqual({ ...web.Spec, Mode: { Replicated: { Replicas: 7 } } })
  })
})

describe('networks and nodes', () => {
  test('network create puts range, gateway and spare addresses to their subnet', async () => {
    const { body } = await written(
      ...[
        'network',
        'create',
        '--internal',
        '--subnet',
        '10.7.0.0/16',
        '--gateway',
        '10.7.0.1',
        '--ip-range',
        '10.7.1.0/24',
      ],
      ...['--aux-address', 'printer=10.7.0.9', '--label', 'a=b', '--opt', 'encrypted', 'vault'],
    )
    expect(body).toEqual({
      Name: 'vault',
      Driver: 'overlay',
      Attachable: false,
      Internal: true,
      EnableIPv6: false,
      IPAM: {
        Driver: 'default',
        Config: [
          {
            Subnet: '10.7.0.0/16',
            Gateway: '10.7.0.1',
            IPRange: '10.7.1.0/24',
            AuxiliaryAddresses: { printer: '10.7.0.9' },
          },
        ],
      },
      Options: { encrypted: '' },
      Labels: { a: 'b' },
    })
  })

  test('network create sorts subnets, gateways and spare addresses by their kind, in whatever order they are given', async () => {
    const { body } = await written(
      ...['network', 'create', '--ipv6', '--subnet', 'fd07::/64', '--subnet', '10.7.0.0/16', '--gateway', '10.7.0.9'],
      ...['--aux-address', 'printer=fd07::9', '--gateway', 'fd07::1:1', 'dual'],
    )
    expect(body).toMatchObject({
      EnableIPv6: true,
      IPAM: {
        Config: [
          { Subnet: 'fd07::/64', Gateway: 'fd07::1:1', AuxiliaryAddresses: { printer: 'fd07::9' } },
          { Subnet: '10.7.0.0/16', Gateway: '10.7.0.9' },
        ],
      },
    })
  })

  test('node update keeps what it does not name', async () => {
    const { body } = await written('node', 'update', '--availability', 'drain', '--label-add', 'zone=a', 'self')
    expect(body).toEqual({ Availability: 'drain', Role: 'manager', Labels: { zone: 'a' } })
  })
})

describe('the small languages in flags', () => {
  test.each([
    ['80', [{ Protocol: 'tcp', TargetPort: 80, PublishMode: 'ingress' }]],
    ['8080:80/UDP', [{ Protocol: 'udp', TargetPort: 80, PublishedPort: 8080, PublishMode: 'ingress' }]],
    ['target=80', [{ Protocol: 'tcp', TargetPort: 80, PublishMode: 'ingress' }]],
  ])('--publish %s', (text, ports) => {
    expect(parsePublish(text)).toEqual(ports)
  })

  test('a published range is paired with its targets', () => {
    expect(parsePublish('8080-8082:80-82').map((p) => [p.PublishedPort, p.TargetPort])).toEqual([
      [8080, 80],
      [8081, 81],
      [8082, 82],
    ])
  })

  test.each([
    '',
    ':',
    '0:80',
    '80:70000',
    '1-3:1-2',
    '3-1:3-1',
    '1.2.3.4:80:80',
    '80/icmp',
    'published=80',
    'target=80,mode=x',
    'target=80,x=y',
    '80/tcp/udp',
  ])('--publish "%s" is refused with a fix', (text) => {
    expect(() => parsePublish(text)).toThrow(expect.objectContaining({ fix: expect.any(String) }))
  })

  test('command lines are split as a shell splits them', () => {
    expect(splitCommand(`a 'b c' "d \\"e" f\\ g '' "x"y`, '--args')).toEqual(['a', 'b c', 'd "e', 'f g', '', 'xy'])
    expect(() => splitCommand("'open", '--args')).toThrow('not closed')
  })

  test('memory is counted in 1024s', () => {
    expect(['4096', '64m', '1.5g', '2GiB', '1kb'].map((text) => parseBytes(text, '--x'))).toEqual([
      4096, 67_108_864, 1_610_612_736, 2_147_483_648, 1024,
    ])
    expect(() => parseBytes('much', '--x')).toThrow('much')
  })

  test('networks may carry aliases', () => {
    expect(parseNetwork('name=b,alias=x,alias=y,driver-opt=k=v')).toEqual({
      Target: 'b',
      Aliases: ['x', 'y'],
      DriverOpts: { k: 'v' },
    })
    expect(() => parseNetwork('alias=x')).toThrow('names no network')
  })

  test('a name with a blank in an environment file is refused with the path', () => {
    expect(() => parseEnvFile('my name=1', {}, '/etc/env')).toThrow('/etc/env')
  })
})
