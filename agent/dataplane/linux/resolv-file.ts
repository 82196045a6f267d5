/** The resolv.conf of each task, to be bound over that of the machine: the resolver is where Docker's containers find theirs. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TaskId } from '../../../protocol/ids.ts'
import type { AttachRequest } from '../../world.ts'

/** Returns its path. */
export function writeResolvFile(dir: string, { task, resolv }: AttachRequest): string {
  mkdirSync(dir, { recursive: true })
  writeFileSync(pathOf(dir, task), resolvConf(resolv))
  return pathOf(dir, task)
}

export function removeResolvFile(dir: string, task: TaskId): void {
  rmSync(pathOf(dir, task), { force: true })
}

/** One server, and dots mean nothing: a short name is asked as it is (Docker's file in a container). */
function resolvConf({ search, options }: NonNullable<AttachRequest['resolv']> = { search: [], options: [] }): string {
  const searched = search.length === 0 ? '' : `search ${search.join(' ')}\n`
  return `nameserver 127.0.0.11\n${searched}options ${['ndots:0', ...options].join(' ')}\n`
}

function pathOf(dir: string, task: TaskId): string {
  return join(dir, `${task}.resolv`)
}
