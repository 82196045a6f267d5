/**
 * An /etc/hosts for each task that can have its own: the names of its networks with the addresses by which it reaches them.
 *
 * Overwritten in place by one write, then cut to length: a bind mount over /etc/hosts holds this very file, so a new one renamed over it
 * would never be seen, and a file emptied first would be, by whoever reads at that moment.
 */
import { closeSync, constants, ftruncateSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { TaskId } from '../../../protocol/ids.ts'

export interface HostName {
  readonly name: string
  readonly address: string
}

const head = '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n'

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
  write(task: TaskId, names: readonly HostName[]): void {
    const text = head + names.map(({ name, address }) => `${address} ${name}\n`).join('')
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

function overwrite(path: string, bytes: Buffer): void {
  const file = openSync(path, constants.O_WRONLY | constants.O_CREAT, 0o644)
  try {
    writeSync(file, bytes, 0, bytes.length, 0)
    ftruncateSync(file, bytes.length)
  } finally {
    closeSync(file)
  }
}
