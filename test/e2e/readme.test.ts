// Every command of README works as it stands, in its order, on three agents. Only what belongs to a reader's machine is replaced: addresses,
// data directories, the token; and the power of the third machine is cut by ending everything on it.
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { root } from '../tidy/source.ts'
import { until } from '../until.ts'
import { type Agent, createCluster, see, tokenOf } from './cluster.ts'

const readme = readFileSync(join(root, 'README.md'), 'utf8')
const blocks = Array.from(readme.matchAll(/^```sh\n([\s\S]*?)^```$/gm), ([, text = '']) => text.trimEnd())
/** A screen that stays until a key is pressed has a test of its own; here one picture of it is enough. */
const once = new Map([['vine top', 'vine top --once']])
/** What a reader is told to see. */
const answers: readonly (readonly [RegExp, RegExp])[] = [
  [/^curl /, /^n[123]$/],
  [/^vine service logs .* caller/, /hello from the api/],
  [/^vine resolve /, /127\./],
]
/** Flags that say where an agent is on its machine. */
const placed = /^--(name|listen|address|data-dir|socket|join|token)$/

test('every command of README works, in its order', async () => {
  const { agents } = await createCluster({ nodes: 3, started: false })
  const [n1, n2, n3] = agents
  const joining = [n2, n3]
  for (const block of blocks.filter((text) => !text.startsWith('npm '))) {
    if (block === 'vine agent') await n1.start()
    else if (block.startsWith('vine agent ')) await joins(block, joining.shift(), n1)
    else if (block.startsWith('sudo poweroff')) await losePower(n3, [n1, n2])
    else {
      if (joining.length === 0 && n3.isRunning()) await see(agents, agents)
      await run(once.get(block) ?? block, agents)
    }
  }
  expect(n1.isRunning() && n2.isRunning()).toBe(true)
}, 180_000)

test('README names the two commands that npm knows', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const named = Array.from(readme.matchAll(/\bnpm (?:run )?(?:-\w+ )*([a-z]+)\b/g), ([, name]) => name)
  expect(named).toEqual(expect.arrayContaining(['demo', 'test']))
  for (const name of named) expect(Object.keys(scripts)).toContain(name)
})

/** An agent that joins as README says, at the place that the harness gives it. */
async function joins(line: string, agent: Agent | undefined, first: Agent): Promise<void> {
  expect(agent, 'README starts three agents').toBeDefined()
  const words = line.split(' ').slice(2)
  const flags = words.filter((word) => word.startsWith('--'))
  expect(flags).toEqual(expect.arrayContaining(['--join', '--token']))
  expect(flags.filter((flag) => !placed.test(flag))).toEqual([])
  await agent?.start({ join: [first], token: await tokenOf(first) })
}

async function losePower(lost: Agent, survivors: readonly Agent[]): Promise<void> {
  await lost.killNode()
  await see(survivors, survivors)
}

/** A block of README in a shell, asking the first agent. It is tried until it holds: a reader types more slowly than tasks start. */
async function run(block: string, agents: readonly Agent[]): Promise<void> {
  const line = agents.reduce((text, { address }, i) => text.replaceAll(`192.0.2.${i + 1}`, address), block)
  const env = {
    PATH: `${join(root, 'bin')}:${process.env.PATH}`,
    HOME: process.env.HOME ?? '/',
    VINE_SOCKET: agents[0]?.socket ?? '',
  }
  for (const command of commands(line)) {
    const ran = async () => {
      const { code, text } = await shell(command, env)
      // These tell how it is, and end with 1 when it is not well.
      const allowed = /^vine (status|doctor)/.test(command) ? [0, 1] : [0]
      const [, says] = answers.find(([pattern]) => pattern.test(command)) ?? []
      const holds = allowed.includes(code) && (says?.test(text.trim()) ?? true)
      return holds || Promise.reject(new Error(`"${command}" ended with ${code}: ${text}`))
    }
    // What changes something is typed once; what looks may come a moment too early.
    if (/ (create|rm|scale|update) /.test(command)) await ran()
    else await until(ran, { deadlineMs: 10_000, everyMs: 300, what: command })
  }
}

/** The commands of a block; one goes on over lines that are indented. */
function commands(block: string): readonly string[] {
  return block.split(/\n(?! )/)
}

function shell(command: string, env: NodeJS.ProcessEnv): Promise<{ readonly code: number; readonly text: string }> {
  return new Promise((resolve) => {
    execFile('bash', ['-c', command.replace(/^curl /, 'curl -sS ')], { env, timeout: 60_000 }, (error, out, err) => {
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, text: out + err })
    })
  })
}
