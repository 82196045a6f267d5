/**
 * Runs a command in a container, with an end: Docker lets one that takes too long go on, so that it is killed here where it can be.
 */
import { readFileSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { fault } from '../../fault.ts'
import { askMs, bounded, type Engine } from './engine.ts'
import { frames } from './lines.ts'

/** 4 KB: world.ts. */
const outputBytesMax = 4 * 1024

export async function runIn(
  engine: Engine,
  container: string,
  { argv, timeoutMs }: { readonly argv: readonly string[]; readonly timeoutMs: number },
): Promise<{ readonly code: number; readonly output: string }> {
  const made = await bounded('a command', askMs, (abortSignal) =>
    engine.docker
      .getContainer(container)
      .exec({ Cmd: [...argv], AttachStdout: true, AttachStderr: true, Tty: false, abortSignal }),
  )
  const late = AbortSignal.timeout(timeoutMs)
  const output: Buffer[] = []
  let bytes = 0
  try {
    const stream = (await made.start({ Detach: false, Tty: false, abortSignal: late } as never)) as unknown as Readable
    for await (const frame of frames(stream, false)) {
      if (bytes < outputBytesMax) output.push(Buffer.from(frame.bytes))
      bytes += frame.bytes.length
    }
  } catch (thrown) {
    if (!late.aborted) throw thrown
  }
  const {
    ExitCode: code,
    Pid: pid,
    Running: runs,
  } = await bounded('a command', askMs, (abortSignal) => made.inspect({ abortSignal }))
  if (runs || code === null) {
    if (pid > 0 && isIn(pid, container)) process.kill(pid, 'SIGKILL')
    throw fault('timeout', `The command did not end within ${timeoutMs / 1000} s`)
  }
  return { code, output: Buffer.concat(output).subarray(0, outputBytesMax).toString('utf8') }
}

/** Whether the process is this container's: pids are used again, and the engine may live among other processes than we. */
function isIn(pid: number, container: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(container)
  } catch {
    // It ended, or is not to be seen from here.
    return false
  }
}
