/**
 * What a service asks for, read out of its Docker-shaped spec once: plain names, defaults filled in, times in milliseconds.
 *
 * Every decision reads `Wanted`, none reads the raw spec, so a default stands in one place. The template hash tells whether a task
 * runs what is wanted now; it covers what a task is made of and nothing that placement or the mesh alone reads (swarmkit IsTaskDirty).
 */
import type { NetworkId, ServiceId } from '../../protocol/ids.ts'
import type { Protocol, ServiceValue } from '../../protocol/model.ts'
import type { HealthConfig, PortConfig, ServiceSpec } from '../../protocol/spec.ts'
import { type ContainerOptions, containerOptions, isEmpty, needsContainer } from './container.ts'
import type { Stamped } from './view.ts'

export interface Wanted {
  readonly id: ServiceId
  readonly name: string
  /** Number of slots, or 'global': one on every eligible node. */
  readonly replicas: number | 'global'
  readonly image: string
  readonly command: readonly string[]
  readonly args: readonly string[]
  readonly env: readonly string[]
  readonly dir: string | undefined
  readonly user: string | undefined
  readonly hostname: string | undefined
  readonly stop: StopHow
  readonly health: Health | undefined
  /** As the spec has it, for what an image adds to it (`imageHealth`). */
  readonly healthConfig: HealthConfig | undefined
  readonly container: ContainerOptions
  /** What only a container has, in the user's words; undefined: a process will do. */
  readonly needsContainer: string | undefined
  readonly restart: Restart
  readonly constraints: readonly string[]
  /** Empty: any. An empty word in one means any there. */
  readonly platforms: readonly { readonly os: string; readonly arch: string }[]
  readonly spreadOver: readonly string[]
  /** 0: no limit. */
  readonly maxPerNode: number
  readonly reserved: { readonly nanoCpus: number; readonly memoryBytes: number }
  readonly networks: readonly WantedNetwork[]
  readonly endpointMode: 'vip' | 'dnsrr'
  readonly ports: readonly WantedPort[]
  /** Target ports tasks listen on without publishing them: label `grapevine.expose=5432,53/udp`. */
  readonly exposed: readonly { readonly protocol: Protocol; readonly target: number }[]
  readonly updateOrder: 'stop-first' | 'start-first'
  readonly labels: Readonly<Record<string, string>>
  /** Equal for equal templates; a task with another hash is outdated. */
  readonly template: string
  readonly generation: number
}

export interface StopHow {
  /** Undefined: the image's own, or SIGTERM. */
  readonly signal: string | undefined
  /** From then on SIGKILL. */
  readonly graceMs: number
}

export interface WantedNetwork {
  readonly network: NetworkId
  readonly aliases: readonly string[]
}

export interface WantedPort {
  readonly protocol: Protocol
  readonly target: number
  readonly published: number
  readonly mode: 'ingress' | 'host'
}

export interface Health {
  /** ['CMD', …] or ['CMD-SHELL', line]. */
  readonly test: readonly string[]
  readonly intervalMs: number
  readonly timeoutMs: number
  readonly retries: number
  readonly startPeriodMs: number
  readonly startIntervalMs: number
}

export interface Restart {
  readonly condition: 'none' | 'on-failure' | 'any'
  readonly delayMs: number
  /** 0: no limit. */
  readonly maxAttempts: number
  /** 0: attempts are counted for ever. */
  readonly windowMs: number
}

const cache = new WeakMap<ServiceValue, Wanted>()

/** Reads a service. Computed once for each stored value: the same value object gives the same result object. */
export function wanted(service: Stamped<ServiceValue>): Wanted {
  const known = cache.get(service.value)
  if (known !== undefined) return known
  const result = read(service.id, service.value)
  cache.set(service.value, result)
  return result
}

function read(id: ServiceId, value: ServiceValue): Wanted {
  const spec = value.spec
  const container = spec.TaskTemplate.ContainerSpec
  const placement = spec.TaskTemplate.Placement
  const labels = spec.Labels ?? {}
  return {
    id,
    name: spec.Name,
    replicas: spec.Mode?.Global === undefined ? (spec.Mode?.Replicated?.Replicas ?? 1) : 'global',
    image: container.Image,
    command: container.Command ?? [],
    args: container.Args ?? [],
    env: container.Env ?? [],
    dir: container.Dir,
    user: container.User,
    hostname: container.Hostname,
    stop: { signal: container.StopSignal || undefined, graceMs: milliseconds(container.StopGracePeriod, 10_000) },
    health: readHealth(container.Healthcheck),
    healthConfig: container.Healthcheck,
    container: containerOptions(spec),
    needsContainer: needsContainer(spec),
    restart: readRestart(spec),
    constraints: placement?.Constraints ?? [],
    platforms: (placement?.Platforms ?? []).map((p) => ({ os: p.OS ?? '', arch: p.Architecture ?? '' })),
    spreadOver: (placement?.Preferences ?? []).flatMap((p) => p.Spread?.SpreadDescriptor ?? []),
    maxPerNode: placement?.MaxReplicas ?? 0,
    reserved: {
      nanoCpus: spec.TaskTemplate.Resources?.Reservations?.NanoCPUs ?? 0,
      memoryBytes: spec.TaskTemplate.Resources?.Reservations?.MemoryBytes ?? 0,
    },
    networks: attachments(spec).map((n) => ({ network: n.Target, aliases: n.Aliases ?? [] })),
    endpointMode: spec.EndpointSpec?.Mode ?? 'vip',
    ports: value.ports,
    exposed: readExposed(labels['grapevine.expose']),
    updateOrder: spec.UpdateConfig?.Order ?? 'stop-first',
    labels,
    template: templateHash(spec),
    generation: value.generation,
  }
}

