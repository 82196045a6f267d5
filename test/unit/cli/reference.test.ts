// The command reference says what the commands are, and every example in it is a command line that vine understands.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { commands } from '../../../agent/cli/commands.ts'
import { groups } from '../../../agent/cli/groups.ts'
import { parse } from '../../../agent/cli/program.ts'
import { everyCommand, renderReference } from '../../../agent/cli/reference.ts'
import { splitCommand } from '../../../agent/cli/service/words.ts'
import { vine } from './vine.ts'

const every = await everyCommand()
const loaded = await Promise.all(groups.map(async (group) => ({ ...group, commands: await group.load() })))

test('REFERENCE.md is up to date: node agent/cli/reference.ts > agent/cli/REFERENCE.md', async () => {
  const file = join(import.meta.dirname, '../../../agent/cli/REFERENCE.md')
  expect(readFileSync(file, 'utf8')).toBe(await renderReference())
})

test.each(every.map(({ command, definition }) => [command, definition] as const))(
  'vine %s has an example, and its help shows it',
  async (command, definition) => {
    expect(definition.examples.length).toBeGreaterThan(0)
    const { code, out } = await vine([...command.split(' '), '--help'])
    expect(code).toBe(0)
    for (const { line } of definition.examples) expect(out).toContain(line)
  },
)

test.each(every.flatMap(({ command, definition }) => definition.examples.map(({ line }) => [line, command] as const)))(
  '%s',
  async (line, command) => {
    const words = splitCommand(line.replace(/^source <\((.*)\)$/, '$1').replace(/ > .*$/, ''), 'the example')
    expect(words[0]).toBe('vine')
    const parsed = await parse(words.slice(1), commands, loaded)
    if ('help' in parsed) throw new Error('the example only prints help')
    expect(command.endsWith(parsed.definition.name)).toBe(true)
  },
)

test('help of vine names every command and group', async () => {
  const { out } = await vine(['--help'])
  for (const name of [...groups.map((group) => group.name), ...commands.map((command) => command.name)])
    expect(out).toContain(`  ${name}`)
})
