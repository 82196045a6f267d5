// Flags that only containers have, where vine goes its own way: what it says, and what it leaves alone. That it asks for what Docker's client asks
// for, test/e2e/docker-flags.test.ts shows with that client.
import { afterEach, beforeEach, expect, test } from 'vitest'
import { changeCapabilities } from '../../../agent/cli/service/capabilities.ts'
import { removeHosts } from '../../../agent/cli/service/container-words.ts'
import { parseMount } from '../../../agent/cli/service/mount.ts'
import { parseBytes, parseCpus } from '../../../agent/cli/service/words.ts'
import type { ServiceSpec } from '../../../protocol/spec.ts'
import { lists, web } from './cluster.ts'
import { type FakeAgent, fakeAgent } from './fake-agent.ts'
import { vine } from './vine.ts'

const asked: ServiceSpec = {
  ...web.Spec,
  TaskTemplate: {
    ContainerSpec: {
      Image: 'redis',
      Init: true,
      Mounts: [
        { Type: 'volume', Source: 'z', Target: '/z' },
        { Type: 'volume', Source: 'a', Target: '/a', Later: true },
      ],
      Ulimits: [
        { Name: 'nofile', Soft: 1, Hard: 2, Later: true },
        { Name: 'core', Soft: 0, Hard: 0 },
      ],
      DNSConfig: { Nameservers: ['192.0.2.1'], Search: ['b.com'] },
    },
    Resources: { Limits: { MemoryBytes: 99_999_999, Later: 1 }, Reservations: { NanoCPUs: 1 } },
  },
}

let agent: FakeAgent
beforeEach(async () => {
  agent = await fakeAgent({
    ...lists,
    'GET /services/web': { ...web, Spec: asked },
    'POST /services/create': () => ({ status: 201, body: { ID: web.ID } }),
    [`POST /services/${web.ID}/update`]: () => ({ status: 200, body: { Warnings: null } }),
  })
})
afterEach(() => agent.close())

/** The task template of the one write that a command made. */
async function template(...words: readonly string[]) {
  const { code, err } = await vine(words, { socket: agent.socket })
  expect({ code, err }).toEqual({ code: 0, err: '' })
  const specs = agent.asked.filter(({ method }) => method === 'POST').map(({ body }) => body as ServiceSpec)
  const [spec, ...more] = specs
  if (spec === undefined || more.length > 0) throw new Error(`${specs.length} writes`)
  return spec.TaskTemplate
}

test('service create asks for what flags say and for nothing else', async () => {
  const flags = [
    ...['--mount', 'type=bind,src=data,dst=/b', '--mount', 'type=tmpfs,dst=/t,tmpfs-mode=1777', '--cap-drop', 'all'],
    ...['--limit-memory', '64m', '--init=false', '--read-only', '--host', 'db:192.0.2.1', '--log-driver', 'none'],
  ]
  expect(await template('service', 'create', '-d', ...flags, 'redis')).toEqual({
    ContainerSpec: {
      Image: 'redis',
      Mounts: [
        { Type: 'bind', Source: 'data', Target: '/b' },
        { Type: 'tmpfs', Target: '/t', TmpfsOptions: { Mode: 0o1777 } },
      ],
      CapabilityDrop: ['ALL'],
      Init: false,
      ReadOnly: true,
      Hosts: ['192.0.2.1 db'],
    },
    Resources: { Limits: { MemoryBytes: 67_108_864 } },
    LogDriver: { Name: 'none' },
  })
})

test('service update leaves order and unknown fields of what no flag names', async () => {
  expect(await template('service', 'update', '-d', '--tty', 'web')).toEqual({
    ...asked.TaskTemplate,
    ContainerSpec: { ...asked.TaskTemplate.ContainerSpec, TTY: true },
  })
})

test('service update changes one of several and keeps unknown fields of the others', async () => {
  const flags = ['--mount-rm', '/z', '--ulimit-add', 'core=5', '--dns-search-add', 'a.com', '--limit-pids', '7']
  const { ContainerSpec, Resources } = await template('service', 'update', '-d', ...flags, '--init=false', 'web')
  expect(ContainerSpec).toEqual({
    Image: 'redis',
    Init: false,
    Mounts: [{ Type: 'volume', Source: 'a', Target: '/a', Later: true }],
    Ulimits: [
      { Name: 'core', Soft: 5, Hard: 5 },
      { Name: 'nofile', Soft: 1, Hard: 2, Later: true },
    ],
    DNSConfig: { Nameservers: ['192.0.2.1'], Search: ['a.com', 'b.com'], Options: [] },
  })
  expect(Resources).toEqual({
    Limits: { MemoryBytes: 99_999_999, Pids: 7, Later: 1 },
    Reservations: { NanoCPUs: 1 },
  })
})

