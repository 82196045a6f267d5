/**
 * Turns definitions into a parsed command line: which command, which arguments, which options.
 *
 * Commander parses; this file decides what is a usage fault and how it reads. It runs nothing.
 */
import { Command, CommanderError, Option } from 'commander'
import type { CommandDefinition, GroupDefinition, OptionDefinition, Options } from './definition.ts'
import { dockersWay } from './docker-words.ts'
import { usage } from './usage.ts'

export interface Parsed {
  readonly definition: CommandDefinition
  readonly args: readonly string[]
  readonly options: Options
}

/** Something to print in place of running a command. */
export interface HelpAsked {
  readonly help: string
}

const socketOption: OptionDefinition = {
  flags: '--socket <path>',
  says: "The agent's socket, or tcp://host:port; else VINE_SOCKET, else the standard one",
}

/** Parses the words after `vine`. Throws a UsageFault. */
export async function parse(
  argv: readonly string[],
  commands: readonly CommandDefinition[],
  groups: readonly GroupDefinition[],
): Promise<Parsed | HelpAsked> {
  let chosen: Parsed | undefined
  let printed = ''
  const root = prepare(new Command('vine'))
    .description('A managerless swarm: every machine runs the same agent, and any of them takes any command.')
    .option(socketOption.flags, socketOption.says)
    .option('-v, --version', 'Print the version')
    .helpCommand(false)
  const add = (parent: Command, definition: CommandDefinition) => {
    const command = build(definition)
    command.action((...given: unknown[]) => {
      const self = given.at(-1) as Command
      chosen = { definition, args: self.args, options: self.optsWithGlobals() }
    })
    parent.addCommand(prepare(command))
  }
  for (const group of groups) {
    const parent = prepare(new Command(group.name)).description(group.says).helpCommand(false)
    for (const definition of group.commands) add(parent, definition)
    root.addCommand(parent)
  }
  for (const definition of commands) add(root, definition)
  for (const command of everyCommand(root)) command.configureOutput({ writeOut, writeErr: () => {} })
  function writeOut(chunk: string) {
    printed += chunk
  }
  try {
    await root.parseAsync(plainSwitches(argv, commands, groups), { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.exitCode === 0 || error.code === 'commander.help') return { help: printed || helpFor(root, argv) }
    const way =
      error.code === 'commander.unknownCommand' ? dockersWay(commandWords(argv).map(({ word }) => word)) : undefined
    // A word of Docker's that is there is no slip of the pen.
    if (way !== undefined) throw usage(sentence(error.message).replace(/ \(did you mean .*/, ''), way)
    throw usage(sentence(error.message), `See 'vine ${[...path(root, argv), '--help'].join(' ')}'`)
  }
  return chosen ?? { help: helpFor(root, argv) }
}

/** Help of one command, for the reference. */
export function helpText(definition: CommandDefinition, group?: string): string {
  const command = prepare(build(definition))
  if (group !== undefined) prepare(new Command(`vine ${group}`)).addCommand(command)
  else prepare(new Command('vine')).addCommand(command)
  return command.helpInformation()
}

function prepare(command: Command): Command {
  return command
    .enablePositionalOptions()
    .exitOverride()
    .helpOption('-h, --help', 'Show this help')
    .configureHelp({ sortSubcommands: false, showGlobalOptions: false })
}

function build(definition: CommandDefinition): Command {
  const command = new Command(definition.name).summary(definition.says).description(definition.about)
  if (definition.args !== undefined) command.arguments(definition.args)
  for (const alias of definition.aliases ?? []) command.alias(alias)
  for (const option of definition.options) command.addOption(buildOption(option))
  for (const { flags } of definition.options.filter(({ deniable }) => deniable))
    command.addOption(new Option(flags.replace(/^.*--/, '--no-')).hideHelp())
  command.addOption(buildOption(socketOption).hideHelp())
  for (const option of definition.refused ?? []) command.addOption(buildRefused(option))
  if (definition.passThrough) command.passThroughOptions()
  if (definition.examples.length > 0) command.addHelpText('after', () => examplesText(definition))
  return command
}

function buildOption(definition: OptionDefinition): Option {
  const { standard } = definition
  const option = new Option(
    definition.flags,
    standard === undefined ? definition.says : `${definition.says} (default ${standard})`,
  )
  if (definition.group !== undefined) option.helpGroup(`${definition.group}:`)
  if (definition.choices !== undefined)
    option.choices(definition.choices).argParser((value: string) => choice(option.long ?? '', value, definition))
  if (definition.list) option.argParser((value: string, before: string[] | undefined) => [...(before ?? []), value])
  if (definition.whole) option.argParser((value: string) => wholeNumber(option.long ?? definition.flags, value))
  return option
}

function buildRefused(definition: OptionDefinition): Option {
  const option = new Option(definition.flags, definition.says).hideHelp()
  option.argParser(() => {
    throw usage(`${option.long} is not supported: ${definition.says}`)
  })
  return option
}

function choice(flag: string, value: string, { choices = [], refusedChoices }: OptionDefinition): string {
  if (choices.includes(value)) return value
  const refused = refusedChoices?.[value]
  if (refused !== undefined) throw usage(`${flag} ${value} is not supported: ${refused}`)
  throw usage(`invalid value "${value}" for ${flag}`, `It is ${choices.join(', ').replace(/, ([^,]*)$/, ' or $1')}`)
}

function wholeNumber(flag: string, value: string): number {
  const number = Number(value)
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(number))
    throw usage(`invalid value "${value}" for ${flag}: it takes a whole number, zero or more`)
  return number
}

/**
 * Docker's users write `--detach=true` and `--detach=false`; commander knows switches without values only. Rewrites them up to the
 * first argument of a command whose flags end there. A switch that is on unless it is denied has a `--no-` of its own.
 */
function plainSwitches(
  argv: readonly string[],
  commands: readonly CommandDefinition[],
  groups: readonly GroupDefinition[],
): string[] {
  const [first, second] = commandWords(argv)
  const group = groups.find((candidate) => candidate.name === first?.word)
  const word = group === undefined ? first : second
  const definition = (group?.commands ?? commands).find(
    (candidate) => candidate.name === word?.word || candidate.aliases?.includes(word?.word ?? ''),
  )
  if (definition === undefined || word === undefined) return [...argv]
  const all = [...definition.options, ...(definition.refused ?? []), socketOption]
  const takesValue = new Set(all.filter((o) => o.flags.includes('<')).flatMap((o) => o.flags.match(/-[\w-]+/g) ?? []))
  const deniable = new Set(all.filter((o) => o.deniable).flatMap((o) => o.flags.match(/--[\w-]+/g) ?? []))
  const switches = new Set(all.filter((o) => !o.flags.includes('<')).flatMap((o) => o.flags.match(/--[\w-]+/g) ?? []))
  const result = argv.slice(0, word.index + 1)
  let index = word.index + 1
  for (; index < argv.length; index++) {
    const token = argv[index] ?? ''
    if (token === '--' || (definition.passThrough && !token.startsWith('-'))) break
    const [, name = '', value] = /^(--[\w-]+)=(.*)$/.exec(token) ?? []
    if (switches.has(name) && isYes(value)) result.push(name)
    else if (!switches.has(name)) result.push(token)
    else if (!isNo(value)) throw usage(`invalid value "${value}" for ${name}`, 'It is true or false')
    else if (deniable.has(name) || switches.has(name.replace('--', '--no-'))) result.push(name.replace('--', '--no-'))
    if (takesValue.has(token) && index + 1 < argv.length) result.push(argv[++index] ?? '')
  }
  return [...result, ...argv.slice(index)]
}

/** The first two words that are neither flags nor the value of `--socket`: group and command. */
export function commandWords(argv: readonly string[]): readonly { readonly word: string; readonly index: number }[] {
  const words: { word: string; index: number }[] = []
  for (let index = 0; index < argv.length && words.length < 2; index++) {
    const word = argv[index] ?? ''
    if (word === '--socket') index++
    else if (!word.startsWith('-')) words.push({ word, index })
  }
  return words
}

function isYes(value: string | undefined): boolean {
  return value === 'true' || value === '1'
}

function isNo(value: string | undefined): boolean {
  return value === 'false' || value === '0'
}

/** Commander's words made ours: no "error:" before, the suggestion in the same line. */
function sentence(message: string): string {
  return message
    .replace(/^error: /, '')
    .replace(/\n\(Did you mean (.*)\?\)$/, ' (did you mean $1?)')
    .replace("unknown option '", "unknown flag '")
}

/** The known command words at the start of a command line. */
function path(root: Command, argv: readonly string[]): readonly string[] {
  const names: string[] = []
  let at = root
  for (const { word } of commandWords(argv)) {
    const next = at.commands.find((command) => command.name() === word || command.aliases().includes(word))
    if (next === undefined) break
    names.push(next.name())
    at = next
  }
  return names
}

function helpFor(root: Command, argv: readonly string[]): string {
  let at = root
  for (const word of path(root, argv)) at = at.commands.find((command) => command.name() === word) ?? at
  return at.helpInformation()
}

function examplesText(definition: CommandDefinition): string {
  return `\nExamples:\n${definition.examples.map(({ line, says }) => `  # ${says}\n  ${line}\n`).join('')}`
}

function everyCommand(root: Command): readonly Command[] {
  return [root, ...root.commands.flatMap(everyCommand)]
}
