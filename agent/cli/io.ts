/**
 * What a command may touch of its process: two screens, a keyboard, the environment, interrupts and the time.
 *
 * Handed in, so that every command runs in a test without a process of its own. Commands never reach for `process` themselves.
 */
import type { Readable } from 'node:stream'

export interface Screen {
  write(text: string): void
  /** A person looks at it: colours, rewriting and relative times are allowed. */
  readonly isTTY: boolean
  /** Size in characters; 80x24 where nobody looks. */
  size(): { readonly columns: number; readonly rows: number }
  onResize(listener: () => void): () => void
}

export interface Io {
  readonly out: Screen
  readonly err: Screen
  readonly input: Readable & { readonly isTTY?: boolean; setRawMode?(on: boolean): unknown }
  readonly env: Readonly<Record<string, string | undefined>>
  /** Wall ms since 1970. */
  now(): number
  /** Calls back on Ctrl-C or SIGTERM in place of dying, until the returned function is called. */
  onInterrupt(listener: (signal: 'SIGINT' | 'SIGTERM') => void): () => void
  /** Calls back when the process ends without being asked, by a defect of ours too, until the returned function is called. */
  onExit(listener: () => void): () => void
}

/** The process's own. */
export function processIo(): Io {
  process.stdout.on('error', endQuietly)
  return {
    out: screen(process.stdout),
    err: screen(process.stderr),
    input: process.stdin,
    env: process.env,
    now: Date.now,
    onInterrupt(listener) {
      process.on('SIGINT', listener)
      process.on('SIGTERM', listener)
      return () => {
        process.off('SIGINT', listener)
        process.off('SIGTERM', listener)
      }
    },
    onExit(listener) {
      process.on('exit', listener)
      return () => process.off('exit', listener)
    },
  }
}

/** `vine events | head` closes the pipe: the reader has what it wanted. */
function endQuietly(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error
  process.exit(0)
}

function screen(stream: NodeJS.WriteStream): Screen {
  return {
    write: (text) => {
      stream.write(text)
    },
    isTTY: stream.isTTY === true,
    // A terminal that nobody has told its size says 0.
    size: () => ({ columns: stream.columns || 80, rows: stream.rows || 24 }),
    onResize(listener) {
      stream.on('resize', listener)
      return () => stream.off('resize', listener)
    },
  }
}
