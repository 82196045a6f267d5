// The images build on an imported base without a registry, and do what docker/README.md promises: compose.yaml starts three agents and the demo service
// from nothing by one command, and one of them is killed; the other image forwards by the kernel. An engine of its own in a network and mounts of its own.
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { reasonOf } from '../../agent/fault.ts'
import { needs, needsMachines } from '../needs.ts'
import { root } from '../tidy/source.ts'
import { until } from '../until.ts'

/** The engine pulls nothing, and builds and starts three Nodes on two cores. */
const patienceMs = 300_000
/** No command takes a third of that: one that does is told, with what the containers say. */
const commandMs = patienceMs / 3
let engine: ChildProcess | undefined
let folder = ''

beforeAll(async () => {
  await startEngine()
  await importBase()
}, patienceMs)

afterEach(async ({ task }) => {
  if (task.result?.state === 'fail') process.stderr.write(await whatTheySay())
  const left = (await docker('ps', '-aq')).split('\n').filter((id) => id !== '')
  if (left.length > 0) await docker('rm', '-f', '-v', ...left)
})

afterAll(async () => {
  const ending = engine
  if (ending?.pid !== undefined) {
    ending.kill('SIGTERM')
    await until(() => ending.exitCode !== null || ending.signalCode !== null, {
      deadlineMs: 30_000,
      what: 'dockerd to end',
    })
  }
  rmSync(folder, { recursive: true, force: true })
})

test('three agents and the demo service start from the image, and one killed is not missed', {
  timeout: patienceMs,
}, async () => {
  await build('userspace', 'grapevine')
  await compose('up', '--detach', '--no-build')
  // It ends when the service runs.
  expect(await docker('wait', container('demo'))).toBe('0')
  expect(await docker('exec', container('n1'), 'id', '-u')).toBe('7766')
  expect(await docker('inspect', '--format', '{{.State.Health.Status}}', container('n1'))).toBe('healthy')
  for (const port of [8081, 8082, 8083]) expect(await ask(port)).toMatch(/^n[123] [123]$/)

  await docker('kill', container('n3'))
  const tasks = ['exec', container('n1'), 'vine', 'stack', 'ps', '--filter', 'desired-state=running', '--format']
  const moved = async () => {
    const rows = (await docker(...tasks, '{{.Node}} {{.CurrentState}}', 'demo')).split('\n')
    if (rows.length === 3 && rows.every((row) => /^n[12] Running/.test(row))) return true
    throw new Error(rows.join())
  }
  await until(moved, { deadlineMs: 30_000, everyMs: 300, what: 'the tasks of n3 to run elsewhere' })
  for (const port of [8081, 8082]) expect(await ask(port)).toMatch(/^n[12] [123]$/)
  await compose('start', 'n3')
  await until(async () => /^n[123] [123]$/.test(await ask(8083)), {
    deadlineMs: 60_000,
    everyMs: 300,
    what: 'the port of n3 to answer again',
  })
})

test('the image that forwards by the kernel has all that it needs for it, beside a Docker engine', {
  timeout: patienceMs,
}, async () => {
  await build('linux', 'grapevine-linux')
  // Not --privileged, which is more than it takes, and more than a test machine may have to give.
  const rights = ['--cap-add', 'NET_ADMIN', '--cap-add', 'SYS_ADMIN', '--security-opt', 'systempaths=unconfined']
  const loose = ['--security-opt', 'seccomp=unconfined', '--security-opt', 'apparmor=unconfined']
  const place = ['--network', 'host', '-v', 'grapevine:/var/lib/grapevine']
  await docker('run', '-d', '--name', 'linux', '--init', ...rights, ...loose, ...place, 'grapevine-linux')
  const vine = (...words: readonly string[]) => docker('exec', 'linux', 'vine', ...words)
  await until(() => vine('node', 'ls'), { deadlineMs: 30_000, everyMs: 300, what: 'the agent to answer' })
  const web = "require('http').createServer((q, a) => a.end(q.socket.remoteAddress)).listen(80, () => 0)"
  await vine('network', 'create', '-d', 'overlay', 'net')
  await vine(
    'service',
    'create',
    '--quiet',
    '--name',
    'web',
    '--network',
    'net',
    '--publish',
    '8090:80',
    'node',
    '-e',
    web,
  )
  // By the kernel, which keeps its address, and past the rules of the engine.
  const fromElsewhere = ['-t', String(engine?.pid), '-n', '-m', 'ip', 'netns', 'exec', 'elsewhere']
  expect(await said('nsenter', [...fromElsewhere, 'curl', '-sS', '-m', '3', 'http://10.99.0.1:8090/'])).toBe(
    '::ffff:10.99.0.2',
  )
  expect(await vine('node', 'inspect', 'self', '--pretty')).toMatch(/Data Plane:\t+linux/)
  expect(await vine('doctor')).not.toMatch(/^(?!.*: ok).*\S/m)
  const logged = await said('sh', ['-c', `docker -H ${socket()} logs linux 2>&1`])
  expect(logged).toContain('founded by this node')
  expect(logged).not.toMatch(/"level":"(warn|error)"/)
})

