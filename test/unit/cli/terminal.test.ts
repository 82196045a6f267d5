// `vine top` gives the terminal back however it ends. A real terminal: script(1) makes one, and the shell in it tells its settings after.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { needs } from '../../needs.ts'
import { root } from '../../tidy/source.ts'
import { until } from '../../until.ts'
import { lists } from './cluster.ts'
import { type Answer, type FakeAgent, fakeAgent } from './fake-agent.ts'

const answers: Readonly<Record<string, Answer>> = {
  ...lists,
  'GET /grapevine/status': { well: true, summary: 'All is well: 3 nodes', problems: [], notes: [] },
  'GET /grapevine/flows': [],
  'GET /grapevine/events': () => ({ status: 200, bytes: Buffer.alloc(0) }),
}
const folder = mkdtempSync(join(tmpdir(), 'vine-top-'))
let agent: FakeAgent
beforeAll(async () => {
  agent = await fakeAgent(answers)
})
afterAll(async () => {
  await agent.close()
  rmSync(folder, { recursive: true, force: true })
})

const otherScreen = '\u001b[?1049h'
const ownScreen = '\u001b[?25h\u001b[?1049l'

interface Ended {
  /** All that the terminal was sent. */
  readonly text: string
  /** What came after the screen was given back. */
  readonly after: string
}

/** Runs top in a terminal, ends it when it draws, and resolves when the shell around it has told how the terminal is set. */
async function runTop(end: (pid: number) => void, env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const line = `stty cols 80 rows 24; sh -c 'echo PID=$$; exec "${root}/bin/vine" top'; echo CODE=$?; stty -a; echo DONE`
  const terminal = spawn(needs('script'), ['-q', '-e', '-c', line, '/dev/null'], {
    env: { ...process.env, TERM: 'xterm', VINE_SOCKET: agent.socket, ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  let text = ''
  terminal.stdout.on('data', (chunk) => {
    text += chunk
  })
  try {
    const draws = () => text.includes(otherScreen) && text.includes('q quit')
    await until(draws, { deadlineMs: 8_000, everyMs: 50, what: 'top to draw' })
    end(Number(/PID=(\d+)/.exec(text)?.[1]))
    await until(() => text.includes('DONE'), { deadlineMs: 8_000, everyMs: 50, what: 'top to end' })
  } finally {
    // What runs in the terminal ends with it.
    terminal.kill('SIGKILL')
  }
  const at = text.lastIndexOf(ownScreen)
  return { text, after: at < 0 ? '' : text.slice(at + ownScreen.length) }
}

/** Lines are gathered and shown as they are typed. */
const ordinary = /(^|[\s;])icanon[\s\S]*(^|[\s;])echo[\s;]/

test('top gives the terminal back when SIGTERM ends it', async () => {
  const { after } = await runTop((pid) => process.kill(pid, 'SIGTERM'))
  expect(after).toContain('CODE=0')
  expect(after).toMatch(ordinary)
})

test('top gives the terminal back when it breaks, and its last words are to be read', async () => {
  const crash = join(folder, 'crash.mjs')
  writeFileSync(crash, "process.on('SIGUSR2', () => { throw new Error('it broke') })")
  const { after } = await runTop((pid) => process.kill(pid, 'SIGUSR2'), { NODE_OPTIONS: `--import=${crash}` })
  expect(after).toContain('it broke')
  expect(after).toContain('CODE=1')
  expect(after).toMatch(ordinary)
})
