/** The words, flags and examples of `vine node …`. */
import type { CommandDefinition, OptionDefinition } from '../definition.ts'
import { inspectOptions, listingOptions } from '../listing.ts'

const filter: OptionDefinition = { flags: '-f, --filter <filter>', says: 'Only what matches, as key=value', list: true }

export const commands: readonly CommandDefinition[] = [
  {
    name: 'inspect',
    says: 'Display detailed information on one or more nodes',
    about: "Prints nodes; 'self' is the node that answers.",
    args: '<node...>',
    options: [...inspectOptions, { flags: '--pretty', says: 'Print the information in a human friendly format' }],
    examples: [
      { says: 'This node, for people', line: 'vine node inspect --pretty self' },
      { says: 'Its labels', line: "vine node inspect --format '{{json .Spec.Labels}}' self" },
    ],
    load: async () => (await import('./inspect.ts')).inspect,
  },
  {
    name: 'ls',
    aliases: ['list'],
    says: 'List nodes',
    about: 'Lists the nodes as this one sees them; * marks this one. Every node takes every command.',
    options: [filter, ...listingOptions],
    examples: [
      { says: 'All nodes', line: 'vine node ls' },
      { says: 'Names and states', line: "vine node ls --format '{{.Hostname}} {{.Status}}'" },
    ],
    load: async () => (await import('./ls.ts')).ls,
  },
  {
    name: 'ps',
    says: 'List tasks running on one or more nodes',
    about: 'Lists the tasks of nodes, those of this node if none is named.',
    args: '[node...]',
    options: [
      filter,
      ...listingOptions,
      { flags: '--no-resolve', says: 'Do not map ids to names' },
      { flags: '--no-trunc', says: 'Do not truncate output' },
    ],
    examples: [{ says: 'Tasks of this node', line: 'vine node ps' }],
    load: async () => (await import('./ps.ts')).ps,
  },
  {
    name: 'rm',
    aliases: ['remove'],
    says: 'Remove one or more nodes',
    about:
      'Removes nodes for good: a removed node never comes back with its old identity. A node that is up must be stopped first, or --force given.',
    args: '<node...>',
    options: [{ flags: '-f, --force', says: 'Also a node that is up' }],
    examples: [{ says: 'Forget a node that burned down', line: 'vine node rm n9' }],
    load: async () => (await import('./rm.ts')).rm,
  },
  {
    name: 'update',
    says: 'Update a node',
    about:
      'Drains a node (its tasks move to others), pauses it (it gets no more), makes it active again, or labels it.',
    args: '<node>',
    options: [
      { flags: '--availability <availability>', says: 'What it is used for', choices: ['active', 'pause', 'drain'] },
      { flags: '--label-add <label>', says: 'Add or update a label, key=value', list: true },
      { flags: '--label-rm <key>', says: 'Remove a label by its key', list: true },
    ],
    refused: [{ flags: '--role <role>', says: 'all nodes are equal; there are no managers' }],
    examples: [
      { says: 'Move all tasks off this node', line: 'vine node update --availability drain self' },
      { says: 'Take tasks again', line: 'vine node update --availability active self' },
      { says: 'A label that constraints may name', line: 'vine node update --label-add zone=a self' },
    ],
    load: async () => (await import('./update.ts')).update,
  },
]
