/**
 * What /proc says: whether a process is still the one that we started.
 *
 * A pid alone proves nothing, since numbers are used again; pid, start time and boot id together name one process for ever
 * (proc(5): field 22 of stat, in ticks after boot).
 */
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { fault } from '../../fault.ts'

/** Who a task is to the kernel, as its shim wrote it down before the program began. */
export interface Running {
  readonly pid: number
  readonly startTicks: number
  /** The shim, which is its parent. */
  readonly shim: number
  readonly boot: string
}

/** Reads the shim's line `pid ticks shim boot-id`, or undefined when it is not one. */
export function parseRunning(text: string): Running | undefined {
  const found = /^(\d{1,10}) (\d{1,20}) (\d{1,10}) ([0-9a-f-]{36})\b/.exec(text)
  if (found === null) return undefined
  const [, pid, ticks, shim, boot] = found
  if (Number(pid) < 2 || Number(shim) < 2) return undefined
  return { pid: Number(pid), startTicks: Number(ticks), shim: Number(shim), boot: boot ?? '' }
}

export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
}

/** Whether the program runs. A zombie has ended: its shim is about to say how. */
export function isAlive(running: Running): boolean {
  const stat = statOf(running.pid)
  return stat !== undefined && stat.startTicks === running.startTicks && stat.state !== 'Z' && stat.state !== 'X'
}

/** Whether the shim still stands there. Its number may have been used again, so it must also be an elder of the program. */
export function isShimAlive(running: Running): boolean {
  const stat = statOf(running.shim)
  return stat !== undefined && stat.startTicks <= running.startTicks && stat.state !== 'Z' && stat.state !== 'X'
}

function statOf(pid: number): { readonly state: string; readonly startTicks: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { state: fields[0] ?? '', startTicks: Number(fields[19]) }
  } catch {
    // No such process, or it went while we read.
    return undefined
  }
}

/**
 * Signals the whole group of a running program; false when it has ended. In the millisecond before setsid has made the group, the program
 * alone is signalled.
 */
export function signalGroup(running: Running, signal: number): boolean {
  if (!isAlive(running)) return false
  return send(-running.pid, signal) || send(running.pid, signal)
}

/** Kills what is left of the group of a program that has ended. Its number cannot have gone to another program while a member lives. */
export function killRemains(running: Running): void {
  if (statOf(running.pid) === undefined) send(-running.pid, constants.signals.SIGKILL)
}

function send(target: number, signal: number): boolean {
  try {
    process.kill(target, signal)
    return true
  } catch {
    // ESRCH: gone, or no such group yet. EPERM cannot be: we started it.
    return false
  }
}

/** `SIGTERM`, `term`, `15`, `SIGRTMIN+3`. Throws a Fault 'invalid'. */
export function signalNumber(name: string): number {
  const text = name.toUpperCase()
  const full = text.startsWith('SIG') ? text : `SIG${text}`
  const known = (constants.signals as Readonly<Record<string, number>>)[full]
  if (known !== undefined) return known
  const realTime = /^SIGRTMIN(?:\+(\d{1,2}))?$/.exec(full)
  // 34: the first that glibc leaves to programs; systemd-like programs stop on SIGRTMIN+3.
  const number = realTime === null ? Number(/^\d{1,2}$/.exec(text)?.[0]) : 34 + Number(realTime[1] ?? 0)
  if (number >= 1 && number <= 64) return number
  throw fault('invalid', `"${name}" is not a signal`, 'Give a name such as SIGTERM, or a number')
}

/** The signal that an exit status of a shell tells of, or undefined. A program may also exit with such a number by itself. */
export function signalOfStatus(status: number): string | undefined {
  if (status <= 128) return undefined
  const entry = Object.entries(constants.signals).find(([, number]) => number === status - 128)
  return entry?.[0]
}
