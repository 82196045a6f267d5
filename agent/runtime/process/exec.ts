/**
 * Runs one command in the surroundings of a task: its environment, directory, user and mount namespace. For health checks, so it is bounded in
 * time and output, and its whole process group ends with it. A command that fails, or takes too long, is an answer and not an error.
 */
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { reasonOf } from '../../fault.ts'
import type { Clock } from '../../world.ts'

export interface Command {
  /** Prefix words first: nsenter, setpriv. */
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly dir: string
  readonly timeoutMs: number
}

export interface Outcome {
  /** As a shell counts; -1 when it took too long, as in Docker. */
  readonly code: number
  /** Both streams as they came, at most 4 KB. */
  readonly output: string
}

/** 4 KB: what Docker keeps of a health check's output. */
const OUTPUT_BYTES = 4096

export function runCommand(command: Command, clock: Clock): Promise<Outcome> {
  const [program = '', ...args] = command.argv
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    let kept = 0
    const output = () => Buffer.concat(chunks).toString('utf8')
    const keep = (chunk: Buffer) => {
      if (kept < OUTPUT_BYTES) chunks.push(chunk.subarray(0, OUTPUT_BYTES - kept))
      kept += Math.min(chunk.length, OUTPUT_BYTES - kept)
    }
    const child = begin(program, args, command)
    if (child instanceof Error) return resolve({ code: 126, output: reasonOf(child) })
    const cancel = clock.after(command.timeoutMs, () => end(-1))
    // 'exit' and not 'close': what the command left running is only now ended.
    child.once('exit', (code, signal) => end(code ?? 128 + signalOf(signal)))
    child.once('error', (error) => {
      chunks.push(Buffer.from(reasonOf(error)))
      end(127)
    })
    child.stdout?.on('data', keep)
    child.stderr?.on('data', keep)

    let over = false
    function end(code: number): void {
      if (over || child instanceof Error) return
      over = true
      cancel()
      if (child.pid !== undefined) killGroup(child.pid)
      const answer = () => {
        cancelWait()
        child.stdout?.destroy()
        child.stderr?.destroy()
        resolve({ code, output: code === -1 ? `${output()}Took more than ${command.timeoutMs} ms` : output() })
      }
      const cancelWait = clock.after(LAST_WORDS_MS, answer)
      child.once('close', answer)
    }
  })
}

/** 100 ms: for what was written before the end to be read. What escaped the group may hold the output open for ever. */
const LAST_WORDS_MS = 100

function begin(program: string, args: readonly string[], command: Command): ReturnType<typeof spawn> | Error {
  try {
    return spawn(program, args, {
      cwd: command.dir,
      env: { ...command.env },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  } catch (error) {
    // Node throws for a zero byte, the kernel for too many arguments or processes.
    return error instanceof Error ? error : new Error(String(error))
  }
}

function signalOf(name: NodeJS.Signals | null): number {
  return name === null ? 0 : constants.signals[name]
}

/** The group still has the number while one member lives; when none does, there is nothing to end. */
function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // ESRCH: all have ended.
  }
}
