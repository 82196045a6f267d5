// status, why, resolve, token, events, doctor, completion: what they print and how they end.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Facts, judge } from '../../../agent/cli/doctor/judge.ts'
import { lists, nodeId, now, web } from './cluster.ts'
import { type Answer, type FakeAgent, fakeAgent } from './fake-agent.ts'
import { vine } from './vine.ts'

const event = {
  atMs: now - 1000,
  type: 'node',
  action: 'dead',
  id: nodeId('n10'),
  name: 'n10',
  sentence: 'n10 dead: refused, confirmed by n2',
  attributes: {},
}
const answers: Readonly<Record<string, Answer>> = {
  ...lists,
  'GET /grapevine/status': { well: true, summary: 'All is well: 3 nodes', problems: [], notes: [] },
  'GET /grapevine/why/web': {
    service: web.ID,
    name: 'web',
    slots: [
      { slot: '1', node: nodeId('n2'), sentence: 'it runs on n2' },
      { slot: '2', sentence: 'no node fits' },
    ],
  },
  'GET /grapevine/resolve': ({ query }) => ({
    status: 200,
    body:
      query.name === 'web'
        ? {
            code: 'NOERROR',
            answers: query.type === 'A' ? [{ name: 'web', type: 'A', ttlSeconds: 5, data: '127.3.0.9' }] : [],
          }
        : { code: query.name === 'gone' ? 'NXDOMAIN' : 'SERVFAIL', answers: [] },
  }),
  'POST /grapevine/token': ({ body }) => ({
    status: 201,
    body: {
      token: 'secret',
      join: 'vine agent --join … --token secret',
      expires: body && Object.hasOwn(body, 'ttlMs') ? new Date(now + 3_600_000).toISOString() : null,
    },
  }),
  'GET /grapevine/events': () => ({
    status: 200,
    bytes: Buffer.from(`${JSON.stringify(event)}\n${JSON.stringify({ ...event, sentence: 'second' })}\n`),
  }),
  'GET /grapevine/doctor': [
    { check: 'clock', ok: true, sentence: '' },
    { check: 'disk', ok: false, sentence: 'It is full', fix: 'Free some' },
  ],
}

let agent: FakeAgent
beforeAll(async () => {
  agent = await fakeAgent(answers)
})
afterAll(() => agent.close())

function ask(...words: readonly string[]) {
  return vine(words, { socket: agent.socket })
}

describe('status', () => {
  test('is one line and 0 when all is well', async () => {
    expect(await ask('status')).toEqual({ code: 0, out: 'All is well: 3 nodes\n', err: '' })
  })

  test('is a sentence for each problem and 1 when not', async () => {
    const sick = await fakeAgent({
      'GET /grapevine/status': {
        well: false,
        summary: '',
        problems: ['Node n2 is down.', 'x'],
        notes: ['Node n3 is suspect.'],
      },
    })
    expect(await vine(['status'], { socket: sick.socket })).toMatchObject({
      code: 1,
      out: 'Node n2 is down.\nx\nNode n3 is suspect.\n',
    })
    await sick.close()
  })
})

test('why names nodes, and a dash where a slot has none', async () => {
  expect((await ask('why', 'web')).out).toBe(
    'SLOT      NODE      WHY\nweb.1     n2        it runs on n2\nweb.2     -         no node fits\n',
  )
})

describe('resolve', () => {
  test.each([
    [['web'], 0, 'web       5         A         127.3.0.9\n', ''],
    [['web', 'aaaa'], 2, '', 'web has no AAAA record for web.1.\n'],
    [['gone'], 2, '', 'There is no name gone for web.1.\n'],
    [['broken'], 1, '', 'The resolver of web.1 answered SERVFAIL for broken.\n'],
    [['127.3.0.9'], 1, '', 'The resolver of web.1 answered SERVFAIL for 9.0.3.127.in-addr.arpa.\n'],
    [['127.3.0.9', 'a'], 1, '', 'The resolver of web.1 answered SERVFAIL for 127.3.0.9.\n'],
  ])('%j ends with %d', async (words, code, out, err) => {
    expect(await ask('resolve', ...words, '--from', 'web.1')).toEqual({ code, out, err })
  })
})

describe('token', () => {
  test('prints the command to paste, or the token alone', async () => {
    expect((await ask('token', '--ttl', '1h')).out).toContain(
      '(the token admits for about an hour):\n\n    vine agent --join … --token secret\n',
    )
    expect(agent.asked.at(-1)?.body).toEqual({ ttlMs: 3_600_000 })
    expect(await ask('token', '--quiet')).toEqual({ code: 0, out: 'secret\n', err: '' })
    expect(agent.asked.at(-1)?.body).toEqual({})
  })
})

describe('events', () => {
  test('are a line each, with ISO times in --json', async () => {
    const { out } = await ask('events', '--since', '10m', '--until', 'now')
    expect(out.split('\n')).toHaveLength(3)
    expect(out).toContain('  node     n10 dead: refused, confirmed by n2\n')
    expect(agent.asked.at(-1)?.query).toEqual({
      since: ((now - 600_000) / 1000).toFixed(3),
      until: (now / 1000).toFixed(3),
    })
    const [first = ''] = (await ask('events', '--json')).out.split('\n')
    expect(JSON.parse(first)).toMatchObject({ at: new Date(event.atMs).toISOString(), sentence: event.sentence })
    expect((await ask('events', '--format', '{{.name}} {{.action}}')).out).toBe('n10 dead\nn10 dead\n')
  })
})

