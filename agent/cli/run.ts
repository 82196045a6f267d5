/**
 * The edge of every command: finds it, runs it, tells a fault as message then fix, and returns the exit code.
 *
 * Called by main.ts. It loads only the definitions of the group that was asked for, because a command has 250 ms in all.
 */
import { readFileSync } from 'node:fs'
import { Fault, reasonOf } from '../fault.ts'
import { certificateFolder, createClient, socketPath } from './client.ts'
import { commands } from './commands.ts'
import { type GroupDefinition, text, type Warn } from './definition.ts'
import { groups } from './groups.ts'
import type { Io } from './io.ts'
import { paint } from './paint.ts'
import { commandWords, parse } from './program.ts'
import { tellFault } from './tell.ts'
import { exit, UsageFault } from './usage.ts'

/** Runs the words after `vine`. Never throws for a fault; a broken invariant passes through. */
export async function run(words: readonly string[], io: Io): Promise<number> {
  // `vine help service ls` is what some people type first.
  const argv = words[0] === 'help' ? [...words.slice(1), '--help'] : words
  try {
    if (argv[0] === '--version' || argv[0] === '-v') return tellVersion(io)
    if (argv[0] === '__complete') return await completeWords(argv.slice(argv[1] === '--' ? 2 : 1), io)
    const parsed = await parse(argv, commands, await groupsFor(argv))
    if ('help' in parsed) {
      io.out.write(parsed.help)
      return exit.ok
    }
    const action = await parsed.definition.load()
    const warn = warner(io)
    const socket = socketPath(text(parsed.options, 'socket'), io.env)
    const api = createClient(socket, { warn, certificates: certificateFolder(io.env) })
    return await action({ args: parsed.args, options: parsed.options, io, api, warn })
  } catch (error) {
    return tell(error, io)
  }
}

/** package.json lies two folders up, in a clone and in an unpacked package alike. */
function tellVersion(io: Io): number {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  io.out.write(`vine ${version}\n`)
  return exit.ok
}

/** What the completion scripts ask: of the agent that the command line names. */
async function completeWords(words: readonly string[], io: Io): Promise<number> {
  const { complete } = await import('./completion/complete.ts')
  const at = words.slice(0, -2).indexOf('--socket')
  const rest = at < 0 ? words : words.toSpliced(at, 2)
  const socket = socketPath(at < 0 ? undefined : words[at + 1], io.env)
  return complete(rest, { io, api: createClient(socket, { certificates: certificateFolder(io.env) }) })
}

/** Prints a fault for a person. Anything else is a defect of ours and keeps its stack. */
export function tell(error: unknown, io: Io): number {
  if (!(error instanceof Fault)) throw error instanceof Error ? error : new Error(reasonOf(error))
  tellFault(error, io)
  return error instanceof UsageFault ? exit.usage : exit.error
}

/** Each sentence once, however often it comes: progress and lists ask the same again and again. */
function warner(io: Io): Warn {
  const told = new Set<string>()
  return (sentences) => {
    for (const sentence of sentences ?? []) {
      if (!told.has(sentence)) io.err.write(`${paint(io.err, io.env, 'yellow', `WARNING: ${sentence}`)}\n`)
      told.add(sentence)
    }
  }
}

/** The group named on the command line in full, the others by name only. */
function groupsFor(argv: readonly string[]): Promise<readonly GroupDefinition[]> {
  const word = commandWords(argv)[0]?.word
  return Promise.all(
    groups.map(async ({ name, says, load }) => ({ name, says, commands: name === word ? await load() : [] })),
  )
}
