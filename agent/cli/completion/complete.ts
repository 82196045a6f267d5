/**
 * Answers `vine __complete -- word …`, which the completion scripts ask: what may stand in place of the last, unfinished word. Commands and flags come from the
 * definitions, names of services, networks, nodes and tasks from the agent; without an agent there are just no names.
 */
import { Fault } from '../../fault.ts'
import { commands } from '../commands.ts'
import type { Call, CommandDefinition, OptionDefinition } from '../definition.ts'
import type { Network, Node, Service, Task } from '../docker.ts'
import { groups } from '../groups.ts'
import { nodeName, readNames, taskName } from '../tasks.ts'

interface Word {
  readonly word: string
  readonly says: string
}

/** `words` are those after `vine`; the last one is not finished and may be empty. Prints a word a line, with a tab and what it is. */
export async function complete(words: readonly string[], call: Asking): Promise<number> {
  const { before, begun, prefix } = unfinished(words)
  for (const { word, says } of await candidates(call, before, begun))
    if (word.startsWith(begun)) call.io.out.write(`${prefix}${word}\t${says}\n`)
  return 0
}

type Asking = Pick<Call, 'io' | 'api'>

/**
 * What is to be completed, and after which words. A value may follow its flag after `=`: bash makes three words of that, of which the last is
 * to be replaced, other shells leave it one word, and replace it whole.
 */
function unfinished(words: readonly string[]) {
  const begun = words.at(-1) ?? ''
  const before = words.slice(0, -1).filter((word) => word !== '=')
  if (begun === '=') return { before, begun: '', prefix: '' }
  const [, flag, value] = /^(--[\w-]+)=(.*)$/.exec(begun) ?? []
  return flag === undefined || value === undefined
    ? { before, begun, prefix: '' }
    : { before: [...before, flag], begun: value, prefix: `${flag}=` }
}

async function candidates(call: Asking, before: readonly string[], begun: string): Promise<readonly Word[]> {
  const group = groups.find(({ name }) => name === before[0])
  const known = group === undefined ? commands : await group.load()
  const at = group === undefined ? 0 : 1
  const definition = known.find(({ name, aliases }) => name === before[at] || aliases?.includes(before[at] ?? ''))
  if (definition === undefined) {
    if (before.length > at) return []
    const below = known.map(({ name, says }) => ({ word: name, says }))
    return group === undefined ? [...groups.map(({ name, says }) => ({ word: name, says })), ...below] : below
  }
  const option = optionOf(definition, before.at(-1) ?? '')
  if (option !== undefined) return valuesOf(call, option)
  if (begun.startsWith('-'))
    return definition.options.flatMap((o) =>
      flagNames(o)
        .filter((f) => f.startsWith('--'))
        .map((word) => ({ word, says: o.says })),
    )
  return argumentsOf(call, definition, argumentCount(definition, before.slice(at + 1)))
}

/** The option that takes the word after this one as its value. */
function optionOf({ options }: CommandDefinition, word: string): OptionDefinition | undefined {
  return options.find((option) => option.flags.includes('<') && flagNames(option).includes(word))
}

/** Words that are neither flags nor their values. */
function argumentCount(definition: CommandDefinition, words: readonly string[]): number {
  return words.filter((word, i) => !word.startsWith('-') && optionOf(definition, words[i - 1] ?? '') === undefined)
    .length
}

function flagNames({ flags }: OptionDefinition): readonly string[] {
  return flags.match(/(?<![\w-])--?[\w-]+/g) ?? []
}

async function valuesOf(call: Asking, option: OptionDefinition): Promise<readonly Word[]> {
  if (option.choices !== undefined) return option.choices.map((word) => ({ word, says: option.says }))
  if (option.flags.includes('<network>')) return names(async () => (await networkWords(call)).filter(isJoinable))
  if (option.flags.includes('--from')) return names(() => taskWords(call))
  return []
}

async function argumentsOf(call: Asking, definition: CommandDefinition, given: number): Promise<readonly Word[]> {
  const args = definition.args ?? ''
  if (given > 0 && !args.includes('...')) return []
  if (args.includes('replicas'))
    return (await names(() => serviceWords(call))).map(({ word, says }) => ({ word: `${word}=`, says }))
  if (args.includes('<service')) return names(() => serviceWords(call))
  if (args.includes('<stack')) return names(() => stackWords(call))
  if (args.includes('<network') && definition.name !== 'create') return names(() => networkWords(call))
  if (/[<[]node/.test(args)) return names(() => nodeWords(call))
  if (args === '<shell>') return ['bash', 'zsh', 'fish'].map((word) => ({ word, says: 'shell' }))
  return []
}

/** Without an agent there is nothing to name; a completion must not print errors into a command line. */
async function names(read: () => Promise<readonly Word[]>): Promise<readonly Word[]> {
  try {
    return await read()
  } catch (error) {
    if (error instanceof Fault) return []
    throw error
  }
}

async function serviceWords({ api }: Asking): Promise<readonly Word[]> {
  const services = await api.get<readonly Service[]>('/services')
  return services.map(({ Spec }) => ({ word: Spec.Name, says: Spec.TaskTemplate.ContainerSpec.Image }))
}

async function stackWords({ api }: Asking): Promise<readonly Word[]> {
  const services = await api.get<readonly Service[]>('/services')
  const stacks = new Set(services.flatMap(({ Spec }) => Spec.Labels?.['com.docker.stack.namespace'] ?? []))
  return [...stacks].map((word) => ({ word, says: 'stack' }))
}

async function networkWords({ api }: Asking): Promise<readonly Word[]> {
  const networks = await api.get<readonly Network[]>('/networks')
  return networks.map(({ Name, Driver }) => ({ word: Name, says: `${Driver ?? ''} network` }))
}

/** Services publish ports on ingress; they do not join it. */
function isJoinable({ word }: Word): boolean {
  return word !== 'ingress'
}

async function nodeWords({ api }: Asking): Promise<readonly Word[]> {
  const nodes = await api.get<readonly Node[]>('/nodes')
  return [
    { word: 'self', says: 'this node' },
    ...nodes.map((node) => ({ word: nodeName(node), says: node.Status?.State ?? '' })),
  ]
}

async function taskWords(call: Asking): Promise<readonly Word[]> {
  const [tasks, known] = await Promise.all([call.api.get<readonly Task[]>('/tasks'), readNames(call)])
  const running = tasks.filter((task) => task.Status?.State === 'running')
  return running.map((task) => ({ word: taskName(task, known), says: known.nodes.get(task.NodeID ?? '') ?? '' }))
}
