/**
 * What Docker's API can ask of a service and Grapevine cannot do yet: refused with a sentence, never silently ignored (issue item 4).
 *
 * An empty value (absent, "", 0, false, [], {}) asks for nothing. Values in `allowed` are Docker's defaults, which its client sends along
 * when a neighbouring flag is set.
 */
import type { ServiceSpec } from '../../../protocol/spec.ts'
import { type Fault, fault } from '../../fault.ts'
import { isEmpty, needsContainer } from '../container.ts'
import { upMembers } from '../live.ts'
import type { View } from '../view.ts'

interface Refusal {
  readonly path: string
  readonly what: string
  readonly allowed?: readonly unknown[]
  readonly fix?: string
}

const container = 'TaskTemplate.ContainerSpec'

export const refusals: readonly Refusal[] = [
  { path: 'Mode.ReplicatedJob', what: 'jobs' },
  { path: 'Mode.GlobalJob', what: 'jobs' },
  { path: `${container}.Configs`, what: 'configs', fix: 'Pass the setting with --env' },
  {
    path: `${container}.Secrets`,
    what: 'secrets',
    fix: 'Keep the secret in a file on the nodes and pass its path with --env',
  },
  { path: `${container}.Privileges.CredentialSpec`, what: 'credential specs, which are of Windows' },
  { path: `${container}.Isolation`, what: 'isolation', allowed: ['default'] },
  {
    path: `${container}.DNSConfig.Nameservers`,
    what: 'name servers of a service (--dns)',
    fix: 'Set --upstream-dns of the agents',
  },
  { path: 'TaskTemplate.PluginSpec', what: 'plugins' },
  { path: 'TaskTemplate.NetworkAttachmentSpec', what: 'network attachments of containers' },
  { path: 'TaskTemplate.Runtime', what: 'this kind of task', allowed: ['container'] },
  { path: 'TaskTemplate.Resources.SwapBytes', what: 'a swap limit' },
  { path: 'TaskTemplate.Resources.MemorySwappiness', what: 'memory swappiness' },
  {
    path: 'TaskTemplate.Resources.Reservations.GenericResources',
    what: 'generic resources',
    fix: 'Label the nodes and use --constraint',
  },
  { path: 'UpdateConfig.Parallelism', what: 'an update parallelism other than 1', allowed: [1] },
  { path: 'UpdateConfig.Delay', what: 'an update delay' },
  { path: 'UpdateConfig.Monitor', what: 'an update monitor time', allowed: [5_000_000_000] },
  { path: 'UpdateConfig.FailureAction', what: 'an update failure action other than pause', allowed: ['pause'] },
  { path: 'UpdateConfig.MaxFailureRatio', what: 'an update failure ratio' },
  {
    path: 'RollbackConfig',
    what: 'rollback settings',
    fix: 'Leave them out: an update can be undone by another one',
  },
]

/** Here to be there is to ask, even with an empty value: `ReplicatedJob: {}` is a job, `Parallelism: 0` is all at once. */
const presenceAsks = new Set(['Mode.ReplicatedJob', 'Mode.GlobalJob', 'UpdateConfig.Parallelism'])

export function checkSupported(spec: ServiceSpec): Fault | undefined {
  for (const { path, what, allowed = [], fix } of refusals) {
    const value = at(spec, path)
    const asks = presenceAsks.has(path) ? value !== undefined : !isEmpty(value)
    if (asks && !allowed.includes(value))
      return fault('unsupported', `Grapevine does not support ${what} (${path})`, fix)
  }
  const networks = [...(spec.TaskTemplate.Networks ?? []), ...(spec.Networks ?? [])]
  if (networks.some((network) => !isEmpty(network.DriverOpts))) {
    return fault('unsupported', 'Grapevine does not support driver options of a network attachment')
  }
  return undefined
}

/** Docker's mounts that a node can make for a task by itself. */
const mountTypes = ['bind', 'volume', 'tmpfs']

export function checkMounts({ TaskTemplate: { ContainerSpec: asked } }: ServiceSpec): Fault | undefined {
  for (const { Type: type = '', Target: target, Source: source = '' } of asked.Mounts ?? []) {
    if (!mountTypes.includes(type))
      return fault('unsupported', `Grapevine does not support mounts of type "${type.slice(0, 40)}"`)
    if (!target.startsWith('/'))
      return fault('invalid', `invalid mount target, must be an absolute path: ${target.slice(0, 80)}`)
    if (type === 'bind' && !source.startsWith('/'))
      return fault('invalid', `invalid bind mount source, must be an absolute path: ${source.slice(0, 80)}`)
    if (type === 'tmpfs' && source !== '') return fault('invalid', 'invalid tmpfs source, source must be empty')
  }
  return undefined
}

/** Of nodes that are up now: one that comes later runs such a service too. */
export function checkRuntime(view: View, spec: ServiceSpec): Fault | undefined {
  const what = needsContainer(spec)
  if (what === undefined) return undefined
  const members = upMembers(view)
  // Not a member yet, as in some tests and at a first start: placement says it.
  if (members.length === 0 || members.some(({ record }) => record.value.runtimes.includes('docker'))) return undefined
  return fault(
    'unsupported',
    `No node of this cluster runs containers, which ${what} need`,
    'Start an agent where Docker runs, with --runtime docker, or leave that out: a task is a process of its node',
  )
}

interface LabelValue {
  readonly pattern: RegExp
  /** What is written there. */
  readonly says: string
}

/** Labels with a meaning to Grapevine; another `grapevine.` label is stored, with a warning, for it may be a slip. */
const labelValues: Readonly<Record<string, LabelValue>> = {
  'grapevine.expose': {
    pattern: /^\s*\d{1,5}(\/(tcp|udp))?\s*(,\s*\d{1,5}(\/(tcp|udp))?\s*)*$/,
    says: 'It lists ports, such as 80,53/udp',
  },
  'grapevine.port': { pattern: /^(fixed|dynamic)$/, says: 'It is fixed or dynamic' },
  'grapevine.partition': { pattern: /^(run|stop)$/, says: 'It is run or stop' },
  'grapevine.proxy-protocol': { pattern: /^(v2|off)$/, says: 'It is v2 or off' },
  'grapevine.affinity': { pattern: /^(client-ip|none)$/, says: 'It is client-ip or none' },
  'grapevine.ttl': { pattern: /^\d{1,4}$/, says: 'It is a number of seconds up to 9999' },
}

export function checkLabels(spec: ServiceSpec): Fault | undefined {
  for (const [label, value] of Object.entries(spec.Labels ?? {})) {
    const known = Object.hasOwn(labelValues, label) ? labelValues[label] : undefined
    if (known !== undefined && !known.pattern.test(value))
      return fault('invalid', `label ${label} cannot be "${value.slice(0, 80)}"`, known.says)
  }
  return undefined
}

export function labelWarnings(spec: ServiceSpec): readonly string[] {
  return Object.keys(spec.Labels ?? {})
    .filter((label) => label.startsWith('grapevine.') && !Object.hasOwn(labelValues, label))
    .sort()
    .map((label) => `label ${label} has no meaning to Grapevine`)
}

function at(data: unknown, path: string): unknown {
  let value = data
  for (const key of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
    value = (value as Readonly<Record<string, unknown>>)[key]
  }
  return value
}
