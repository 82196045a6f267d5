// Every example in the help and the command reference works as it stands, against a real agent.
//
// Examples run in a shell with `vine` on the PATH, in an order in which each finds what it names: networks and services are made first,
// removed last, agents are stopped at the very end. Only what would leave the test's own folder is replaced: addresses, ports, paths, tokens.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { everyCommand } from '../../agent/cli/reference.ts'
import { root } from '../tidy/source.ts'
import { until } from '../until.ts'

const folder = mkdtempSync(join(tmpdir(), 'vine-docs-'))
const agents: ChildProcess[] = []
const socket = join(folder, 'n1', 'vine.sock')
/** An address of its own, so that 8080 is free on it whatever else runs here. */
const address = '127.0.0.79'

/** Needs what is not here: a screen of its own, or containers of an engine (machines-docker-attach.long.test.ts). */
const elsewhere = ['demo', 'network connect', 'network disconnect']

/** What must be there first comes first; what ends the agent comes last. */
const order = [
  ...['network create', 'service create', 'stack deploy', '', 'stack rm', 'service rm', 'network rm', 'node rm'],
  ...['token', 'agent'],
]
const rank = (command: string) => (order.includes(command) ? order.indexOf(command) : order.indexOf(''))
const examples = (await everyCommand())
  .filter(({ command }) => !elsewhere.includes(command))
  .flatMap(({ command, definition }) => definition.examples.map((example) => ({ command, ...example })))
  .toSorted((a, b) => rank(a.command) - rank(b.command))

beforeAll(async () => {
  mkdirSync(join(folder, '.config', 'fish', 'completions'), { recursive: true })
  writeFileSync(
    join(folder, 'compose.yaml'),
    'services: {web: {image: sleep, command: 1d}, old: {image: sleep, command: 1d}}',
  )
  writeFileSync(join(folder, 'production.yaml'), 'services: {web: {deploy: {replicas: 2}}}')
  await startAgent('n1')
})

afterAll(async () => {
  // The last example left tasks running without an agent: a new one adopts them, and takes them along when it leaves.
  const [first] = agents
  if (first !== undefined && (await shell('vine status')).code === 2) {
    await until(() => first.exitCode !== null, { deadlineMs: 10_000, what: 'the first agent to end' })
    await startAgent('n1')
  }
  for (const agent of agents) if (agent.exitCode === null) agent.kill('SIGTERM')
  const ended = () => agents.every(({ exitCode, signalCode }) => exitCode !== null || signalCode !== null)
  await until(ended, { deadlineMs: 30_000, what: 'the agents to end' })
  rmSync(folder, { recursive: true, force: true })
})

test.each(examples)('$line', async ({ command, line, needsDocker }) => {
  if (line.startsWith('vine agent') && !line.startsWith('vine agent stop')) return await startsAnAgent(line)
  if (command === 'node rm') await loseNode('n9')
  const { code, out, err } = await shell(line)
  // The agent's tasks are processes: such an example is told so, which an agent that misread it would not say.
  if (needsDocker === true)
    return expect([code, err]).toEqual([1, expect.stringMatching(/^No node of this cluster runs containers, which \w/)])
  // These tell how it is, and end with 1 when it is not well.
  const allowed = command === 'status' || command === 'doctor' ? [0, 1] : [0]
  expect(allowed, out + err).toContain(code)
  // The tasks that a drain sent away are back before others ask for them.
  if (line.includes('availability active'))
    await until(async () => (await shell('vine status')).code === 0, {
      deadlineMs: 20_000,
      everyMs: 200,
      what: 'all tasks to run',
    })
})

/** The line in a shell, for at most 30 s. */
function shell(line: string): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  return new Promise((resolve) => {
    execFile(
      'bash',
      ['-c', line],
      { env: environment('n1'), cwd: folder, timeout: 30_000 },
      (error, stdout, stderr) => {
        resolve({
          code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1,
          out: stdout,
          err: stderr,
        })
      },
    )
  })
}