describe('doctor', () => {
  test("shows the agent's findings first, then those of the machine that it did not tell of", async () => {
    const { code, out } = await ask('doctor')
    expect(code).toBe(1)
    expect(out.startsWith('clock: ok\ndisk: It is full\n  Free some\nagent: ok\n')).toBe(true)
    expect(out.match(/^disk/gm)).toHaveLength(1)
  })

  test('works without an agent, and says that there is none', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'vine-doctor-'))
    const { out } = await vine(['doctor'], {
      env: { VINE_SOCKET: join(directory, 'vine.sock'), GRAPEVINE_DATA_DIR: directory },
    })
    rmSync(directory, { recursive: true })
    expect(out).toContain(`agent: none answers at unix://${directory}/vine.sock\n  Start one with: vine agent\n`)
    for (const check of ['ports', 'file limit', 'DNS port', 'disk', 'clock', 'leftovers'])
      expect(out).toMatch(new RegExp(`^${check}: `, 'm'))
  })

  const well: Facts = {
    agentRuns: false,
    socket: '/s',
    socketExists: false,
    dataDir: '/d',
    port: 7766,
    portError: undefined,
    meshError: undefined,
    dns: [{ port: 53, error: undefined }],
    filesMax: 1_000_000,
    disk: { freeBytes: 1e12, totalBytes: 1e12 },
    clockSynchronized: true,
    inKernel: [],
    orphans: [],
  }

  test.each([
    ['ports', { meshError: 'EADDRINUSE' }, 'port 7767, for the mesh, is taken by another program'],
    ['file limit', { filesMax: 1024 }, '1024 open files hold about 512 connections'],
    [
      'DNS port',
      {
        dns: [
          { port: 53, error: 'EACCES' },
          { port: 10053, error: 'EADDRINUSE' },
        ],
      },
      'port 53 needs root; port 10053 is taken by another program',
    ],
    ['disk', { disk: { freeBytes: 1024, totalBytes: 1e9 } }, '/d has 1KiB free'],
    [
      'leftovers',
      { inKernel: ['device vt0', 'namespace gv-1'] },
      'the kernel holds what no task needs: device vt0, namespace gv-1',
    ],
    ['leftovers', { orphans: [{ pid: 77, task: 't' }] }, '1 task runs without an agent (pid 77)'],
  ])('%s: a sentence and a fix', (check, facts, sentence) => {
    const wrong = judge({ ...well, ...facts }).filter(({ ok, check: name }) => !ok && name !== 'agent')
    expect(wrong).toEqual([{ check, ok: false, sentence, fix: expect.any(String) }])
  })

  test('DNS is fine when the second port is free', () => {
    const findings = judge({
      ...well,
      dns: [
        { port: 53, error: 'EACCES' },
        { port: 10053, error: undefined },
      ],
    })
    expect(findings.find(({ check }) => check === 'DNS port')).toEqual({
      check: 'DNS port',
      ok: true,
      sentence: '10053',
    })
  })
})

describe('completion', () => {
  const complete = async (...words: readonly string[]) =>
    (await ask('__complete', '--', ...words)).out.split('\n').flatMap((line) => line.split('\t')[0] || [])

  test.each([
    [['se'], ['service']],
    [['service', 'p'], ['ps']],
    [['service', 'create', '--net'], ['--network']],
    [['service', 'create', '--network', ''], ['backend']],
    [
      ['network', 'inspect', ''],
      ['backend', 'ingress'],
    ],
    [['service', 'create', '--mode', 'g'], ['global']],
    [
      ['service', 'rm', ''],
      ['web', 'watch'],
    ],
    [['service', 'rm', 'web', 'wa'], ['watch']],
    [
      ['service', 'inspect', 'web', ''],
      ['web', 'watch'],
    ],
    [['service', 'scale', 'we'], ['web=']],
    [['service', 'update', '--force', '--image', ''], []],
    [
      ['node', 'update', 'n1'],
      ['n1', 'n10'],
    ],
    [
      ['why', 'w'],
      ['web', 'watch'],
    ],
    [
      ['resolve', 'web', 'A', '--from', 'web.1'],
      ['web.10', 'web.1'],
    ],
    [
      ['completion', ''],
      ['bash', 'zsh', 'fish'],
    ],
    [
      ['why', '--json', 'w'],
      ['web', 'watch'],
    ],
    [['resolve', '--from', 'web.1', 'web', 'A', '--from', 'web.10'], ['web.10']],
    [['service', 'create', '--network=b'], ['--network=backend']],
    [['service', 'create', '--network', '=', 'b'], ['backend']],
    [['service', 'create', '--network', '='], ['backend']],
  ])('of %j', async (words, expected) => {
    expect(await complete(...words)).toEqual(expected)
  })

  test('asks the agent that the command line names', async () => {
    const words = ['__complete', '--', '--socket', agent.socket, 'service', 'rm', 'wa']
    expect((await vine(words, { socket: '/tmp/none.sock' })).out).toBe('watch\tsleep\n')
  })

  test('without an agent there are no names, and no errors', async () => {
    expect(await vine(['__complete', '--', 'service', 'rm', ''], { socket: '/tmp/none.sock' })).toEqual({
      code: 0,
      out: '',
      err: '',
    })
  })

  test.each(['bash', 'zsh', 'fish'])('the script for %s asks vine itself', async (shell) => {
    expect((await ask('completion', shell)).out).toContain('vine __complete')
  })
})