/** dockerd in a network of its own; it ends with everything it runs. */
async function startEngine(): Promise<void> {
  needsMachines()
  const dockerd = needs('dockerd')
  needs('docker')
  folder = mkdtempSync(join(tmpdir(), 'vine-image-'))
  const words = [dockerd, '--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec'), '-H', socket()]
  // And somebody elsewhere, on a cable.
  const cable = `ip netns add elsewhere && ip link add eth9 type veth peer name eth9 netns elsewhere
    ip address add 10.99.0.1/24 dev eth9 && ip link set eth9 up && ip route add default via 10.99.0.2
    ip -n elsewhere address add 10.99.0.2/24 dev eth9 && ip -n elsewhere link set eth9 up`
  const line = `ip link set lo up && mount -t tmpfs none /run && ${cable}
    exec ${words.join(' ')} --pidfile ${join(folder, 'pid')}`
  engine = spawn('unshare', ['-n', '-m', 'sh', '-c', line], { stdio: 'ignore' })
  const answers = () => docker('version', '--format', '{{.Server.Version}}')
  await until(answers, { deadlineMs: 60_000, everyMs: 200, what: 'dockerd to answer' })
}

function socket(): string {
  return `unix://${join(folder, 'docker.sock')}`
}

/**
 * busybox, a shell, GNU tar and the libraries of Node: what BUILD and BASE of the Dockerfile are to have, less what the set-up here already has. Not the
 * shell of busybox, which runs its own `ip` before any that is on the disk.
 */
async function importBase(): Promise<void> {
  const base = join(folder, 'base')
  for (const part of ['bin', 'usr/bin', 'etc', 'tmp', 'proc', 'dev', 'sys', 'run', 'var'])
    mkdirSync(join(base, part), { recursive: true })
  const busybox = needs('busybox')
  copyFileSync(busybox, join(base, 'bin', 'busybox'))
  execFileSync(busybox, ['--list'], { encoding: 'utf8' })
    .split('\n')
    .filter((applet) => applet !== '' && !['busybox', 'sh', 'tar'].includes(applet))
    .forEach((applet) => {
      symlinkSync('busybox', join(base, 'bin', applet))
    })
  for (const program of ['/bin/sh', '/bin/tar']) {
    copyFileSync(program, join(base, program))
    copyLibraries(program, base)
  }
  for (const program of [realpathSync(process.execPath), busybox]) copyLibraries(program, base)
  addPackages(base)
  await pipe(['tar', '-C', base, '-c', '.'], ['import', '-', 'base'])
}

/** Stands in for apt: knows the packages that this machine has, and installs those that it is asked for. */
function addPackages(base: string): void {
  mkdirSync(join(base, 'packages'))
  for (const name of ['conntrack', 'iproute2', 'iptables', 'nftables', 'util-linux', 'wireguard-tools']) {
    const listed = execFileSync('dpkg', ['-L', name], { encoding: 'utf8' }).split('\n')
    const files = listed.filter((path) => /^(\/usr)?\/(s?bin|lib)\/./.test(path))
    // The names of its programs are made when it is installed.
    if (name === 'iptables')
      for (const tool of ['iptables', 'ip6tables']) files.push(`/usr/sbin/${tool}`, `/etc/alternatives/${tool}`)
    for (const path of files.filter((file) => /\/s?bin\/./.test(file))) copyLibraries(path, base)
    const archive = join(base, 'packages', `${name}.tar`)
    execFileSync('tar', ['-C', '/', '--no-recursion', '-cf', archive, ...files.map((path) => `.${path}`)])
  }
  writeFileSync(
    join(base, 'bin', 'apt-get'),
    `#!/bin/sh
[ "$1" = install ] || exit 0
shift
for name in "$@"; do case $name in -*) ;; *) tar -C / -xf "/packages/$name.tar" || exit 100 ;; esac; done
`,
    { mode: 0o755 },
  )
}

