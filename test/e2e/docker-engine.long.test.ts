/** A real Docker engine behind an agent: one DOCKER_HOST for its containers and for the swarm. It has a network, mounts and folders of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { needs } from '../needs.ts'
import { until } from '../until.ts'
import { type Agent, type Cluster, openCluster } from './cluster.ts'
import { type DockerCli, dockerOf, rowsOf } from './docker-cli.ts'
import { isAlive, signal } from './processes.ts'

const deadlineMs = 30_000
let dir: string
let engine: ChildProcess | undefined
let said = ''
let cluster: Cluster<1>
let n1: Agent
let docker: DockerCli

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'vine-engine-'))
  cluster = await openCluster({ nodes: 1, started: false })
  ;[n1] = cluster.agents
  await n1.start({ args: ['--docker-socket', join(dir, 'docker.sock')] })
})

beforeEach(async () => {
  docker = dockerOf(n1.socket, dir)
  if (engine === undefined) await startEngine()
})

afterAll(async () => {
  const pid = engine?.pid ?? 0
  if (pid !== 0) signal(pid, 'SIGTERM')
  await until(() => pid === 0 || !isAlive(pid), {
    deadlineMs,
    what: `the engine to end; it said: ${said.slice(-2_000)}`,
  })
  await cluster.close()
  rmSync(dir, { recursive: true, force: true })
})

/** Without bridge and firewall: containers here have no network, and the host's tables are not its business. */
async function startEngine(): Promise<void> {
  const at = (name: string) => join(dir, name)
  const own = [
    '--data-root',
    at('data'),
    '--exec-root',
    at('exec'),
    '--pidfile',
    at('pid'),
    '--host',
    `unix://${at('docker.sock')}`,
  ]
  const none = ['--bridge', 'none', '--iptables=false', '--ip6tables=false']
  // `exec` keeps the pid, so that it is the engine's and ends it in order.
  engine = spawn(needs('unshare'), ['--net', '--mount', needs('dockerd'), ...own, ...none], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  for (const stream of [engine.stdout, engine.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
  }
  await until(async () => (await docker.run(['ps'])).code === 0, {
    deadlineMs,
    everyMs: 200,
    what: `the engine to answer; it said: ${said.slice(-2_000)}`,
  })
  const root = at('root/bin')
  mkdirSync(root, { recursive: true })
  copyFileSync(needs('busybox'), join(root, 'busybox'))
  for (const name of ['sh', 'cat', 'echo', 'sleep', 'tty', 'seq']) symlinkSync('busybox', join(root, name))
  await packed(at('root'), at('box.tar'))
  await docker.ok('import', at('box.tar'), 'box')
}

function packed(folder: string, file: string): Promise<void> {
  return new Promise((resolve, reject) => {
    spawn('tar', ['-C', folder, '-cf', file, '.']).on('close', (code) =>
      code === 0 ? resolve() : reject(new Error('tar failed')),
    )
  })
}

test('docker run, ps, logs, exec and images are those of the machine', async () => {
  const plain = ['run', '--rm', '--network', 'none']
  expect(await docker.ok(...plain, 'box', 'echo', 'hello')).toBe('hello')
  expect(await docker.run([...plain, '--interactive', 'box', 'cat'], { input: 'through stdin\n' })).toMatchObject({
    code: 0,
    out: 'through stdin\n',
  })
  await docker.ok('run', '--detach', '--name', 'bg', '--network', 'none', 'box', 'sh', '-c', 'seq 3; sleep 100')
  expect(rowsOf(await docker.ok('ps', '--format', '{{.Names}}  {{.Image}}'))).toEqual([['bg', 'box']])
  await until(async () => (await docker.ok('logs', 'bg')) === '1\n2\n3', { deadlineMs, what: 'the log' })
  expect(await docker.run(['exec', '--interactive', 'bg', 'cat'], { input: 'x'.repeat(300_000) })).toMatchObject({
    code: 0,
    out: 'x'.repeat(300_000),
  })
  // A terminal, of which the client has one too: typed into, again and again, for the two ends race at the end.
  for (let i = 0; i < 5; i++) {
    const typed = await terminal(n1, ['exec', '-it', 'bg', 'sh', '-c', 'tty; echo $((6 * 7))'])
    expect(typed).toMatch(/\/dev\/pts\/\d+\s+42/)
  }
  expect(await docker.ok('images', '--quiet', 'box')).toMatch(/^[0-9a-f]{12}$/)
  await docker.ok('rm', '--force', 'bg')
})

test('docker build and save stream through', async () => {
  mkdirSync(join(dir, 'context'))
  writeFileSync(join(dir, 'context', 'Dockerfile'), 'FROM box\nCOPY large /large\nCMD ["cat", "/large"]\n')
  writeFileSync(join(dir, 'context', 'large'), 'y'.repeat(5_000_000))
  const built = await docker.run(['build', '--network', 'none', '--tag', 'built', join(dir, 'context')], {
    env: { DOCKER_BUILDKIT: '0' },
  })
  expect([built.code, built.out]).toEqual([0, expect.stringContaining('Successfully tagged built:latest')])
  expect((await docker.ok('run', '--rm', '--network', 'none', 'built')).length).toBe(5_000_000)
  await docker.ok('save', '--output', join(dir, 'built.tar'), 'built')
  expect(await docker.ok('load', '--input', join(dir, 'built.tar'))).toContain('Loaded image: built:latest')
})

test('networks of the machine and of the swarm stand side by side, and each is the business of its owner', async () => {
  await docker.ok('network', 'create', 'mine')
  await docker.ok('network', 'create', '--driver', 'overlay', 'ours')
  const rows = rowsOf(await docker.ok('network', 'ls')).slice(1)
  expect(rows.map((row) => row.slice(1))).toEqual(
    expect.arrayContaining([
      ['mine', 'bridge', 'local'],
      ['none', 'null', 'local'],
      ['ours', 'overlay', 'swarm'],
      ['ingress', 'overlay', 'swarm'],
    ]),
  )
  expect(await docker.ok('network', 'inspect', '--format', '{{.Name}} {{.Scope}}', 'mine', 'ours')).toBe(
    'mine local\nours swarm',
  )
  expect(await docker.ok('network', 'rm', 'mine', 'ours')).toBe('mine\nours')
})

test('docker info, version and events tell of both', async () => {
  expect(await docker.ok('info')).toMatch(
    /Storage Driver: \w+[\s\S]*Swarm: active[\s\S]*Is Manager: true[\s\S]*runc version/,
  )
  expect(await docker.ok('version')).toMatch(/Engine:[\s\S]*containerd:[\s\S]*Grapevine:/)
  const sinceS = Math.floor(Date.now() / 1000)
  await docker.ok('service', 'create', '--detach', '--name', 'web', 'node', '-e', 'setInterval(() => {}, 1000)')
  await docker.ok('run', '--rm', '--network', 'none', 'box', 'echo', 'told')
  const format = ['--format', '{{.Type}} {{.Action}} {{.Scope}}']
  await until(
    async () => {
      const lines = (await docker.ok('events', '--since', String(sinceS), '--until', '0s', ...format)).split('\n')
      return lines.includes('service create swarm') && lines.includes('container die local')
    },
    { deadlineMs, everyMs: 200, what: 'events of both' },
  )
  expect(await docker.ok('inspect', '--format', '{{.Spec.Name}}', 'web')).toBe('web')
  await docker.ok('service', 'rm', 'web')
})

test('an engine that stands still holds up no answer of the swarm, and one that ended is told of', async () => {
  const pid = engine?.pid ?? 0
  signal(pid, 'SIGSTOP')
  expect(await docker.ok('info', '--format', '{{.Swarm.LocalNodeState}}')).toBe('active')
  expect(await docker.ok('network', 'ls', '--format', '{{.Name}}')).toBe('ingress')
  signal(pid, 'SIGCONT')
  expect(await docker.ok('images', '--quiet', 'box')).not.toBe('')
  signal(pid, 'SIGTERM')
  await until(() => !isAlive(pid), { deadlineMs, what: 'the engine to end' })
  engine = undefined
  expect((await docker.run(['ps'])).err).toMatch(/no Docker engine answers at .*--docker-socket/)
  expect(await docker.ok('service', 'ls', '--quiet')).toBe('')
})

/** What `docker` prints where it has a terminal, which script(1) gives it. */
async function terminal(agent: Agent, words: readonly string[]): Promise<string> {
  const quoted = ['docker', ...words].map((word) => `'${word}'`).join(' ')
  const child = spawn(needs('script'), ['-qec', quoted, '/dev/null'], {
    env: { PATH: process.env.PATH ?? '', HOME: dir, DOCKER_HOST: `unix://${agent.socket}`, TERM: 'dumb' },
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  let text = ''
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  await new Promise((resolve) => child.on('close', resolve))
  return text
}
