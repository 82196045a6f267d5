/**
 * The same words to `docker service` and to `vine service` ask for the same tasks, and print the same about them. Both speak to a recorder in the
 * place of an agent, so that nothing runs. What is empty asks for nothing: Docker's client sends more of that.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest'
import { splitCommand } from '../../agent/cli/service/words.ts'
import { isEmpty } from '../../agent/core/container.ts'
import type { ServiceSpec } from '../../protocol/spec.ts'
import { type FakeAgent, fakeAgent } from '../unit/cli/fake-agent.ts'
import { vine } from '../unit/cli/vine.ts'
import { type DockerCli, dockerOf } from './docker-cli.ts'

const dir = mkdtempSync(join(tmpdir(), 'vine-flags-'))
const env = { DOCKER_API_VERSION: '1.47', LOGGED: 'from here' }
let agent: FakeAgent
let docker: DockerCli

beforeEach(async () => {
  agent = await recorder(base)
  docker = dockerOf(agent.socket, dir)
})
afterEach(() => agent.close())
afterAll(() => rmSync(dir, { recursive: true }))

/** Lists in the order in which Docker's client brings them at any update. */
const base: ServiceSpec = {
  Name: 'web',
  TaskTemplate: {
    ContainerSpec: {
      Image: 'redis:7',
      Labels: { k: 'v' },
      Mounts: [
        { Type: 'bind', Source: '/a', Target: '/a' },
        { Type: 'volume', Source: 'v', Target: '/b' },
      ],
      CapabilityAdd: ['CAP_CHOWN', 'CAP_SYS_TIME'],
      CapabilityDrop: ['CAP_NET_ADMIN'],
      Ulimits: [
        { Name: 'memlock', Soft: 3, Hard: 3 },
        { Name: 'nofile', Soft: 1, Hard: 2 },
      ],
      Sysctls: { 'net.b': '1' },
      Hosts: ['1.2.3.4 a', '5.6.7.8 c', '1.2.3.9 a b'],
      Groups: ['c', 'b'],
      DNSConfig: { Search: ['z.com'], Options: ['ndots:2'] },
      TTY: true,
      ReadOnly: true,
    },
    Resources: {
      Limits: { NanoCPUs: 1_000_000_000, MemoryBytes: 99_999_999, Pids: 9 },
      Reservations: { NanoCPUs: 1_000_000, MemoryBytes: 88_888_888 },
    },
    LogDriver: { Name: 'json-file', Options: { 'max-size': '1m' } },
  },
  Mode: { Replicated: { Replicas: 1 } },
  EndpointSpec: { Mode: 'vip' },
}

test.each([
  '--mount type=bind,src=/a,dst=/b',
  '--mount type=bind,source=/a,destination=/b,readonly,bind-propagation=RShared,bind-nonrecursive',
  '--mount type=bind,src=/a,target=/b,ro=0,bind-nonrecursive=false,consistency=CACHED',
  '--mount src=v,dst=/b,volume-nocopy,volume-label=a=b,volume-label=c,volume-driver=d,volume-opt=o=p=q,volume-opt=r',
  '--mount src=v,dst=/b,volume-nocopy=F,volume-opt=',
  '--mount type=TMPFS,target=/b,tmpfs-size=1.5g,tmpfs-mode=1777 --mount dst=/c --mount dst=/c',
  `--mount '"type=bind","src=/a,b",dst=/b'`,
  '--cap-add net_admin --cap-add CAP_SYS_TIME --cap-drop all --cap-drop NET_ADMIN',
  '--cap-add B --cap-add A --cap-add a --cap-add reset --cap-drop b --cap-drop c',
  '--cap-add all --cap-add net_raw --cap-drop x --cap-drop reset',
  '--ulimit nproc=5:10 --ulimit nofile=100 --ulimit nofile=5:10 --ulimit core=-1 --ulimit memlock=2:-1',
  '--sysctl a.b=1 --sysctl c.d=2=3 --sysctl e',
  '--limit-cpu 0.5 --limit-memory 64m --limit-pids 10 --reserve-cpu 1/4 --reserve-memory 1GiB',
  '--limit-cpu .5 --reserve-cpu 1e-3 --limit-memory 1.5k --reserve-memory 1p',
  '--limit-cpu 0.1 --reserve-cpu 12.000000001',
  '--init --tty --read-only',
  '--init=true -t --hostname h --user u:g',
  '--init=false --tty=false --read-only=false',
  '--host a:1.2.3.4 --host b:::1 --host a:1.2.3.5',
  '--dns-option ndots:2 --dns-option a --dns-search a.b --dns-search . --dns-search x-y.example.',
  '--log-driver syslog --log-opt max-size=1m --log-opt nothing --log-opt LOGGED',
  '--log-driver none',
  '--group a --group b --group a',
  '--container-label b=1 --container-label a',
  '--no-healthcheck --isolation default',
])('service create %s', async (flags) => {
  const { byDocker, byVine } = await sentFor(creating(flags))
  expect(byVine).toEqual(byDocker)
})

