// The image builds on an imported base without a registry, and compose.yaml does with it what docker/README.md promises: three agents and the demo
// service from nothing, and one of them killed. An engine of its own in a network and mounts of its own; compose.yaml is read here and run key by key,
// for the plugin that runs it is on few machines.
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { parse } from 'yaml'
import { needs, needsMachines } from '../needs.ts'
import { root } from '../tidy/source.ts'
import { until } from '../until.ts'

interface ComposeService {
  readonly hostname?: string
  readonly entrypoint?: readonly string[]
  readonly command: readonly string[]
  readonly volumes: readonly string[]
}

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
  const { services, volumes } = readCompose()
  await docker('network', 'create', 'grapevine')
  for (const volume of Object.keys(volumes)) await docker('volume', 'create', volume)

  await run('n1', services.n1)
  await healthy('n1')
  await Promise.all(['n2', 'n3'].map((name) => run(name, services[name])))
  await Promise.all(['n2', 'n3'].map(healthy))
  expect(await run('demo', services.demo)).toContain('Service demo_web converged')
  expect(await docker('exec', 'n1', 'id', '-u')).toBe('7766')

  const addresses = new Map<string, string>()
  for (const name of ['n1', 'n2', 'n3']) {
    const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}'
    addresses.set(name, await docker('inspect', '--format', format, name))
    expect(await ask('n1', addresses.get(name))).toMatch(/^n[123] [123]$/)
  }
  await docker('kill', 'n3')
  const tasks = ['exec', 'n1', 'vine', 'stack', 'ps', '--filter', 'desired-state=running', '--format']
  const moved = async () => {
    const rows = (await docker(...tasks, '{{.Node}} {{.CurrentState}}', 'demo')).split('\n')
    if (rows.length === 3 && rows.every((row) => /^n[12] Running/.test(row))) return true
    throw new Error(rows.join())
  }
  await until(moved, { deadlineMs: 30_000, everyMs: 300, what: 'the tasks of n3 to run elsewhere' })
  for (const name of ['n1', 'n2']) expect(await ask('n1', addresses.get(name))).toMatch(/^n[12] [123]$/)
  expect(await docker('inspect', '--format', '{{.State.Health.Status}}', 'n1')).toBe('healthy')
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

function readCompose() {
  const text = readFileSync(join(root, 'docker', 'compose.yaml'), 'utf8').replaceAll('$$', '$')
  const compose: {
    readonly services: Readonly<Record<string, ComposeService>>
    readonly volumes: Readonly<Record<string, null>>
  } = parse(text, { merge: true })
  return compose
}

/** A service of compose.yaml as `docker run` has it; one that ends by itself is waited for. */
async function run(name: string, service: ComposeService | undefined): Promise<string> {
  if (service === undefined) throw new Error(`compose.yaml has no ${name}`)
  const [entry, ...before] = service.entrypoint ?? []
  return await docker(
    'run',
    ...(name === 'demo' ? ['--rm', '--no-healthcheck'] : ['--detach', '--init']),
    ...['--name', name, '--network', 'grapevine', '--hostname', service.hostname ?? name],
    ...service.volumes.flatMap((volume) => ['-v', volume.replace(/^\.\//, `${join(root, 'docker')}/`)]),
    ...(entry === undefined ? [] : ['--entrypoint', entry]),
    'grapevine',
    ...before,
    ...service.command,
  )
}

async function healthy(name: string): Promise<void> {
  const state = async () => {
    const health = await docker('inspect', '--format', '{{.State.Status}} {{.State.Health.Status}}', name)
    if (health === 'running healthy') return true
    throw new Error(`${health}: ${await docker('logs', '--tail', '20', name)}`)
  }
  await until(state, { deadlineMs: 60_000, everyMs: 500, what: `${name} to be healthy` })
}

/** From inside of a container: this test's network is another. */
function ask(from: string, address: string | undefined): Promise<string> {
  return docker('exec', from, 'wget', '-q', '-O', '-', `http://${address}:8080/`)
}

function docker(...words: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile('docker', ['-H', socket(), ...words], { maxBuffer: 16 * 1024 * 1024 }, (error, out, err) =>
      error === null
        ? resolve(`${out}${words[0] === 'logs' ? err : ''}`.trim())
        : reject(new Error(`${words.join(' ')}: ${out}${err}`)),
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