test.each([
  ['--mount', 'type=bind', 'invalid value "type=bind" for --mount: target is required'],
  ['--mount', 'dst=/b,foo', 'invalid value "dst=/b,foo" for --mount: invalid field \'foo\' must be a key=value pair'],
  ['--mount', 'dst=/b,a=1', "invalid value \"dst=/b,a=1\" for --mount: unexpected key 'a' in 'a=1'"],
  ['--mount', 'dst=/b,__proto__=1', /unexpected key '__proto__'/],
  ['--mount', 'dst=/b,ro=maybe', 'invalid value "dst=/b,ro=maybe" for --mount: invalid value for ro: maybe'],
  ['--mount', 'dst=/b,tmpfs-size=1', /cannot mix 'tmpfs-\*' options with mount type 'volume'/],
  ['--mount', 'type=tmpfs,dst=/b,tmpfs-size=x', 'invalid amount "x" for --mount tmpfs-size'],
  ['--mount', 'type=bind,src=/a,dst=/b,ro,bind-recursive=readonly', /requires 'bind-propagation=rprivate'/],
  ['--ulimit', 'files=5', /invalid ulimit type: files; there are core, cpu, /],
  ['--ulimit', 'nofile=5:4', /ulimit soft limit must be less than or equal to hard limit: 5 > 4/],
  ['--ulimit', 'nofile=010', /"010" is no whole number/],
  ['--host', 'a:x', 'invalid value "a:x" for --host: invalid IP address "x"'],
  ['--host', 'a:host-gateway', /no such gateway on every node/],
  ['--dns-search', '-a.b', 'invalid value "-a.b" for --dns-search: it is not a valid domain'],
  ['--oom-score-adj', '-2000', 'invalid value "-2000" for --oom-score-adj'],
  ['--limit-cpu', '1/3', 'invalid number "1/3" for --limit-cpu: value is too precise'],
  ['--log-opt', 'a=b', '--log-opt goes with --log-driver'],
  ['--sysctl', '=1', 'invalid value "=1" for --sysctl: the key is empty'],
  ['--init=maybe', '-d', 'invalid value "maybe" for --init'],
] as const)('%s %s is refused with a sentence and a fix, and nothing is sent', async (flag, value, sentence) => {
  const { code, out, err } = await vine(['service', 'create', '-d', flag, value, 'redis'], { socket: agent.socket })
  const [first = '', fix = ''] = err.split('\n')
  expect([code, out, agent.asked]).toEqual([125, '', []])
  if (typeof sentence === 'string') expect(first).toBe(sentence)
  else expect(first).toMatch(sentence)
  expect(fix).not.toBe('')
})

test.each([
  ['--dns', '192.0.2.1', /^--dns is not supported: each task asks its own resolver.*--upstream-dns/],
  ['--credential-spec', 'file://x', /^--credential-spec is not supported: it is of Windows/],
  ['--isolation', 'hyperv', /^--isolation hyperv is not supported: it is of Windows/],
  ['--memory-swap', '1g', /^--memory-swap is not supported: .*--limit-memory/],
  ['--secret', 's', /^--secret is not supported: there are none yet/],
])('%s stays refused with the reason', async (flag, value, sentence) => {
  const { code, err } = await vine(['service', 'create', '-d', flag, value, 'redis'], { socket: agent.socket })
  expect([code, err.split('\n')[0]]).toEqual([125, expect.stringMatching(sentence)])
})

test('two mounts that an update adds at one target are refused', async () => {
  const { code, err } = await vine(
    ['service', 'update', '-d', '--mount-add', 'dst=/c', '--mount-add', 'type=tmpfs,dst=/c', 'web'],
    { socket: agent.socket },
  )
  expect([code, err.split('\n')[0]]).toEqual([125, 'duplicate mount target /c for --mount-add'])
})

test('help shows them under a heading of their own, with an example', async () => {
  const { out } = await vine(['service', 'create', '--help'])
  const [before = '', after = ''] = out.split('Only for containers, on nodes with Docker:')
  for (const flag of ['--mount <mount>', '--limit-memory', '-t, --tty']) {
    expect(before).not.toContain(flag)
    expect(after).toContain(flag)
  }
  expect(after).toMatch(/Examples:[\s\S]* --mount type=volume,/)
  expect(out).not.toContain('--no-tty')
})