test.each([
  '--mount-add type=bind,src=/n,dst=/b',
  '--mount-add type=tmpfs,dst=/z --mount-add src=c,dst=/y --mount-add src=c,dst=/x',
  '--mount-rm /b --mount-rm v --mount-rm /none',
  '--mount-rm /b --mount-add src=other,dst=/b --mount-add src=kept,dst=/c',
  '--cap-add net_raw',
  '--cap-drop sys_time',
  '--cap-drop kill --cap-drop chown',
  '--cap-add net_admin',
  '--cap-add sys_time --cap-drop sys_time',
  '--cap-add all --cap-drop all',
  '--cap-drop all',
  '--cap-add reset --cap-add foo',
  '--cap-drop reset --cap-drop foo --cap-add bar',
  '--ulimit-add nofile=7:8 --ulimit-add core=0',
  '--ulimit-rm nofile --ulimit-rm memlock --ulimit-add nofile=1',
  '--sysctl-add net.b=3 --sysctl-add a=1',
  '--sysctl-rm net.b --sysctl-add net.b=9 --sysctl-rm none',
  '--limit-cpu 2',
  '--limit-memory 2g --limit-pids 5',
  '--limit-pids 0 --limit-cpu 0',
  '--reserve-cpu 2 --reserve-memory 1g',
  '--init',
  '--init=false --tty=false --read-only=false',
  '--host-add z:1.1.1.1 --host-add a:1.2.3.4 --host-add a:9.9.9.9',
  '--host-rm a',
  '--host-rm a:1.2.3.4 --host-rm c:1.1.1.1 --host-rm b --host-rm x',
  '--host-rm a: --host-rm c=5.6.7.8',
  '--host-rm a --host-add a:4.4.4.4',
  '--dns-option-add x --dns-option-add a:1 --dns-search-add b.com --dns-search-add z.com --dns-search-add a.com',
  '--dns-option-rm ndots:2 --dns-option-rm x --dns-option-add x --dns-search-rm z.com',
  '--log-driver syslog',
  '--log-driver syslog --log-opt a=b',
  '--group-add z --group-add b',
  '--group-rm c --group-add c --group-rm none',
  '--container-label-add z=1 --container-label-rm k',
  '--no-healthcheck --isolation default --user x --hostname y',
])('service update %s', async (flags) => {
  const { byDocker, byVine } = await sentFor(['service', 'update', '--detach', ...splitCommand(flags, 'test'), 'web'])
  expect(byVine).toEqual(byDocker)
})

test("what newer clients of Docker's know is the same too", async () => {
  // Debian's client of 2023 knows none of it.
  if (!(await docker.ok('service', 'create', '--help')).includes('--oom-score-adj')) return
  for (const flags of [
    '--oom-score-adj -100',
    '--host a=1.2.3.4 --host b:[::1]',
    '--mount type=bind,src=/q,dst=/b,bind-recursive=readonly,ro,bind-propagation=rprivate',
    '--mount TYPE=bind,src=/q,dst=/b,bind-recursive=writable,ro --mount type=bind,src=/q,dst=/c,bind-recursive=disabled',
    '--mount type=bind,src=./q,dst=/b --mount type=bind,src=..,dst=/c,bind-recursive=enabled --mount src=.x/../y/,dst=/d',
    '--mount src=q,dst=/b,volume-subpath=foo,volume-label==x',
  ]) {
    const { byDocker, byVine } = await sentFor(creating(flags))
    expect(byVine, flags).toEqual(byDocker)
  }
})

