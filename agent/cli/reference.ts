/**
 * Renders the command reference (REFERENCE.md beside this file) from the definitions. A test keeps the file up to date; to write it:
 * `node agent/cli/reference.ts > agent/cli/REFERENCE.md`.
 */
import { commands } from './commands.ts'
import type { CommandDefinition, OptionDefinition } from './definition.ts'
import { groups } from './groups.ts'

/** The whole document. */
export async function renderReference(): Promise<string> {
  const sections: string[] = []
  for (const { command, definition } of await everyCommand()) sections.push(section(command, definition))
  return `${head}\n${sections.join('\n')}`
}

/** All commands, with their full names, in the order of help. */
export async function everyCommand(): Promise<
  readonly { readonly command: string; readonly definition: CommandDefinition }[]
> {
  const grouped = await Promise.all(
    groups.map(async ({ name, load }) =>
      (await load()).map((definition) => ({ command: `${name} ${definition.name}`, definition })),
    ),
  )
  return [...grouped.flat(), ...commands.map((definition) => ({ command: definition.name, definition }))]
}

const head = `# Commands

Made from the command definitions by \`agent/cli/reference.ts\`; do not edit. Every command also takes \`--socket <path>\` (or
\`VINE_SOCKET\`), the socket of the agent to ask, and \`--help\`. A socket \`tcp://host:2376\` is asked with ca.pem, cert.pem and key.pem of the
folder \`VINE_CERT_PATH\`, else \`DOCKER_CERT_PATH\`, else \`~/.docker\`.

Exit codes: 0 done, 1 not done, 125 wrong command line; \`vine status\` ends with 2 when no agent answers, \`vine resolve\` when there
is no such name.
`

function section(command: string, definition: CommandDefinition): string {
  const usage = [
    'vine',
    command,
    ...(definition.options.length > 0 ? ['[options]'] : []),
    ...(definition.args ? [definition.args] : []),
  ]
  const aliases = definition.aliases?.length
    ? `\nAlso: ${definition.aliases.map((alias) => `\`${alias}\``).join(', ')}.\n`
    : ''
  return `## vine ${command}

\`${usage.join(' ')}\`

${definition.about}
${aliases}${optionTable(definition)}${refusedList(definition)}
\`\`\`sh
${definition.examples.map(({ line, says }) => `# ${says}\n${line}`).join('\n')}
\`\`\`
`
}

/** A table for those without a heading, then one for each heading. */
function optionTable({ options }: CommandDefinition): string {
  const groups = [...new Set(options.map(({ group }) => group))]
  return groups
    .map((group) =>
      table(
        group,
        options.filter((option) => option.group === group),
      ),
    )
    .join('')
}

function table(heading: string | undefined, options: readonly OptionDefinition[]): string {
  const rows = options.map((option) => {
    const extra = [
      ...(option.choices === undefined ? [] : [`one of ${option.choices.join(', ')}`]),
      ...(option.standard === undefined ? [] : [`default ${option.standard}`]),
      ...(option.list ? ['repeatable'] : []),
    ]
    return `| \`${cell(option.flags)}\` | ${cell(option.says)}${extra.length > 0 ? ` (${cell(extra.join('; '))})` : ''} |`
  })
  return `${heading === undefined ? '' : `\n${heading}:\n`}\n| flag | |\n|---|---|\n${rows.join('\n')}\n`
}

function refusedList({ refused }: CommandDefinition): string {
  if (refused === undefined) return ''
  const bySentence = new Map<string, string[]>()
  for (const { flags, says } of refused)
    bySentence.set(says, [...(bySentence.get(says) ?? []), `\`${flags.split(' <')[0]}\``])
  return `\nRefused with a sentence:\n\n${[...bySentence].map(([says, flags]) => `- ${flags.join(' ')}: ${says}`).join('\n')}\n`
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|')
}

if (import.meta.main) process.stdout.write(await renderReference())
