// Docker's own client against an agent, as a person at a shell has it: what it prints is what is looked at.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { needs } from '../needs.ts'
import type { Ran } from './cluster.ts'

export interface DockerOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string
  readonly cwd?: string
}

export interface DockerCli {
  /** Runs `docker` with words and returns what it said, whatever its exit code. */
  run(words: readonly string[], options?: DockerOptions): Promise<Ran>
  /** Like `run`, and fails unless the exit code is 0. Returns stdout without the last line's end. */
  ok(...words: readonly string[]): Promise<string>
}

/** Called in a test: ends it where there is no client. `dir` takes the client's settings. */
export function dockerOf(socket: string, dir: string): DockerCli {
  const program = needs('docker')
  const { PATH = '/usr/bin:/bin' } = process.env
  const run: DockerCli['run'] = (words, { env = {}, input = '', cwd = dir } = {}) =>
    new Promise((resolve, reject) => {
      const child = spawn(program, words, {
        cwd,
        env: { PATH, HOME: dir, DOCKER_CONFIG: join(dir, 'docker-config'), DOCKER_HOST: `unix://${socket}`, ...env },
      })
      const said = { out: '', err: '' }
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        said.out += text
      })
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        said.err += text
      })
      child.stdin.on('error', () => {})
      child.on('error', reject)
      child.on('close', (code) => resolve({ code: code ?? -1, ...said }))
      child.stdin.end(input)
    })
  return {
    run,
    async ok(...words) {
      const ran = await run(words)
      if (ran.code !== 0) throw new Error(`docker ${words.join(' ')} ended with ${ran.code}: ${ran.out}${ran.err}`)
      return ran.out.trimEnd()
    },
  }
}

/** A table as its rows of words; cells are parted by two spaces or more. */
export function rowsOf(table: string): readonly (readonly string[])[] {
  return table.split('\n').map((line) => line.trim().split(/\s{2,}/))
}
