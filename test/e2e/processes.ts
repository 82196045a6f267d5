/**
 * The processes that belong to a directory: agents and shims name it in their arguments, programs write their output below it.
 *
 * How a test ends a machine whole, and how it proves that nothing was left behind. Reads /proc only.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** Pids of all processes that work for the directory, agents included. */
export function processesOf(dir: string): readonly number[] {
  const below = `${dir}/`
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && pid !== process.pid && (namesIt(pid, dir) || writesTo(pid, below)))
}

/** Sends a signal to a process that may be gone. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // Gone already.
  }
}

/** Whether a process runs; a zombie does not. */
export function isAlive(pid: number): boolean {
  try {
    if (!/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))) return true
    // The first thread may be gone while others still hold its sockets open: descriptors end with the last one.
    return readdirSync(`/proc/${pid}/task`).length > 1
  } catch {
    return false
  }
}

function namesIt(pid: number, dir: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      .split('\0')
      .some((word) => word === dir || word.startsWith(`${dir}/`))
  } catch {
    // It ended while we looked.
    return false
  }
}

function writesTo(pid: number, below: string): boolean {
  return [1, 2].some((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith(below)
    } catch {
      // It ended while we looked, or is not ours to look into.
      return false
    }
  })
}
