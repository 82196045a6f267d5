/** The words, flags and examples of `vine stack …`. */
import type { CommandDefinition, OptionDefinition } from '../definition.ts'
import { listingOptions } from '../listing.ts'

const files: OptionDefinition = {
  flags: '-c, --compose-file <path>',
  says: 'Path to a Compose file, or - for the standard input; a later one is laid over an earlier one',
  list: true,
}
const filter: OptionDefinition = { flags: '-f, --filter <filter>', says: 'Only what matches, as key=value', list: true }
const registry = 'each node fetches images with its own login: type docker login there, as the user of the agent'

export const commands: readonly CommandDefinition[] = [
  {
    name: 'config',
    says: 'Print the files of a stack as one',
    about:
      'Merges Compose files, fills in variables and prints the result, with every short form written out. It asks no agent.',
    options: [files, { flags: '--skip-interpolation', says: 'Leave variables as they are' }],
    examples: [{ says: 'What two files say together', line: 'vine stack config -c compose.yaml -c production.yaml' }],
    load: async () => (await import('./config.ts')).config,
  },
  {
    name: 'deploy',
    aliases: ['up'],
    says: 'Deploy a new stack or update an existing stack',
    about:
      "Makes the services and networks of Compose files (version 3, or the Compose Specification as far as `docker stack` reads it), named <stack>_<name>, or changes those that are there. Variables come from the environment. Keys that have no effect are named in a warning; what a node cannot do is refused. It returns at once, as Docker's does; --detach=false waits until all tasks run.",
    args: '<stack>',
    options: [
      files,
      { flags: '-d, --detach', says: 'Return at once, as is done anyway' },
      { flags: '--no-detach', says: 'Wait until the services have converged; --detach=false says the same' },
      { flags: '--prune', says: 'Remove services that the files do not name any more' },
      { flags: '-q, --quiet', says: 'Show no progress' },
      {
        flags: '--resolve-image <when>',
        says: 'Look up the image anew; never and changed keep the one there is while the file names the same',
        choices: ['always', 'changed', 'never'],
      },
    ],
    refused: [{ flags: '--with-registry-auth', says: registry }],
    examples: [
      { says: 'Make a stack, or bring one up to date', line: 'vine stack deploy -c compose.yaml shop' },
      {
        says: 'With a file laid over it, without services that are no longer in them, and wait until it runs',
        line: 'vine stack deploy -c compose.yaml -c production.yaml --prune --detach=false shop',
      },
    ],
    load: async () => (await import('./deploy.ts')).deploy,
  },
  {
    name: 'ls',
    aliases: ['list'],
    says: 'List stacks',
    about: 'Lists stacks with the number of their services, whoever deployed them.',
    options: listingOptions.filter(({ flags }) => !flags.includes('--quiet')),
    examples: [{ says: 'All stacks', line: 'vine stack ls' }],
    load: async () => (await import('./ls.ts')).ls,
  },
  {
    name: 'ps',
    says: 'List the tasks in the stack',
    about: 'Lists the tasks of all services of a stack, past ones below the present one of their slot.',
    args: '<stack>',
    options: [
      filter,
      ...listingOptions,
      { flags: '--no-resolve', says: 'Do not map ids to names' },
      { flags: '--no-trunc', says: 'Do not truncate output' },
    ],
    examples: [
      {
        says: 'Where it runs',
        line: "vine stack ps --filter desired-state=running --format '{{.Name}} {{.Node}}' shop",
      },
    ],
    load: async () => (await import('./ps.ts')).ps,
  },
  {
    name: 'rm',
    aliases: ['remove', 'down'],
    says: 'Remove one or more stacks',
    about: 'Removes the services and networks of stacks. Their tasks are stopped after it returns.',
    args: '<stack...>',
    options: [{ flags: '-d, --detach', says: 'Return at once, as is done anyway' }],
    examples: [{ says: 'Remove a stack', line: 'vine stack rm shop' }],
    load: async () => (await import('./rm.ts')).rm,
  },
  {
    name: 'services',
    says: 'List the services in the stack',
    about: 'Lists the services of a stack with running and wanted tasks.',
    args: '<stack>',
    options: [filter, ...listingOptions],
    examples: [{ says: 'Is all of it there?', line: 'vine stack services shop' }],
    load: async () => (await import('./services.ts')).services,
  },
]