test.each([
  '--mount type=bind',
  '--mount type=,dst=/b',
  "--mount ''",
  '--mount src=a,dst=/b,',
  '--mount src=a,dst=/b,foo',
  '--mount src=a,dst=/b,foo=1',
  '--mount src=a,dst=/b,ro=maybe',
  '--mount src=a,dst=/b,volume-nocopy=x',
  '--mount src=a,dst=/b,tmpfs-size=1m',
  '--mount src=a,dst=/b,bind-propagation=shared',
  '--mount type=bind,src=/a,dst=/b,volume-nocopy',
  '--mount type=bind,src=/a,dst=/b,bind-nonrecursive=x',
  '--mount type=tmpfs,dst=/b,tmpfs-size=x',
  '--mount type=tmpfs,dst=/b,tmpfs-mode=9',
  `--mount 'src=a"b,dst=/b'`,
  '--ulimit foo=5',
  '--ulimit nofile',
  '--ulimit nofile=5:4',
  '--ulimit nofile=-1:5',
  '--ulimit nofile=a',
  '--ulimit nofile=5:4:3',
  '--limit-cpu x',
  '--limit-cpu 1/3',
  '--limit-cpu 1/0',
  '--limit-cpu 0.0000000001',
  '--limit-memory x',
  '--limit-memory -1',
  '--reserve-memory " 5m"',
  '--limit-pids 1.5',
  '--host a',
  '--host a:x',
  '--host :1.2.3.4',
  '--host a:01.2.3.4',
  "--dns-search 'a b'",
  '--dns-search 1_2',
  '--dns-search -a.b',
  '--oom-score-adj x',
  '--init=maybe',
])('service create %s is a wrong command line to both', async (flags) => {
  const words = creating(flags)
  const [flag] = flags.split(/[ =]/)
  const refused = { code: 125, err: expect.stringContaining(flag ?? '') }
  expect(await docker.run(words, { env })).toMatchObject(refused)
  expect(await vine(words, { socket: agent.socket, env })).toMatchObject(refused)
  expect(agent.asked.filter(({ method }) => method === 'POST')).toEqual([])
})

test.each([
  ['everything', base.TaskTemplate],
  [
    'limits alone',
    { ContainerSpec: { Image: 'redis:7', User: 'u' }, Resources: { Limits: { Pids: 5 } }, LogDriver: { Name: 'none' } },
  ],
  ['empty resources', { ContainerSpec: { Image: 'redis:7', CapabilityDrop: ['ALL'] }, Resources: {} }],
  ['a driver of no name', { ContainerSpec: { Image: 'redis:7', Sysctls: { b: '', a: '1' } }, LogDriver: {} }],
] satisfies readonly (readonly [string, ServiceSpec['TaskTemplate']])[])(
  'service inspect --pretty prints the same of a service with %s',
  async (_what, TaskTemplate) => {
    await agent.close()
    agent = await recorder({ ...base, TaskTemplate })
    const words = ['service', 'inspect', '--pretty', 'web']
    const { out } = await dockerOf(agent.socket, dir).run(words, { env })
    expect(out).toContain('ContainerSpec')
    expect((await vine(words, { socket: agent.socket })).out).toBe(out)
  },
)

/** Answers both clients, whose paths differ by the API's version, as an agent with one service would. */
function recorder(spec: ServiceSpec): Promise<FakeAgent> {
  const service = { ID: 'w'.repeat(25), Version: { Index: 5 }, Spec: spec }
  const made = { status: 201, body: { ID: service.ID } }
  const answers = {
    'GET /services/web': service,
    'GET /networks': [],
    'POST /services/create': () => made,
    [`POST /services/${service.ID}/update`]: () => ({ status: 200, body: { Warnings: null } }),
  }
  const versioned = Object.entries(answers).map(([key, answer]) => [key.replace(' ', ' /v1.47'), answer])
  return fakeAgent({ ...answers, ...Object.fromEntries(versioned) })
}

function creating(flags: string): readonly string[] {
  return ['service', 'create', '--detach', ...splitCommand(flags, 'test'), 'redis:7']
}

/** What each client asked of tasks, less what is empty. */
async function sentFor(words: readonly string[]) {
  // Docker's client would ask a registry what the image is.
  const quietly = words.includes('create') ? [...words.slice(0, 2), '--no-resolve-image', ...words.slice(2)] : words
  const before = agent.asked.length
  expect(await docker.run(quietly, { env, cwd: process.cwd() })).toMatchObject({ code: 0 })
  expect(await vine(words, { socket: agent.socket, env })).toMatchObject({ code: 0, err: '' })
  const writes = agent.asked.slice(before).filter(({ method }) => method === 'POST')
  expect(writes).toHaveLength(2)
  const [byDocker, byVine] = writes.map(({ body }) => withoutEmpty((body as ServiceSpec).TaskTemplate))
  return { byDocker, byVine }
}

function withoutEmpty(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => !isEmpty(inner))
      .map(([key, inner]) => [key, Array.isArray(inner) ? inner.map(withoutEmpty) : withoutEmpty(inner)]),
  )
}