test("inspect --pretty shows what only containers have in Docker's lines", async () => {
  await agent.close()
  const TaskTemplate = {
    ContainerSpec: {
      Image: 'redis',
      CapabilityAdd: ['CAP_A', 'CAP_B'],
      CapabilityDrop: ['ALL'],
      Sysctls: { b: '', a: '1' },
      Ulimits: [{ Name: 'nofile', Soft: 1, Hard: 2 }],
      Mounts: [{ Type: 'tmpfs', Target: '/t' }],
    },
    Resources: { Limits: { NanoCPUs: 5e8, MemoryBytes: 67_108_864, Pids: 9 }, Reservations: { NanoCPUs: 1e9 } },
    LogDriver: { Name: 'json-file', Options: { 'max-size': '1m' } },
  }
  agent = await fakeAgent({ ...lists, 'GET /services/web': { ...web, Spec: { ...web.Spec, TaskTemplate } } })
  const { out } = await vine(['service', 'inspect', '--pretty', 'web'], { socket: agent.socket })
  expect(out).toContain(
    '\nCapabilities:\n Add: CAP_A, CAP_B\n Drop: ALL\nSysCtls:\n a: 1\n b\nUlimits:\n nofile: 1:2\nMounts:\n Target:\t/t\n  Source:\t\n  ReadOnly:\tfalse\n  Type:\t\ttmpfs\nLog Driver:\n Name:\t\tjson-file\n LogOpts:\n  max-size:       1m\n\nResources:\n Reservations:\n  CPU:\t\t1\n Limits:\n  CPU:\t\t0.5\n  Memory:\t64MiB\n  PIDs:\t\t9\nEndpoint Mode:',
  )
})

test('the shell completes them', async () => {
  const { out } = await vine(['__complete', '--', 'service', 'update', '--mount-'], { socket: agent.socket })
  expect(out.split('\n').map((line) => line.split('\t')[0])).toEqual(['--mount-add', '--mount-rm', ''])
})

test('a mount starts where the client is', () => {
  const sourceOf = (text: string) => parseMount({ text, flag: '--mount', directory: '/home/me' }).Source
  expect(['.', './data', '../other', '.cache/', '/abs', 'name', '~/x'].map((s) => sourceOf(`dst=/b,src=${s}`))).toEqual(
    ['/home/me', '/home/me/data', '/home/other', '/home/me/.cache', '/abs', 'name', '~/x'],
  )
})

test('fields of a mount may be quoted', () => {
  expect(parseMount({ text: '"dst=/b,c","src=a ""b"""', flag: '--mount', directory: '/' })).toEqual({
    Type: 'volume',
    Source: 'a "b"',
    Target: '/b,c',
  })
})

test('dropping takes back what was added, and adding what was dropped', () => {
  const before = { add: ['CAP_CHOWN'], drop: ['CAP_KILL'] }
  const change = (add: readonly string[], drop: readonly string[]) => {
    const { CapabilityAdd, CapabilityDrop } = changeCapabilities(before, { add, drop })
    return [CapabilityAdd, CapabilityDrop]
  }
  expect(change([], ['chown'])).toEqual([[], ['CAP_KILL']])
  expect(change(['kill'], [])).toEqual([['CAP_CHOWN'], []])
  expect(change(['reset'], ['reset'])).toEqual([[], []])
  expect(change(['all'], ['net_raw'])).toEqual([['ALL'], ['CAP_KILL', 'CAP_NET_RAW']])
})

test('a host is removed by its name, at one address or at all', () => {
  const lines = ['192.0.2.1 a', '192.0.2.2 a b']
  expect(removeHosts(lines, ['a'])).toEqual(['192.0.2.2 b'])
  expect(removeHosts(lines, ['a:192.0.2.2', 'c'])).toEqual(['192.0.2.1 a', '192.0.2.2 b'])
})

test('CPUs are counted in billionths without a rounding', () => {
  expect(['0.1', '1/4', '1e-3', '2.', '+3', '12.000000001'].map((text) => parseCpus(text, '--x'))).toEqual([
    100_000_000, 250_000_000, 1_000_000, 2_000_000_000, 3_000_000_000, 12_000_000_001,
  ])
  for (const text of ['', '.', '-1', '1/0', '1.5/2', '1e999', '0.0000000001'])
    expect(() => parseCpus(text, '--x')).toThrow(`"${text}" for --x`)
})

test.each(['', ' 5m', '5ib', '1 5', '5mm', '.'])('"%s" is no amount of memory', (text) => {
  expect(() => parseBytes(text, '--x')).toThrow(`invalid amount "${text}" for --x`)
})
