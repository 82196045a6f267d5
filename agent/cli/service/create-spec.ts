/**
 * Makes a service spec of the flags of `service create`, as Docker's CLI does (docker/cli command/service/opts.go).
 *
 * Pure: files were read before. Only what was asked for is written, so that defaults stand in one place, the agent's.
 */
import type { HealthConfig, ServiceSpec } from '../../../protocol/spec.ts'
import { list, type Options, text, whole } from '../definition.ts'
import { parseDuration } from '../duration.ts'
import { usage } from '../usage.ts'
import { type Around, logDriver, newContainer } from './container.ts'
import { parsePublish } from './publish.ts'
import { resources } from './resources.ts'
import { mergeEnv, parseEnv, parseEnvFile, parseNetwork, parsePairs, parsePreference, splitCommand } from './words.ts'

/** What the flags alone do not hold. */
export interface Surroundings extends Around {
  /** Content of each `--env-file`, by path. */
  readonly files: ReadonlyMap<string, string>
}

type RestartPolicy = NonNullable<ServiceSpec['TaskTemplate']['RestartPolicy']>

export function createSpec(
  image: string,
  args: readonly string[],
  options: Options,
  around: Surroundings,
): ServiceSpec {
  const networks = list(options, 'network').map((text) => parseNetwork(text))
  const restart = restartPolicy(options)
  const placing = placement(options)
  const order = text(options, 'updateOrder')
  return {
    Name: text(options, 'name') ?? '',
    Labels: parsePairs(list(options, 'label'), '--label'),
    TaskTemplate: {
      ContainerSpec: containerSpec(image, args, options, around),
      ...optional('Resources', resources(options)),
      ...(restart === undefined ? {} : { RestartPolicy: restart }),
      ...(placing === undefined ? {} : { Placement: placing }),
      ...(networks.length === 0 ? {} : { Networks: networks }),
      ...optional('LogDriver', logDriver(options, around)),
    },
    Mode: mode(options),
    ...(order === undefined ? {} : { UpdateConfig: { Parallelism: 1, Order: order as 'stop-first' | 'start-first' } }),
    EndpointSpec: {
      Mode: endpointMode(options) ?? 'vip',
      Ports: list(options, 'publish').flatMap((text) => parsePublish(text)),
    },
  }
}

/** 'vip' or 'dnsrr', when asked for. */
export function endpointMode(options: Options): 'vip' | 'dnsrr' | undefined {
  const given = text(options, 'endpointMode')
  return given === 'vip' || given === 'dnsrr' ? given : undefined
}

/** The health check that the flags ask for, over the one there is. */
export function healthcheck(options: Options, before: HealthConfig | undefined): HealthConfig | undefined {
  const command = text(options, 'healthCmd')
  const times = {
    ...nanoseconds(options, 'healthInterval', 'Interval', '--health-interval'),
    ...nanoseconds(options, 'healthTimeout', 'Timeout', '--health-timeout'),
    ...nanoseconds(options, 'healthStartPeriod', 'StartPeriod', '--health-start-period'),
    ...nanoseconds(options, 'healthStartInterval', 'StartInterval', '--health-start-interval'),
    ...optional('Retries', whole(options, 'healthRetries')),
  }
  const asked = command !== undefined || Object.keys(times).length > 0
  if (options.healthcheck === false) {
    if (asked) throw usage('--no-healthcheck conflicts with the --health-… flags', 'Give one or the other')
    return { Test: ['NONE'] }
  }
  if (!asked) return before
  return { ...before, ...(command === undefined ? {} : { Test: ['CMD-SHELL', command] }), ...times }
}

/** Restart flags over the policy there is; undefined when nothing is said at all. */
export function restartPolicy(options: Options, before?: RestartPolicy): RestartPolicy | undefined {
  const condition = text(options, 'restartCondition') as 'none' | 'on-failure' | 'any' | undefined
  const asked = {
    ...optional('Condition', condition),
    ...nanoseconds(options, 'restartDelay', 'Delay', '--restart-delay'),
    ...optional('MaxAttempts', whole(options, 'restartMaxAttempts')),
    ...nanoseconds(options, 'restartWindow', 'Window', '--restart-window'),
  }
  return Object.keys(asked).length === 0 ? before : { ...before, ...asked }
}

/** `{[key]: value}`, or nothing for undefined. */
export function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]: V })
}

/** `{[key]: ns}` of a flag that holds a time, or nothing. */
export function nanoseconds<K extends string>(
  options: Options,
  name: string,
  key: K,
  flag: string,
): { [P in K]?: number } {
  const given = text(options, name)
  return optional(key, given === undefined ? undefined : parseDuration(flag, given))
}

function containerSpec(image: string, args: readonly string[], options: Options, around: Surroundings) {
  const fromFiles = list(options, 'envFile').flatMap((path) =>
    parseEnvFile(around.files.get(path) ?? '', around.env, path),
  )
  const env = mergeEnv(fromFiles, parseEnv(list(options, 'env'), around.env))
  const entrypoint = text(options, 'entrypoint')
  const labels = parsePairs(list(options, 'containerLabel'), '--container-label')
  return {
    Image: image,
    ...(Object.keys(labels).length === 0 ? {} : { Labels: labels }),
    ...(entrypoint === undefined ? {} : { Command: [...splitCommand(entrypoint, '--entrypoint')] }),
    ...(args.length === 0 ? {} : { Args: [...args] }),
    ...optional('Hostname', text(options, 'hostname')),
    ...(env.length === 0 ? {} : { Env: [...env] }),
    ...optional('Dir', text(options, 'workdir')),
    ...optional('User', text(options, 'user')),
    ...optional('StopSignal', text(options, 'stopSignal')),
    ...nanoseconds(options, 'stopGracePeriod', 'StopGracePeriod', '--stop-grace-period'),
    ...optional('Healthcheck', healthcheck(options, undefined)),
    ...newContainer(options, around),
  }
}

function mode(options: Options) {
  const replicas = whole(options, 'replicas')
  if (text(options, 'mode') !== 'global') return { Replicated: { Replicas: replicas ?? 1 } }
  if (replicas !== undefined)
    throw usage('--replicas can only be used with replicated mode', 'A global service runs one task on every node')
  return { Global: {} }
}

function placement(options: Options) {
  const asked = {
    ...(list(options, 'constraint').length === 0 ? {} : { Constraints: [...list(options, 'constraint')] }),
    ...(list(options, 'placementPref').length === 0
      ? {}
      : { Preferences: list(options, 'placementPref').map((text) => parsePreference(text)) }),
    ...optional('MaxReplicas', whole(options, 'replicasMaxPerNode')),
  }
  return Object.keys(asked).length === 0 ? undefined : asked
}