function environment(name: string): NodeJS.ProcessEnv {
  return {
    HOME: folder,
    PATH: `${join(root, 'bin')}:${join(root, 'node_modules', '.bin')}:${process.env.PATH}`,
    VINE_SOCKET: name === 'n1' ? socket : join(folder, name, 'vine.sock'),
    GRAPEVINE_DATA_DIR: join(folder, name, 'data'),
    GRAPEVINE_ADDRESS: address,
    GRAPEVINE_PRESET: 'local',
    // Containers would be left to an engine of the machine that runs this test.
    GRAPEVINE_RUNTIME: 'process',
    // To import from, the agent is Swarm enough.
    DOCKER_HOST: `unix://${socket}`,
  }
}

/** An agent in its own folder; resolves when it has told how to join it. */
async function startAgent(
  name: string,
  words: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Promise<ChildProcess> {
  mkdirSync(join(folder, name), { recursive: true })
  // An address for each agent, so that none needs a port of its own.
  const listen = `/ip4/127.79.${process.pid % 250}.${agents.length + 1}/tcp/7766`
  const child = spawn(join(root, 'bin', 'vine'), ['agent', ...words], {
    env: {
      ...environment(name),
      GRAPEVINE_NAME: name,
      GRAPEVINE_LISTEN: listen,
      GRAPEVINE_DNS_PORT: String(await freePort()),
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  agents.push(child)
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      said += chunk
    })
  const own = words.includes('--socket')
    ? (words[words.indexOf('--socket') + 1] ?? '')
    : (environment(name).VINE_SOCKET ?? '')
  const answers = async () => {
    if (child.exitCode !== null) throw new Error(`agent ${name} ended: ${said}`)
    const { code, err } = await shell(`vine status --socket ${own}`)
    if (code === 2 || code < 0) throw new Error(`${err}${said}`)
    return true
  }
  await until(answers, { deadlineMs: 20_000, everyMs: 200, what: `agent ${name} to answer` })
  return child
}

/** Examples that run an agent: it comes up, and SIGTERM ends it cleanly. */
async function startsAnAgent(line: string): Promise<void> {
  const name = `x${agents.length}`
  const token = (await shell('vine token --quiet')).out.trim()
  const [, join_ = ''] = /--join (\S+)/.exec((await shell('vine token')).out) ?? []
  const words = line
    .replace('vine agent', '')
    .replace(/\/ip4\/192\.0\.2\.1\/tcp\/\d+/, join_)
    .replace('VINE-…', token)
    .replace('/ip4/127.0.0.1/tcp/7866', `/ip4/127.79.${process.pid % 250}.200/tcp/7866`)
    .replaceAll('/tmp/n2', join(folder, name, 'n2'))
    .split(' ')
    .filter((word) => word !== '')
  const child = await startAgent(name, words)
  child.kill('SIGTERM')
  await until(() => child.exitCode !== null, { deadlineMs: 20_000, what: 'the agent to end' })
  expect(child.exitCode).toBe(0)
}

/** A member that joined and died. */
async function loseNode(name: string): Promise<void> {
  const token = (await shell('vine token --quiet')).out.trim()
  const [, address_ = ''] = /--join (\S+)/.exec((await shell('vine token')).out) ?? []
  const child = await startAgent(name, ['--join', address_, '--token', token])
  await until(async () => (await shell('vine node ls')).out.includes(name), {
    deadlineMs: 20_000,
    what: `${name} to join`,
  })
  child.kill('SIGKILL')
  await until(async () => new RegExp(`${name} +Down`).test((await shell('vine node ls')).out), {
    deadlineMs: 20_000,
    what: `${name} to be Down`,
  })
}

/** A port that is free, as far as anybody can know. */
async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const bound = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof bound === 'object' && bound !== null ? bound.port : 0
}
