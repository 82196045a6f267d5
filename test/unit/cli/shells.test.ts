// The completion scripts in the shells that they are for, each with the real `vine` asking an agent.
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { needs } from '../../needs.ts'
import { root } from '../../tidy/source.ts'
import { lists } from './cluster.ts'
import { type FakeAgent, fakeAgent } from './fake-agent.ts'

const home = mkdtempSync(join(tmpdir(), 'vine-shells-'))
let agent: FakeAgent
beforeAll(async () => {
  agent = await fakeAgent(lists)
  writeFileSync(join(home, 'settings.yaml'), '')
})
afterAll(async () => {
  await agent.close()
  rmSync(home, { recursive: true, force: true })
})

/** What a script printed. It has 20 s, for a machine that does much else. */
function run(shell: string, words: readonly string[]): Promise<string> {
  const env = {
    HOME: home,
    PATH: `${join(root, 'bin')}:${process.env.PATH}`,
    VINE_SOCKET: agent.socket,
    NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
    TERM: 'xterm',
  }
  return new Promise((resolve, reject) => {
    execFile(shell, words, { env, cwd: home, timeout: 20_000 }, (error, out, err) => {
      if (error === null) resolve(out)
      else reject(new Error(`${error.message}\n${out}${err}`))
    })
  })
}

const lines = (text: string) => text.split('\n').filter((line) => line !== '')

test('bash completes commands, names and values after an equals sign', async () => {
  const asked = async (...words: readonly string[]) => {
    const quoted = words.map((word) => `'${word}'`).join(' ')
    const script = `source <(vine completion bash); COMP_WORDS=(vine ${quoted}); COMP_CWORD=${words.length}; _vine 2>/dev/null; printf '%s\\n' "\${COMPREPLY[@]}"`
    return lines(await run(needs('bash'), ['--norc', '-c', script]))
  }
  expect(await asked('serv')).toEqual(['service'])
  expect(await asked('service', 'rm', 'wa')).toEqual(['watch'])
  expect(await asked('service', 'create', '--network', '=', 'b')).toEqual(['backend'])
})

test('zsh completes a flag, a name and a file at its prompt', async () => {
  const script = `
    zmodload zsh/zpty
    zpty z zsh -f -i
    zpty -w z "unsetopt prompt_sp; autoload -U compinit; compinit -u -D; source <(vine completion zsh); print DO''NE"
    zpty -r -m z out '*DONE*'
    zpty -w -n z $'vine service create --net\\tback\\t'
    zpty -r -m z out '*--network*backend*'
    zpty -w -n z $'\\C-uvine service scale wat\\t5'
    zpty -r -m z out '*watch=5*'
    zpty -w -n z $'\\C-uvine agent --config sett\\t'
    zpty -r -m z out '*settings.yaml*'
    zpty -d z
    print complete`
  expect(await run(needs('zsh'), ['-f', '-c', script])).toBe('complete\n')
})

test('fish completes commands with what they are, names, and files where nothing else fits', async () => {
  const fish = needs('fish')
  const folder = join(home, '.config', 'fish', 'completions')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'vine.fish'), await run(join(root, 'bin', 'vine'), ['completion', 'fish']))
  const asked = async (line: string) => lines(await run(fish, ['-c', `complete -C '${line}'`]))
  expect(await asked('vine why')).toEqual(['why\tTell where each task runs and why there'])
  expect(await asked('vine service rm wa')).toEqual(['watch\tsleep'])
  expect(await asked('vine service create --network=b')).toEqual(['--network=backend\toverlay network'])
  expect((await asked('vine agent --config sett')).map((line) => line.split('\t')[0])).toEqual(['settings.yaml'])
})