/** The networks of a spec, wherever the client's API version put them. */
export function attachments(spec: ServiceSpec) {
  return spec.TaskTemplate.Networks ?? spec.Networks ?? []
}

/**
 * Hash of everything a task is made of. Placement, mode, names of ports and labels of the service are left out: changing them
 * must not restart what runs well. 64-bit FNV-1a over canonical JSON; it need not resist an attacker, members trust each other.
 */
export function templateHash(spec: ServiceSpec): string {
  const { Placement: _placement, RestartPolicy: _restart, ...made } = spec.TaskTemplate
  const targets = (spec.EndpointSpec?.Ports ?? [])
    .map(
      (p: PortConfig) =>
        `${p.TargetPort}/${p.Protocol ?? 'tcp'}${p.PublishMode === 'host' ? `=${p.PublishedPort ?? 0}` : ''}`,
    )
    .sort()
  const own = [spec.Labels?.['grapevine.expose'] ?? '', spec.Labels?.['grapevine.port'] ?? '']
  return fnv1a64(canonical([made, attachments(spec), targets, own]))
}

/** JSON with sorted keys: equal data gives equal text, whatever order it was built in. */
export function canonical(data: unknown): string {
  if (Array.isArray(data)) return `[${data.map((item) => canonical(item ?? null)).join(',')}]`
  if (data === null || typeof data !== 'object') return JSON.stringify(data) ?? 'null'
  const entries = Object.entries(data)
    .filter(([, value]) => value !== undefined && value !== null)
    .sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${entries.map(([key, value]) => `${JSON.stringify(key)}:${canonical(value)}`).join(',')}}`
}

/** Whether `canonical` of both is the same text, without writing either: asked for each endpoint in each pass. */
export function isSameData(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') return canonical(a) === canonical(b)
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false
    return a.every((item, i) => isSameData(item ?? null, b[i] ?? null))
  }
  const [mine, theirs] = [a as Readonly<Record<string, unknown>>, b as Readonly<Record<string, unknown>>]
  const keys = held(mine)
  return keys.length === held(theirs).length && keys.every((key) => isSameData(mine[key], theirs[key] ?? null))
}

function held(data: Readonly<Record<string, unknown>>): readonly string[] {
  return Object.keys(data).filter((key) => data[key] !== undefined && data[key] !== null)
}

/** FNV-1a, 64 bits, as 16 hex digits (Fowler, Noll, Vo; draft-eastlake-fnv). Over UTF-16 code units. */
export function fnv1a64(text: string): string {
  let high = 0xcbf29ce4
  let low = 0x84222325
  for (let i = 0; i < text.length; i++) {
    low = (low ^ text.charCodeAt(i)) >>> 0
    // Multiply by 2^40 + 0x1b3 in 32-bit halves.
    const product = low * 0x1b3
    const carry = Math.floor(product / 0x100000000)
    high = (Math.imul(high, 0x1b3) + carry + (low << 8)) >>> 0
    low = product >>> 0
  }
  return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0')
}

function readHealth(config: HealthConfig | undefined): Health | undefined {
  const test = config?.Test ?? []
  if (config === undefined || test.length === 0 || test[0] === 'NONE') return undefined
  // Docker's defaults (moby daemon/health.go); 0 means "default" in its API.
  return {
    test,
    intervalMs: milliseconds(config.Interval, 30_000),
    timeoutMs: milliseconds(config.Timeout, 30_000),
    retries: config.Retries === undefined || config.Retries === 0 ? 3 : config.Retries,
    startPeriodMs: milliseconds(config.StartPeriod, 0),
    startIntervalMs: milliseconds(config.StartInterval, 5_000),
  }
}

/** The check of a task whose image brings one: what the service says counts, what it leaves out is the image's (daemon/commit.go, merge). */
export function imageHealth({ healthConfig: own }: Wanted, image: HealthConfig): Health | undefined {
  const said = Object.entries(own ?? {}).filter(([, value]) => !isEmpty(value))
  return readHealth({ ...image, ...Object.fromEntries(said) })
}

function readRestart(spec: ServiceSpec): Restart {
  const policy = spec.TaskTemplate.RestartPolicy
  return {
    condition: policy?.Condition ?? 'any',
    delayMs: policy?.Delay === undefined ? 5_000 : policy.Delay / 1e6,
    maxAttempts: policy?.MaxAttempts ?? 0,
    windowMs: (policy?.Window ?? 0) / 1e6,
  }
}

function readExposed(label: string | undefined): Wanted['exposed'] {
  if (label === undefined) return []
  return label.split(',').flatMap((item) => {
    const match = /^\s*(\d{1,5})(?:\/(tcp|udp))?\s*$/.exec(item)
    return match === null ? [] : [{ target: Number(match[1]), protocol: (match[2] ?? 'tcp') as Protocol }]
  })
}

/** Nanoseconds of the API to ms; absent and 0 mean the default. */
function milliseconds(nanoseconds: number | undefined, defaultMs: number): number {
  return nanoseconds === undefined || nanoseconds === 0 ? defaultMs : nanoseconds / 1e6
}
