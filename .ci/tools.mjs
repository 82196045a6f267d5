// The foreign programs that tests lean on (test/tools.json), installed with Debian's apt in CI, where a missing one is a failure.
// Plain JavaScript for Node 20, like setup.mjs. Elsewhere nothing is installed: test/needs.ts says what a test lacks.
import { spawn } from 'node:child_process'
import { accessSync, constants, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { eachLine, ended, progress, SetupError, say, seconds } from './speak.mjs'

/** Installs what is missing; throws when something still is afterwards. */
export async function installTools(root) {
  const tools = JSON.parse(readFileSync(join(root, 'test', 'tools.json'), 'utf8'))
  const missing = () => Object.keys(tools).filter((tool) => !found(tool))
  if (missing().length === 0) return
  const packages = [...new Set(missing().map((tool) => tools[tool]))]
  const started = Date.now()
  say(`Installing with apt, because CI=true and tests need them: ${packages.join(' ')}`)
  const sudo = process.getuid() === 0 ? [] : ['sudo', '-n', 'DEBIAN_FRONTEND=noninteractive']
  for (const args of [['update'], ['install', '-y', '--no-install-recommends', ...packages]]) {
    const [command, ...rest] = [...sudo, 'apt-get', ...args]
    const apt = spawn(command, rest, {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const lines = []
    eachLine(apt, (line) => lines.push(line))
    const shown = progress(() => `apt-get ${args[0]}, ${seconds(started)} s: ${(lines.at(-1) ?? '').slice(0, 70)}`)
    const end = await ended(apt)
    shown.stop()
    // A mirror that did not answer may still leave lists good enough to install from: what counts is what is there at the end.
    if (end !== undefined) say(`apt-get ${args[0]} ${end}\n${lines.slice(-8).join('\n')}`)
  }
  const still = missing()
  if (still.length > 0) {
    throw new SetupError(
      `these programs are missing, and CI must have them: ${still.join(', ')}`,
      `Install them in the image: apt-get install ${still.map((tool) => tools[tool]).join(' ')}`,
    )
  }
}

function found(tool) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/local/sbin', '/usr/lib']
  return folders.some((folder) => {
    try {
      accessSync(join(folder, tool), constants.X_OK)
      return folder !== ''
    } catch {
      return false
    }
  })
}
