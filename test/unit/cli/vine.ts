// Runs a command line in this process, with screens that keep what was written.
import { PassThrough } from 'node:stream'
import type { Io, Screen } from '../../../agent/cli/io.ts'
import { run } from '../../../agent/cli/run.ts'
import { now } from './cluster.ts'

export interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

export interface Setting {
  readonly socket?: string
  readonly env?: Readonly<Record<string, string>>
  /** A person looks at it, at 80x24. */
  readonly terminal?: boolean
  readonly now?: () => number
}

/** Words are given as a shell would have split them. */
export async function vine(words: readonly string[], setting: Setting = {}): Promise<Ran> {
  const screens = { out: '', err: '' }
  const io = ioOf(setting, (name, text) => {
    screens[name] += text
  })
  const code = await run(words, io)
  return { code, ...screens }
}

export function ioOf(
  { socket, env = {}, terminal = false, now: clock }: Setting,
  write: (name: 'out' | 'err', text: string) => void,
): Io {
  const screen = (name: 'out' | 'err'): Screen => ({
    write: (text) => write(name, text),
    isTTY: terminal,
    size: () => ({ columns: 80, rows: 24 }),
    onResize: () => () => {},
  })
  return {
    out: screen('out'),
    err: screen('err'),
    input: new PassThrough(),
    env: { ...(socket === undefined ? {} : { VINE_SOCKET: socket }), ...env },
    now: clock ?? (() => now),
    onInterrupt: () => () => {},
    onExit: () => () => {},
  }
}
