/** The commands directly below `vine`. Groups are in groups.ts. */
import type { CommandDefinition } from './definition.ts'

export const commands: readonly CommandDefinition[] = []
