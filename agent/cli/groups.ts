/** The words that commands are grouped under. Their definitions are loaded only when the word is used. */
import type { CommandDefinition } from './definition.ts'

export interface Group {
  readonly name: string
  readonly says: string
  readonly load: () => Promise<readonly CommandDefinition[]>
}

export const groups: readonly Group[] = [
  {
    name: 'service',
    says: 'Create, change and look at services',
    load: async () => (await import('./service/commands.ts')).commands,
  },
  {
    name: 'network',
    says: 'Create and look at networks',
    load: async () => (await import('./network/commands.ts')).commands,
  },
  {
    name: 'node',
    says: 'Look at nodes, drain and label them',
    load: async () => (await import('./node/commands.ts')).commands,
  },
  {
    name: 'stack',
    says: 'Deploy stacks of Compose files',
    load: async () => (await import('./stack/commands.ts')).commands,
  },
]
