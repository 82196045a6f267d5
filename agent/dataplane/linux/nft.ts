/**
 * Speaks to nft: small transactions through one long-lived `nft -i` (0.2 ms each; a start costs 6 ms), large ones through a program of their own.
 *
 * Knows nothing of what the table means. One request at a time; the end of an answer is seen by a sentence that nft says after every request.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { fault, reasonOf } from '../../fault.ts'
import { createTurns } from '../../turns.ts'
import type { Clock } from '../../world.ts'
import { tableName } from './text.ts'
import { run, toolFolders } from './tools.ts'

export interface Nft {
  /** All of it or nothing. Rejects with a Fault 'unavailable' in nft's words. */
  transact(statements: readonly string[]): Promise<void>
  /** Generation of the table in the kernel; undefined when it is gone, or its rules are. */
  look(): Promise<string | undefined>
  close(): void
}

/** 32 KB: one line of `nft -i`; beyond this its start is the smaller part. */
const lineBytesMax = 32 * 1024
/** 10 s: a transaction of thousands of chains takes 0.6 s on a busy machine; nft that is silent for longer is stuck. */
const answerMs = 10_000
/** What nft says to `describe ct zone`, whatever is in the kernel. */
const ask = 'describe ct zone'
const end = /^ct expression, .*\n/m

/** By cat, since nft opens /dev/stdin by name, which fails for the sockets that Node's pipes are. Of what nft says the first line has the reason. */
const readScript = 'said=$(cat | nft -f - 2>&1) && exit; printf "%s" "$said" | grep -m 1 -o "Error: .*" >&2; exit 1'

export function createNft(clock: Clock): Nft {
  let child: ChildProcessWithoutNullStreams | undefined
  let said = ''
  let waiting: { resolve(answer: string): void; reject(error: Error): void } | undefined
  const inTurn = createTurns(1)

  function started(): ChildProcessWithoutNullStreams {
    if (child !== undefined) return child
    // One stream for output and errors, so that they come in the order in which they were said.
    const next = spawn('sh', ['-c', 'exec nft -i 2>&1'], { env: { PATH: toolFolders.join(':'), LC_ALL: 'C' } })
    const ended = (why: string) => {
      if (child === next) child = undefined
      settle(fault('unavailable', `nft ended: ${why}`))
    }
    next.on('error', (error) => ended(reasonOf(error)))
    next.on('exit', (code, signal) => ended(`${signal ?? code}${said === '' ? '' : `, after ${said.slice(-200)}`}`))
    next.stdin.on('error', () => {})
    next.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text
      const found = end.exec(said)
      if (found !== null) settle(said.slice(0, found.index))
    })
    child = next
    return next
  }

  function settle(outcome: string | Error): void {
    const asker = waiting
    waiting = undefined
    said = ''
    if (asker === undefined) return
    if (typeof outcome === 'string') asker.resolve(outcome)
    else asker.reject(outcome)
  }

  function say(lines: readonly string[]): Promise<string> {
    return inTurn(() => exchange(lines))
  }

  function exchange(lines: readonly string[]): Promise<string> {
    return new Promise<string>((resolve, reject) => {
      const asked = started()
      const cancel = clock.after(answerMs, () => {
        asked.kill('SIGKILL')
        settle(fault('unavailable', `nft did not answer within ${answerMs / 1000} s`))
      })
      waiting = {
        resolve(answer) {
          cancel()
          resolve(answer)
        },
        reject(error) {
          cancel()
          reject(error)
        },
      }
      asked.stdin.write([...lines, ask, ''].join('\n'))
    })
  }

  return {
    async transact(statements) {
      const line = statements.join('; ')
      if (line.length > lineBytesMax) {
        await run('sh', ['-c', readScript], `${statements.join('\n')}\n`)
        return
      }
      const answer = await say([line])
      if (answer.includes('Error:')) throw fault('unavailable', `nft said: ${firstError(answer)}`)
    },
    async look() {
      const answer = await say([`delete chain ${tableName} witnessed`, `list set ${tableName} generation`])
      // A rule leads to the chain, so the kernel refuses: the rules are there.
      if (!answer.includes('Device or resource busy')) return undefined
      return /elements = \{ (\S+) \}/.exec(answer)?.[1]
    },
    close() {
      child?.stdin.end()
      child?.kill()
      child = undefined
    },
  }
}

function firstError(answer: string): string {
  return /Error: (.*)/.exec(answer)?.[1] ?? answer.slice(0, 200)
}