function copyLibraries(program: string, base: string): void {
  const listed = execFileSync('sh', ['-c', `ldd ${program} || true`], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  for (const [path] of listed.matchAll(/\/[^\s()]+/g)) {
    mkdirSync(join(base, dirname(path)), { recursive: true })
    copyFileSync(path, join(base, path))
  }
}

/** With the packages of this checkout, which .dockerignore keeps out where there is a registry. */
async function build(target: string, tag: string): Promise<void> {
  const left = ['.git', './test', './dist', './.dockerignore', './node_modules/@biomejs', './node_modules/.cache']
  const words = ['build', '-f', 'docker/Dockerfile', '--target', target, '-t', tag]
  const bases = ['--build-arg', 'BUILD=base', '--build-arg', 'BASE=base']
  await pipe(['tar', '-C', root, ...left.map((path) => `--exclude=${path}`), '-c', '.'], [...words, ...bases, '-'])
}

/** Debian's docker-compose, which is older than the file's name for itself. */
async function compose(...words: readonly string[]): Promise<void> {
  const file = join(folder, 'compose.yaml')
  writeFileSync(file, readFileSync(join(root, 'docker', 'compose.yaml'), 'utf8').replace(/^name: .*$/m, ''))
  const from = ['--file', file, '--project-directory', join(root, 'docker'), '--project-name', 'grapevine']
  await said(needs('docker-compose'), ['--host', socket(), ...from, ...words])
}

const container = (service: string) => `grapevine_${service}_1`

/** Of all containers, for a test that failed. */
async function whatTheySay(): Promise<string> {
  const names = (await docker('ps', '-a', '--format', '{{.Names}}')).split('\n').filter((name) => name !== '')
  const lines = names.flatMap((name) => [
    `docker -H ${socket()} exec ${name} vine service ps --no-trunc $(docker -H ${socket()} exec ${name} vine service ls -q)`,
    `docker -H ${socket()} logs --tail 50 ${name}`,
    `docker -H ${socket()} top ${name} -eo pid,ppid,etimes,args`,
  ])
  const told = lines.map((line) => said('sh', ['-c', `echo '--- ${line}'; ${line} 2>&1`]).catch(reasonOf))
  return `${(await Promise.all(told)).join('\n')}\n`
}

/** As somebody on the engine's machine, at a port that it publishes. */
function ask(port: number): Promise<string> {
  return said('nsenter', ['-t', String(engine?.pid), '-n', 'curl', '-sS', '-m', '3', `http://127.0.0.1:${port}/`])
}

function docker(...words: readonly string[]): Promise<string> {
  return said('docker', ['-H', socket(), ...words])
}

function said(program: string, words: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(
      program,
      words,
      { maxBuffer: 16 * 1024 * 1024, timeout: commandMs, killSignal: 'SIGKILL' },
      (error, out, err) =>
        error === null
          ? resolve(out.trim())
          : reject(new Error(`${program} ${words.join(' ')}: ${out}${err}${error.killed ? 'no end' : ''}`)),
    )
  })
}

/** One command's output into docker. */
async function pipe([command = '', ...words]: readonly string[], dockers: readonly string[]): Promise<void> {
  const from = spawn(command, words, { stdio: ['ignore', 'pipe', 'inherit'] })
  const into = spawn('docker', ['-H', socket(), ...dockers], { stdio: [from.stdout, 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [into.stdout, into.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
  const code = await new Promise<number | null>((resolve) => into.on('close', resolve))
  if (code !== 0) throw new Error(`docker ${dockers.join(' ')} ended with ${code}:\n${said.slice(-2_000)}`)
}
