/**
 * Checks of single fields of a service, with swarmkit's limits and sentences (manager/controlapi, manager/constraint, daemon/health.go).
 *
 * Each gives undefined, or the Fault that is told to the user, so that they chain with `??` and the first one counts.
 */
import type { ServiceSpec } from '../../../protocol/spec.ts'
import type { Fault } from '../../fault.ts'
import { parseAddress } from '../addresses/ipv4.ts'
import { parseAddress6 } from '../addresses/ipv6.ts'
import { invalid } from './read.ts'

/** A DNS label that may hold - and _ inside. swarmkit's own pattern backtracks without bound; this one means the same. */
const namePattern = /^[A-Za-z0-9](?:[-_A-Za-z0-9]*[A-Za-z0-9])?$/

export function checkName(name: string): Fault | undefined {
  if (name.length > 63) return invalid('name must be 63 characters or fewer')
  if (!namePattern.test(name)) return invalid(`name must be valid as a DNS name component, "${name}" is not`)
  return undefined
}

/** 10,000: every node computes the holder of every slot at each change. */
const replicasMax = 10_000

export function checkMode(spec: ServiceSpec): Fault | undefined {
  const { Replicated: replicated, Global: global } = spec.Mode ?? {}
  if (replicated !== undefined && global !== undefined)
    return invalid('a service is either replicated or global, not both')
  const replicas = replicated?.Replicas ?? 1
  return replicas > replicasMax ? invalid(`replicas must be ${replicasMax} or fewer, not ${replicas}`) : undefined
}

const nanoCpusMin = 1_000_000
const memoryBytesMin = 4 * 1024 * 1024

export function checkResources(spec: ServiceSpec): Fault | undefined {
  for (const resources of [spec.TaskTemplate.Resources?.Limits, spec.TaskTemplate.Resources?.Reservations]) {
    const { NanoCPUs: cpus = 0, MemoryBytes: memory = 0 } = resources ?? {}
    if (cpus !== 0 && cpus < nanoCpusMin) return invalid(`invalid cpu value ${cpus / 1e9}: Must be at least 0.001`)
    if (memory !== 0 && memory < memoryBytesMin) return invalid(`invalid memory value ${memory}: Must be at least 4MiB`)
  }
  return undefined
}

export function checkContainer(spec: ServiceSpec): Fault | undefined {
  const container = spec.TaskTemplate.ContainerSpec
  if (container.Image === '') return invalid('ContainerSpec: image reference must be provided')
  const badEnv = container.Env?.find((line) => !/^[^=\0]+(=|$)/.test(line) || line.includes('\0'))
  if (badEnv !== undefined) return invalid(`invalid environment variable: ${badEnv.slice(0, 80)}`)
  const signal = container.StopSignal
  if (signal !== undefined && !isSignal(signal))
    return invalid(`Invalid signal: ${signal.slice(0, 40)}`, 'Write a name or a number, such as SIGTERM, INT or 15')
  return checkHosts(container.Hosts ?? []) ?? checkHealth(container.Healthcheck)
}

/** Lines of a hosts file. An engine's `host-gateway` is no address here: what stands at a network's gateway answers tasks nothing. */
function checkHosts(lines: readonly string[]): Fault | undefined {
  const bad = lines.find((line) => {
    const [address = '', ...names] = line.trim().split(/[ \t]+/)
    const isAddress = parseAddress(address) !== undefined || parseAddress6(address) !== undefined
    return !isAddress || names.length === 0 || names.some((name) => !/^[\w.-]{1,253}$/.test(name))
  })
  return bad === undefined
    ? undefined
    : invalid(`invalid host entry "${bad.slice(0, 80)}"`, 'Write an address and names: 192.0.2.7 db')
}

/** Linux signals by name; real-time ones and numbers are taken too. */
const signals = new Set(
  'ABRT ALRM BUS CHLD CONT FPE HUP ILL INT IO KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ'.split(
    ' ',
  ),
)

function isSignal(text: string): boolean {
  if (/^\d{1,2}$/.test(text)) return Number(text) >= 1 && Number(text) <= 64
  return signals.has(text.toUpperCase().replace(/^SIG/, ''))
}

const nanosecondsPerMs = 1_000_000

function checkHealth(health: ServiceSpec['TaskTemplate']['ContainerSpec']['Healthcheck']): Fault | undefined {
  if (health === undefined) return undefined
  const [kind, ...rest] = health.Test ?? []
  if (kind !== undefined && !['NONE', 'CMD', 'CMD-SHELL'].includes(kind)) {
    return invalid(`Unknown healthcheck type "${kind.slice(0, 40)}": it must be NONE, CMD or CMD-SHELL`)
  }
  if ((kind === 'CMD' || kind === 'CMD-SHELL') && rest.length === 0) return invalid('the healthcheck has no command')
  for (const field of ['Interval', 'Timeout', 'StartPeriod', 'StartInterval'] as const) {
    const value = health[field] ?? 0
    if (value !== 0 && value < nanosecondsPerMs) return invalid(`${field} in Healthcheck cannot be less than 1ms`)
  }
  return undefined
}

const constraintKeys = /^(node\.(id|hostname|role|ip|platform\.os|platform\.arch)|(node|engine)\.labels\..+)$/i
/** swarmkit's alphabets of a constraint's key and value. */
const keyPattern = /^[a-z_][a-z0-9\-_.]+$/i
const valuePattern = /^[a-z0-9:\-_\s.*()?+[\]\\^$|/]+$/i

export function checkPlacement(spec: ServiceSpec): Fault | undefined {
  for (const constraint of spec.TaskTemplate.Placement?.Constraints ?? []) {
    const match = /^(.*?)(==|!=)(.*)$/s.exec(constraint)
    if (match === null)
      return invalid(
        `constraint expected one operator from ==, !=: "${constraint.slice(0, 80)}"`,
        'Write it as node.labels.zone==a',
      )
    const key = (match[1] ?? '').trim()
    const value = (match[3] ?? '').trim()
    if (!keyPattern.test(key) || !constraintKeys.test(key)) {
      return invalid(
        `constraint key '${key.slice(0, 80)}' is invalid`,
        'Keys: node.id, node.hostname, node.role, node.ip, node.platform.os, node.platform.arch, node.labels.*, engine.labels.*',
      )
    }
    if (!valuePattern.test(value)) return invalid(`constraint value '${value.slice(0, 80)}' is invalid`)
  }
  for (const preference of spec.TaskTemplate.Placement?.Preferences ?? []) {
    const descriptor = preference.Spread?.SpreadDescriptor ?? ''
    if (!/^(node|engine)\.labels\..+$/i.test(descriptor)) {
      return invalid(
        `spread over "${descriptor.slice(0, 80)}" is invalid`,
        'Spread over node.labels.* or engine.labels.*',
      )
    }
  }
  return undefined
}
