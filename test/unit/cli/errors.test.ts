// What a wrong command line, a missing agent and a refusal of the agent look like, and with which code they end.
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { lists } from './cluster.ts'
import { type FakeAgent, fakeAgent } from './fake-agent.ts'
import { vine } from './vine.ts'

const nobody = { env: { VINE_SOCKET: '/tmp/no-such-directory/vine.sock' } }
let agent: FakeAgent | undefined
afterEach(async () => {
  await agent?.close()
  agent = undefined
})

describe('without an agent', () => {
  test('a command says so in two lines and ends with 1', async () => {
    expect(await vine(['service', 'ls'], nobody)).toEqual({
      code: 1,
      out: '',
      err: 'No agent answers at unix:///tmp/no-such-directory/vine.sock\nStart one with: vine agent\n',
    })
  })

  test('status ends with 2', async () => {
    expect((await vine(['status'], nobody)).code).toBe(2)
  })

  test('several names are told of once', async () => {
    const { err } = await vine(['service', 'rm', 'a', 'b', 'c'], nobody)
    expect(err.split('\n')).toHaveLength(3)
  })

  test('--socket wins over VINE_SOCKET, and may be written as a URL', async () => {
    const { err } = await vine(['service', 'ls', '--socket', 'unix:///tmp/other.sock'], nobody)
    expect(err).toContain('unix:///tmp/other.sock')
    expect((await vine(['--socket=/tmp/third.sock', 'service', 'ls'], nobody)).err).toContain('unix:///tmp/third.sock')
  })
})

describe('a wrong command line ends with 125', () => {
  test.each([
    [
      ['service', 'ls', '--fitler', 'x'],
      "unknown flag '--fitler' (did you mean --filter?)\nSee 'vine service ls --help'\n",
    ],
    [['servic'], "unknown command 'servic' (did you mean service?)\nSee 'vine --help'\n"],
    [['service', 'lss'], "unknown command 'lss' (did you mean ls?)\nSee 'vine service --help'\n"],
    [
      ['compose', 'up'],
      "unknown command 'compose'\nDeploy a Compose file with: vine stack deploy -c compose.yaml STACK\n",
    ],
    [['swarm', 'leave'], "unknown command 'swarm'\nA node leaves with: vine agent stop\n"],
    [
      ['--socket', '/x', 'node', 'promote', 'n1'],
      "unknown command 'promote'\nAll nodes are equal; there are no managers to make\n",
    ],
    [['service', 'rm'], "missing required argument 'service'\nSee 'vine service rm --help'\n"],
    [['service', 'create', '--secret', 'x', 'node'], undefined],
    [['service', 'create', '--update-parallelism=2', 'node'], undefined],
    [
      ['service', 'create', '--mode', 'replicated-job', 'node'],
      '--mode replicated-job is not supported: jobs are not supported yet; take --restart-condition none or on-failure\n',
    ],
    [['service', 'create', '--mode', 'x', 'node'], 'invalid value "x" for --mode\nIt is replicated or global\n'],
    [['service', 'create', '--detach=x', 'node'], 'invalid value "x" for --detach\nIt is true or false\n'],
    [['service', 'create', '--mode', 'global', '--replicas', '2', 'node'], undefined],
    [['service', 'create', '--replicas', '-1', 'node'], undefined],
    [['service', 'create', '--publish', '8080:http', 'node'], undefined],
    [['service', 'create', '--restart-delay', '5', 'node'], undefined],
    [['service', 'create', '--env-file', '/no/such/file', 'node'], undefined],
    [['service', 'update', '--rollback', 'web'], undefined],
    [['service', 'ls', '--filter', 'web'], undefined],
    [['service', 'ls', '--format', '{{if .ID}}x{{end}}'], undefined],
    [['service', 'scale', 'web'], undefined],
    [['service', 'logs', '--tail', 'few', 'web'], undefined],
    [['network', 'create', '--subnet', '10.0.0.0/24', '--aux-address', '10.0.0.5', 'x'], undefined],
    [['network', 'create', '--gateway', '10.0.0.1', 'x'], undefined],
    [['node', 'update', '--role', 'worker', 'self'], undefined],
    [['resolve', 'web'], undefined],
    [['completion', 'tcsh'], undefined],
  ])('vine %j', async (words, text) => {
    agent = await fakeAgent(lists)
    const { code, out, err } = await vine(words, { socket: agent.socket })
    expect({ code, out }).toEqual({ code: 125, out: '' })
    if (text !== undefined) expect(err).toBe(text)
    expect(err.trim()).not.toBe('')
    expect(agent.asked.filter(({ method }) => method !== 'GET')).toEqual([])
  })

  test("a flag of Docker's that is not there yet is refused with a sentence", async () => {
    const { err } = await vine(['service', 'create', '--rollback-order', 'start-first', 'node'], nobody)
    expect(err).toBe(
      '--rollback-order is not supported: updates are not rolled back yet; `vine service inspect` shows the previous spec\n',
    )
  })
})

describe('what the agent refuses', () => {
  test('is told as message and fix, and ends with 1', async () => {
    const body = {
      message: 'port 8080/tcp is published by service "web"',
      fix: 'Choose another port, or remove service "web"',
    }
    agent = await fakeAgent({ 'POST /services/create': () => ({ status: 409, body }) })
    expect(await vine(['service', 'create', '-p', '8080:80', 'node'], { socket: agent.socket })).toEqual({
      code: 1,
      out: '',
      err: `${body.message}\n${body.fix}\n`,
    })
  })

  test('an answer that is not JSON is shown as it is', async () => {
    agent = await fakeAgent({ 'GET /networks': () => ({ status: 500, bytes: Buffer.from('out of order\n') }) })
    expect((await vine(['network', 'ls'], { socket: agent.socket })).err).toBe('out of order\n')
  })

  test('warnings that come with an answer go to stderr, each once', async () => {
    const headers = { 'x-grapevine-warnings': encodeURIComponent(JSON.stringify(['held by this node only'])) }
    agent = await fakeAgent({
      'GET /nodes': () => ({ status: 200, body: [], headers }),
      'GET /info': () => ({ status: 200, body: {}, headers }),
    })
    expect((await vine(['node', 'ls'], { socket: agent.socket })).err).toBe('WARNING: held by this node only\n')
  })

  test('an agent that breaks off in the middle is told as that', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'vine-cut-'))
    const socket = join(directory, 'vine.sock')
    const server: Server = createServer((request) => {
      request.socket.destroy()
    })
    await new Promise<void>((resolve) => server.listen(socket, resolve))
    try {
      const { code, err } = await vine(['service', 'ls'], { socket })
      expect(code).toBe(1)
      expect(err).toContain('broke off')
    } finally {
      await new Promise((resolve) => server.close(resolve))
      rmSync(directory, { recursive: true })
    }
  })
})

describe('colour', () => {
  test('is for terminals only, and never against NO_COLOR', async () => {
    expect((await vine(['service', 'ls'], { ...nobody, terminal: true })).err).toContain('\u001b[31m')
    expect(
      (await vine(['service', 'ls'], { env: { ...nobody.env, NO_COLOR: '1' }, terminal: true })).err,
    ).not.toContain('\u001b')
  })
})
