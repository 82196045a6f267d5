// Which foreign programs a test leans on. In CI (CI=true) every one of them must be there, so a missing one fails the test;
// on a developer's machine the test is reported as skipped, with the command that installs the program, and test/run.ts lists
// these sentences at its end. test/tools.json names each program and its Debian package; .ci/setup.mjs installs them in CI.
import { spawnSync } from 'node:child_process'
import { accessSync, constants, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { TestRunner } from 'vitest'

declare module 'vitest' {
  interface TaskMeta {
    /** The sentence of needs(), for the list that test/run.ts prints. */
    needs?: string
  }
}

/** Debian keeps servers and kernel tools in sbin, which is not on an ordinary user's PATH, and examples of libraries below lib. */
const SBIN = ['/usr/sbin', '/sbin', '/usr/local/sbin', '/usr/lib']

/**
 * Called first in a test: `const dig = needs('dig')`. Returns the program's absolute path, or ends the test: as a failure in
 * CI, as skipped elsewhere.
 */
export function needs(tool: string): string {
  return find(tool) ?? lack(`needs ${tool}: apt install ${packageOf(tool)}`)
}

/** Words before a command that give it a mount namespace in which it may mount: as root, or where users may have namespaces of their own. */
export function needsMounts(): readonly string[] {
  const words = [needs('unshare'), ...(process.getuid?.() === 0 ? ['-m'] : ['-U', '-r', '-m'])]
  const [command = '', ...args] = words
  const tried = spawnSync(command, [...args, 'mount', '-t', 'tmpfs', 'none', '/mnt'])
  return tried.status === 0 ? words : lack('needs a mount namespace: run the tests as root')
}

/** Words before a command that give it networks, mounts, processes and a host name of its own, all of which end with the command. */
export function needsMachines(): readonly string[] {
  const users = process.getuid?.() === 0 ? [] : ['-U', '-r']
  const words = [needs('unshare'), ...users, '-n', '-m', '-p', '-u', '--fork', '--kill-child', '--mount-proc']
  const [command = '', ...args] = words
  const tried = spawnSync(command, [...args, needs('ip'), 'link', 'add', 'name', 'trial', 'type', 'bridge'])
  return tried.status === 0
    ? words
    : lack('needs network namespaces: run the tests as root, in a container as --privileged')
}

function lack(sentence: string): never {
  if (process.env.CI === 'true') throw new Error(sentence)
  const test = TestRunner.getCurrentTest()
  if (test === undefined) throw new Error(`asked outside of a test: ${sentence}`)
  test.meta.needs = sentence
  return test.context.skip(sentence)
}

function find(tool: string): string | undefined {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), ...SBIN]) {
    if (folder === '') continue
    const path = join(folder, tool)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // Not in this folder: the next one decides.
    }
  }
  return undefined
}

function packageOf(tool: string): string {
  const packages: Readonly<Record<string, string>> = JSON.parse(
    readFileSync(join(import.meta.dirname, 'tools.json'), 'utf8'),
  )
  const name = packages[tool]
  if (name === undefined) throw new Error(`${tool} is missing in test/tools.json`)
  return name
}
