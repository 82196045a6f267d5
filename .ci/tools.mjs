// The foreign programs that tests lean on (test/tools.json), installed with Debian's apt in CI, where a missing one is a failure.
// Plain JavaScript for Node 20, like setup.mjs. Elsewhere nothing is installed: test/needs.ts says what a test lacks.
import { spawn } from 'node:child_process'
import { accessSync, constants, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { eachLine, ended, progress, SetupError, say, seconds } from './speak.mjs'

/** Servers among them (a registry, haproxy) are for tests to start, in namespaces: policy-rc.d keeps packages from starting them on this machine. */
const quietly = `
  policy=/usr/sbin/policy-rc.d; made=
  [ -e $policy ] || { printf '#!/bin/sh\\nexit 101\\n' > $policy && chmod +x $policy && made=yes; }
  apt-get "$@"; code=$?
  [ -z "$made" ] || rm $policy
  exit $code`

/** Installs what is missing; throws when something still is afterwards. */
export async function installTools(root) {
  const tools = JSON.parse(readFileSync(join(root, 'test', 'tools.json'), 'utf8'))
  const missing = () => Object.keys(tools).filter((tool) => !found(tool))
  if (missing().length === 0) return
  const packages = [...new Set(missing().map((tool) => tools[tool]))]
  const started = Date.now()
  say(`Installing with apt, because CI=true and tests need them: ${packages.join(' ')}`)
  const sudo = process.getuid() === 0 ? [] : ['sudo', '-n', 'DEBIAN_FRONTEND=noninteractive']
  const install = ['sh', '-c', quietly, 'sh', 'install', '-y', '--no-install-recommends', ...packages]
  for (const args of [['apt-get', 'update'], install]) {
    const [command, ...rest] = [...sudo, ...args]
    const apt = spawn(command, rest, {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const lines = []
    eachLine(apt, (line) => lines.push(line))
    const what = args === install ? 'install' : 'update'
    const shown = progress(() => `apt-get ${what}, ${seconds(started)} s: ${(lines.at(-1) ?? '').slice(0, 70)}`)
    const end = await ended(apt)
    shown.stop()
    // A mirror that did not answer may still leave lists good enough to install from: what counts is what is there at the end.
    if (end !== undefined) say(`apt-get ${what} ${end}\n${lines.slice(-8).join('\n')}`)
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
