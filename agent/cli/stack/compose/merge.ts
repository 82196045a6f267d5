/**
 * Lays several Compose files over each other, the later over the earlier, as `docker stack` does (docker/cli compose/loader/merge.go): lists are joined,
 * mappings are merged, commands, aliases and ulimits are replaced, ports are kept once, volumes by where they lie in the container. Definitions of networks,
 * volumes, secrets and configs are replaced whole. Unlike Docker's, a later health check's command replaces the earlier one, as the Compose Specification has it.
 */
import { isMapping, type Mapping } from './document.ts'
import type { Loaded } from './load.ts'
import type { Ignored } from './properties.ts'
import { type Compose, composeSchema } from './schema.ts'

export interface Merged {
  readonly compose: Compose
  readonly ignored: Ignored
}

export function mergeFiles(files: readonly Loaded[]): Merged {
  const all = (read: (ignored: Ignored) => readonly string[]) =>
    [...new Set(files.flatMap((file) => read(file.ignored)))].sort()
  return {
    // Once more through the schema: the long form is a valid file, and its keys come out in order.
    compose: composeSchema.parse(files.map((file) => file.compose).reduce(over)),
    ignored: { unsupported: all((i) => i.unsupported), deprecated: all((i) => i.deprecated) },
  }
}

function over(base: Compose, later: Compose): Compose {
  const services: Record<string, unknown> = { ...base.services }
  for (const [name, service] of Object.entries(later.services ?? {}))
    services[name] = Object.hasOwn(services, name) ? merge(services[name], service, '') : service
  const sections = (['networks', 'volumes', 'secrets', 'configs'] as const).flatMap((key) =>
    base[key] === undefined && later[key] === undefined ? [] : [[key, { ...base[key], ...later[key] }] as const],
  )
  return {
    ...base,
    ...later,
    services: services as NonNullable<Compose['services']>,
    ...Object.fromEntries(sections),
  }
}

type Merge = (base: unknown, later: unknown) => unknown

const replace: Merge = (_, later) => later

/** Where the general rule does not hold, by the path inside of a service. */
const special: readonly (readonly [RegExp, Merge])[] = [
  [/^(command|entrypoint|healthcheck\.test|ulimits\.[^.]+|networks\.[^.]+\.aliases)$/, replace],
  [
    /^networks\.[^.]+$/,
    (base, later) => (later === null ? base : isMapping(base) ? mergeMaps(base, later, 'networks.*.') : later),
  ],
  [/^ports$/, keyed((port) => JSON.stringify(port))],
  [/^volumes$/, keyed((volume) => volume.target)],
  [/^(secrets|configs)$/, keyed((reference) => reference.source)],
  [/^logging$/, (base, later) => (sameDriver(base, later) ? mergeMaps(base, later, 'logging.') : later)],
]

function merge(base: unknown, later: unknown, path: string): unknown {
  const rule = special.find(([where]) => where.test(path))
  if (rule !== undefined) return rule[1](base, later)
  if (Array.isArray(base) && Array.isArray(later)) return [...base, ...later]
  return isMapping(base) && isMapping(later) ? mergeMaps(base, later, path === '' ? '' : `${path}.`) : later
}

function mergeMaps(base: unknown, later: unknown, prefix: string): unknown {
  if (!isMapping(base) || !isMapping(later)) return later
  const merged: Record<string, unknown> = { ...base }
  for (const [key, value] of Object.entries(later))
    if (value !== undefined) merged[key] = Object.hasOwn(base, key) ? merge(base[key], value, `${prefix}${key}`) : value
  return merged
}

/** One item a key; a later one takes the place of an earlier one. */
function keyed(keyOf: (item: Mapping) => unknown): Merge {
  return (base, later) => {
    const items = new Map<unknown, unknown>()
    for (const item of [...list(base), ...list(later)]) items.set(isMapping(item) ? keyOf(item) : item, item)
    return [...items.values()]
  }
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function sameDriver(base: unknown, later: unknown): boolean {
  const [a, b] = [base, later].map((logging) => (isMapping(logging) ? logging.driver : undefined))
  return a === b || a === undefined || b === undefined
}
