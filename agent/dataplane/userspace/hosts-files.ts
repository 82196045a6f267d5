/**
 * An /etc/hosts for each task that can have its own: the names of its networks with the addresses by which it reaches them, before what the
 * machine's own file says. A task is a program of this machine, and finds there what it finds without us.
 *
 * Overwritten in place by one write, then cut to length: a bind mount over /etc/hosts holds this very file, so a new one renamed over it
 * would never be seen, and a file emptied first would be, by whoever reads at that moment.
 */
import { closeSync, constants, ftruncateSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { TaskId } from '../../../protocol/ids.ts'

export interface HostName {
  readonly name: string
  readonly address: string
}

/** Where the machine has no file, or one without these. */
const standard = '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n'

/** The text of a hosts file. A name of ours that the machine has too is the network's: resolvers take all lines of a name together (host.conf(5), multi). */
export function hostsText(names: readonly HostName[], machine: string): string {
  const ours = new Set(names.map(({ name }) => name))
  const kept = (/\slocalhost\b/.test(machine) ? machine : standard + machine).split('\n').flatMap((line) => {
    const [address, ...theirs] = line.replace(/#.*/, '').split(/\s+/).filter(Boolean)
    const left = theirs.filter((name) => !ours.has(name))
    return address === undefined || left.length === 0 ? [] : [`${address} ${left.join(' ')}\n`]
  })
  return [...names.map(({ name, address }) => `${address} ${name}\n`), ...kept].join('')
}

export interface TaskHosts {
  /** What its service asks for. */
  readonly lines: readonly string[]
  /** It is no program of this machine: the machine's own file says nothing to it. */
  readonly isContainer: boolean
}

export class HostsFiles {
  private readonly dir: string
  private readonly written = new Map<TaskId, string>()

  constructor(dir: string) {
    this.dir = dir
  }

  pathOf(task: TaskId): string {
    return join(this.dir, `${task}.hosts`)
  }

  /** Makes the file say this. A write that fails is tried again at the next change. */
  write(task: TaskId, names: readonly HostName[], own: TaskHosts): void {
    const text = hostsText(names, own.lines.join('\n') + (own.isContainer ? '' : `\n${machineHosts()}`))
    if (this.written.get(task) === text) return
    mkdirSync(this.dir, { recursive: true })
    overwrite(this.pathOf(task), Buffer.from(text))
    this.written.set(task, text)
  }

  remove(task: TaskId): void {
    this.written.delete(task)
    rmSync(this.pathOf(task), { force: true })
  }
}

function machineHosts(): string {
  try {
    return readFileSync('/etc/hosts', 'utf8')
  } catch {
    // A container without one.
    return ''
  }
}

function overwrite(path: string, bytes: Buffer): void {
  const file = openSync(path, constants.O_WRONLY | constants.O_CREAT, 0o644)
  try {
    writeSync(file, bytes, 0, bytes.length, 0)
    ftruncateSync(file, bytes.length)
  } finally {
    closeSync(file)
  }
}
