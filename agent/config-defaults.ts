/**
 * What an agent takes where it is told nothing: from its machine and from what other programs' variables say. Pure.
 */
import type { ConfigInput, Machine } from './config.ts'

/** The machine's name up to its first dot, in the form that node names have. */
export function nameOf(hostname: string): string {
  const name = (hostname.split('.')[0] ?? '').replace(/[^a-zA-Z0-9-]/g, '-').replace(/^-+|-+$/g, '')
  return name.slice(0, 63) || 'node'
}

export function dataDirDefault(env: ConfigInput['env'], machine: Machine): string {
  if (machine.isRoot) return '/var/lib/grapevine'
  return `${env.XDG_STATE_HOME || `${machine.home}/.local/state`}/grapevine`
}
