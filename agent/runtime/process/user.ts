/**
 * Decides who a task runs as: Docker's `name|uid[:group|gid]`, looked up in this host's passwd and group files.
 *
 * Only an agent that is root can give a task another user. A number without an entry is allowed, as in Docker, with group 0 and home `/`.
 */
import { fault } from '../../fault.ts'

export interface Identity {
  readonly uid: number
  readonly gid: number
  /** Supplementary groups, ascending. */
  readonly groups: readonly number[]
  readonly home: string
}

/** Texts of /etc/passwd and /etc/group. */
export interface Accounts {
  readonly passwd: string
  readonly group: string
}

/** Throws a Fault 'invalid' for a user or group that does not exist here. */
export function identityOf(user: string, accounts: Accounts): Identity {
  const [name = '', group, ...rest] = user.split(':')
  if (name === '' || group === '' || rest.length > 0) {
    throw fault('invalid', `User "${user}" is not of the form name|uid[:group|gid]`)
  }
  const entry = rows(accounts.passwd).find((row) => row[0] === name || row[2] === name)
  const uid = number(entry?.[2]) ?? number(name)
  if (uid === undefined)
    throw fault('invalid', `User "${name}" does not exist on this node`, 'Create it, or give a number')
  const gid = group === undefined ? (number(entry?.[3]) ?? 0) : groupId(group, accounts.group)
  return {
    uid,
    gid,
    groups: group === undefined && entry !== undefined ? groupsOf(entry[0] ?? '', accounts.group) : [],
    home: entry?.[5] || '/',
  }
}

function groupId(name: string, groupFile: string): number {
  const entry = rows(groupFile).find((row) => row[0] === name || row[2] === name)
  const gid = number(entry?.[2]) ?? number(name)
  if (gid === undefined)
    throw fault('invalid', `Group "${name}" does not exist on this node`, 'Create it, or give a number')
  return gid
}

function groupsOf(user: string, groupFile: string): readonly number[] {
  return rows(groupFile)
    .filter((row) => row[3]?.split(',').includes(user))
    .map((row) => number(row[2]))
    .filter((gid) => gid !== undefined)
    .sort((a, b) => a - b)
}

function rows(file: string): readonly (readonly string[])[] {
  return file.split('\n').map((line) => line.split(':'))
}

/** 32 bits: what the kernel takes, without its "unchanged" value. */
function number(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined
  const value = Number(text)
  return value < 0xffff_ffff ? value : undefined
}
