/**
 * What a command is, as data: its words, flags, examples, and where its code lies.
 *
 * The parser (program.ts), the help, the completion and the command reference are all made of these, so they cannot disagree.
 * A definition imports nothing that a command needs at run time: `load` does, when the command is the one that runs.
 */
import type { Client } from './client.ts'
import type { Io } from './io.ts'

export interface OptionDefinition {
  /** Commander's form: `-p, --publish <port>`; without `<…>` it is a switch. */
  readonly flags: string
  readonly says: string
  /** May be given several times; its value is a list of texts. */
  readonly list?: true
  /** A switch of which `--x=false` says something else than its absence. */
  readonly deniable?: true
  /** Heading of help under which it stands. */
  readonly group?: string
  /** Its value must be a whole number, zero or more. */
  readonly whole?: true
  /** Shown in help; the command itself applies it. */
  readonly standard?: string
  readonly choices?: readonly string[]
  /** Docker's values that are not there yet, each with the sentence that is its answer. */
  readonly refusedChoices?: Readonly<Record<string, string>>
}

export interface Example {
  readonly line: string
  readonly says: string
  /** Refused with a sentence where no node runs containers. */
  readonly needsDocker?: true
}

/** What a running command is given. */
export interface Call {
  readonly args: readonly string[]
  readonly options: Options
  readonly io: Io
  /** The agent's API; nothing connects before the first request. */
  readonly api: Client
  /** Tells sentences that came with a success, each once. */
  readonly warn: Warn
}

export type Warn = (sentences: readonly string[] | null | undefined) => void

export type Options = Readonly<Record<string, unknown>>
/** Resolves to the exit code. */
export type Action = (call: Call) => Promise<number>

export interface CommandDefinition {
  readonly name: string
  /** One line of a list of commands. */
  readonly says: string
  /** A paragraph for `--help`: what it does and what to know before use. */
  readonly about: string
  /** Commander's form: `<image> [command...]`. */
  readonly args?: string
  readonly aliases?: readonly string[]
  readonly options: readonly OptionDefinition[]
  /** Docker's flags that are not there yet: asking for one is answered with `refused` and the reason. */
  readonly refused?: readonly OptionDefinition[]
  /** Flags end at the first argument: the rest belongs to the program that the service runs. */
  readonly passThrough?: true
  readonly examples: readonly Example[]
  readonly load: () => Promise<Action>
}

/** `vine service …`: commands under one word, loaded only when that word is used. */
export interface GroupDefinition {
  readonly name: string
  readonly says: string
  readonly commands: readonly CommandDefinition[]
}

// Readers of parsed options, so that no command casts.

export function text(options: Options, name: string): string | undefined {
  const value = options[name]
  return typeof value === 'string' ? value : undefined
}

export function list(options: Options, name: string): readonly string[] {
  const value = options[name]
  return Array.isArray(value) ? value : []
}

export function whole(options: Options, name: string): number | undefined {
  const value = options[name]
  return typeof value === 'number' ? value : undefined
}

export function on(options: Options, name: string): boolean {
  return options[name] === true
}
