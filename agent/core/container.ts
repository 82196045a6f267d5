/**
 * What a service asks for that only a container can have (mounts, capabilities, limits …), read out of its spec once.
 *
 * The docker runtime makes it so (runtime/docker/create.ts); placement keeps such a service off nodes without Docker; an empty value asks for nothing.
 */
import type { ContainerSpec, Mount, Privileges, ServiceSpec, Ulimit } from '../../protocol/spec.ts'

/** In the API's own words and units, without nulls. */
export interface ContainerOptions {
  readonly labels: Readonly<Record<string, string>>
  readonly mounts: readonly Mount[]
  readonly groups: readonly string[]
  readonly tty: boolean
  readonly openStdin: boolean
  readonly readOnly: boolean
  /** Undefined: as the engine is set. */
  readonly init: boolean | undefined
  readonly capabilityAdd: readonly string[]
  readonly capabilityDrop: readonly string[]
  readonly sysctls: Readonly<Record<string, string>>
  readonly ulimits: readonly Ulimit[]
  readonly oomScoreAdj: number
  readonly privileges: Privileges | undefined
  /** Lines of a hosts file: `address name…`. */
  readonly hosts: readonly string[]
  readonly dnsSearch: readonly string[]
  readonly dnsOptions: readonly string[]
  readonly isolation: string | undefined
  readonly logDriver: { readonly name: string; readonly options: Readonly<Record<string, string>> } | undefined
  /** 0: none. */
  readonly limits: { readonly nanoCpus: number; readonly memoryBytes: number; readonly pids: number }
  readonly reservedMemoryBytes: number
}

export function containerOptions({ TaskTemplate: template }: ServiceSpec): ContainerOptions {
  const asked = template.ContainerSpec
  const limits = template.Resources?.Limits
  const driver = template.LogDriver
  return {
    labels: asked.Labels ?? {},
    mounts: asked.Mounts ?? [],
    groups: asked.Groups ?? [],
    tty: asked.TTY ?? false,
    openStdin: asked.OpenStdin ?? false,
    readOnly: asked.ReadOnly ?? false,
    init: asked.Init ?? undefined,
    capabilityAdd: asked.CapabilityAdd ?? [],
    capabilityDrop: asked.CapabilityDrop ?? [],
    sysctls: asked.Sysctls ?? {},
    ulimits: asked.Ulimits ?? [],
    oomScoreAdj: asked.OomScoreAdj ?? 0,
    privileges: asked.Privileges ?? undefined,
    hosts: asked.Hosts ?? [],
    dnsSearch: asked.DNSConfig?.Search ?? [],
    dnsOptions: asked.DNSConfig?.Options ?? [],
    isolation: asked.Isolation ?? undefined,
    logDriver: driver?.Name ? { name: driver.Name, options: driver.Options ?? {} } : undefined,
    limits: {
      nanoCpus: limits?.NanoCPUs ?? 0,
      memoryBytes: limits?.MemoryBytes ?? 0,
      pids: limits?.Pids ?? 0,
    },
    reservedMemoryBytes: template.Resources?.Reservations?.MemoryBytes ?? 0,
  }
}

/** What asks for a container, in the user's words; undefined: a process does. Reservations are placement's matter alone. */
export function needsContainer({ TaskTemplate: template }: ServiceSpec): string | undefined {
  const asked = template.ContainerSpec
  for (const [field, what] of fields) if (!isEmpty(asked[field])) return what
  if (!isEmpty(template.LogDriver)) return 'a log driver'
  return isEmpty(template.Resources?.Limits) ? undefined : 'resource limits'
}

const fields: readonly (readonly [keyof ContainerSpec & string, string])[] = [
  ['Mounts', 'mounts'],
  ['Privileges', 'privileges'],
  ['CapabilityAdd', 'capabilities'],
  ['CapabilityDrop', 'capabilities'],
  ['Sysctls', 'sysctls'],
  ['Ulimits', 'ulimits'],
  ['OomScoreAdj', 'an OOM score'],
  ['Groups', 'additional groups'],
  ['TTY', 'a terminal (--tty)'],
  ['OpenStdin', 'an open stdin'],
  ['ReadOnly', 'a read-only root (--read-only)'],
  ['Init', 'an init process in the task (--init)'],
  ['Hosts', 'host entries (--host)'],
  ['DNSConfig', 'DNS settings of a service'],
]

/** Absent, "", 0, false, [], {}: Docker's client sends such along with their neighbours. */
export function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === 0 || value === false) return true
  return typeof value === 'object' && Object.values(value).every(isEmpty)
}
