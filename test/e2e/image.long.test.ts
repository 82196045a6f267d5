// The image builds on an imported base without a registry, and compose.yaml does with it what docker/README.md promises: three agents and the demo
// service from nothing by one command, and one of them killed. An engine of its own in a network and mounts of its own.
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
import { afterEach, expect, test } from 'vitest'
import { needs, needsMachines } from '../needs.ts'
import { root } from '../tidy/source.ts'
import { until } from '../until.ts'

/** The engine pulls nothing, and builds and starts three Nodes on two cores. */
const patienceMs = 300_000
let engine: ChildProcess | undefined
let folder = ''

afterEach(async () => {
  const ending = engine
  if (ending?.pid !== undefined) {
    const left = (await docker('ps', '-aq')).split('\n').filter((id) => id !== '')
    if (left.length > 0) await docker('rm', '-f', '-v', ...left)
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
  await startEngine()
  await importBase()
  await build()
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

/** dockerd in a network of its own; it ends with everything it runs. */
async function startEngine(): Promise<void> {
  needsMachines()
  const dockerd = needs('dockerd')
  needs('docker')
  folder = mkdtempSync(join(tmpdir(), 'vine-image-'))
  const words = [dockerd, '--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec'), '-H', socket()]
  const line = `ip link set lo up && mount -t tmpfs none /run && exec ${words.join(' ')} --pidfile ${join(folder, 'pid')}`
  engine = spawn('unshare', ['-n', '-m', 'sh', '-c', line], { stdio: 'ignore' })
  const answers = () => docker('version', '--format', '{{.Server.Version}}')
  await until(answers, { deadlineMs: 60_000, everyMs: 200, what: 'dockerd to answer' })
}

function socket(): string {
  return `unix://${join(folder, 'docker.sock')}`
}

/** busybox, GNU tar and the libraries of Node: what BUILD and BASE of the Dockerfile are to have, less what the set-up here already has. */
async function importBase(): Promise<void> {
  const base = join(folder, 'base')
  for (const part of ['bin', 'usr/bin', 'etc', 'tmp', 'proc', 'dev', 'sys', 'run', 'var'])
    mkdirSync(join(base, part), { recursive: true })
  const busybox = needs('busybox')
  copyFileSync(busybox, join(base, 'bin', 'busybox'))
  execFileSync(busybox, ['--list'], { encoding: 'utf8' })
    .split('\n')
    .filter((applet) => applet !== '' && applet !== 'busybox' && applet !== 'tar')
    .forEach((applet) => {
      symlinkSync('busybox', join(base, 'bin', applet))
    })
  const tar = execFileSync('sh', ['-c', 'command -v tar'], { encoding: 'utf8' }).trim()
  copyFileSync(tar, join(base, 'bin', 'tar'))
  for (const program of [tar, realpathSync(process.execPath), busybox]) copyLibraries(program, base)
  await pipe(['tar', '-C', base, '-c', '.'], ['import', '-', 'base'])
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
async function build(): Promise<void> {
  const left = ['.git', './test', './dist', './.dockerignore', './node_modules/@biomejs', './node_modules/.cache']
  const words = ['build', '-f', 'docker/Dockerfile', '--target', 'userspace', '-t', 'grapevine']
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

/** As somebody on the engine's machine, at a port that it publishes. */
function ask(port: number): Promise<string> {
  return said('nsenter', ['-t', String(engine?.pid), '-n', 'curl', '-sS', '-m', '3', `http://127.0.0.1:${port}/`])
}

function docker(...words: readonly string[]): Promise<string> {
  return said('docker', ['-H', socket(), ...words])
}

function said(program: string, words: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(program, words, { maxBuffer: 16 * 1024 * 1024 }, (error, out, err) =>
      error === null ? resolve(out.trim()) : reject(new Error(`${program} ${words.join(' ')}: ${out}${err}`)),
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
