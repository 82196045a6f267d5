/**
 * Starts one shim and waits until it has said who its program is. From then on the program runs whatever happens to the agent. Rejects when the
 * shim ends, or says nothing in time; then no process is left.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'
import { fault, reasonOf } from '../../fault.ts'
import type { Clock } from '../../world.ts'
import { type Privacy, shimPrefix, TOOLS_PATH } from './namespace.ts'
import { parseRunning, type Running } from './proc.ts'
import { requireTool } from './program.ts'

export interface Launching {
  readonly taskDir: string
  readonly exitFile: string
  readonly hostsFile: string | undefined
  readonly resolvFile: string | undefined
  readonly netns: string | undefined
  readonly privacy: Privacy
}

export interface Launched {
  readonly shim: ChildProcess
  readonly running: Running
  /** Whether the program has all the files of its own that it should: /etc/hosts, /etc/resolv.conf. */
  readonly ownFiles: boolean
}

const SHIM = fileURLToPath(new URL('./shim.sh', import.meta.url))

/** 10 s: a shim speaks within 10 ms; a host on which it takes this long starts nothing useful. */
const HANDSHAKE_MS = 10_000

export function launch(launching: Launching, clock: Clock): Promise<Launched> {
  const { privacy, netns, exitFile, hostsFile = '', resolvFile = '' } = launching
  const [program = '', ...args] = [
    ...shimPrefix(privacy, netns),
    requireTool('sh', 'to start a task'),
    ...[SHIM, exitFile, ...(privacy === 'none' ? ['', ''] : [hostsFile, resolvFile])],
  ]
  return new Promise((resolve, reject) => {
    const shim = begin(program, args, launching.taskDir)
    const line = shim.stdio[3]
    let said = ''
    let over = false
    const cancel = clock.after(HANDSHAKE_MS, () => refuse('its shim did not answer'))
    shim.once('error', (error) => refuse(reasonOf(error)))
    // 'close' and not 'exit': what it said before it ended has then been read.
    shim.once('close', () => refuse('its shim ended before the program began'))
    line?.on('error', () => refuse('its shim was cut off'))
    line?.on('data', (bytes: Buffer) => {
      said += bytes.toString('latin1')
      const running = said.endsWith('\n') ? parseRunning(said) : undefined
      if (running === undefined || over) return
      finish()
      shim.unref()
      resolve({ shim, running, ownFiles: said.trimEnd().endsWith(' yes') })
    })

    function refuse(why: string): void {
      if (over) return
      finish()
      if (shim.pid !== undefined) killGroup(shim.pid)
      reject(fault('unavailable', `The task cannot be started: ${why}`, 'See whether the disk is full: df -h'))
    }

    function finish(): void {
      over = true
      cancel()
      line?.destroy()
    }
  })
}

function begin(program: string, args: readonly string[], cwd: string): ChildProcess {
  try {
    // A session of its own: no terminal signal and no signal to the agent's group reaches it.
    return spawn(program, args, {
      cwd,
      env: { PATH: TOOLS_PATH },
      detached: true,
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    })
  } catch (error) {
    throw fault('unavailable', `The task cannot be started: ${reasonOf(error)}`, undefined, error)
  }
}

/** The shim and, until its setsid, the program. */
function killGroup(pid: number): void {
  try {
    process.kill(-pid, constants.signals.SIGKILL)
  } catch {
    // ESRCH: it has ended.
  }
}
