/**
 * Applies the flags of `service update` to the spec that is there, as Docker's CLI does (docker/cli command/service/update.go).
 *
 * Pure. In each `-add/-rm` pair what is removed goes first, so one update can replace a value (container.ts has exceptions). What no flag
 * names stays as it is, unknown fields included.
 */
import type { PortConfig, ServiceSpec } from '../../../protocol/spec.ts'
import { list, type Options, on, text, whole } from '../definition.ts'
import { usage } from '../usage.ts'
import { changedContainer, logDriver } from './container.ts'
import { endpointMode, healthcheck, nanoseconds, optional, restartPolicy, type Surroundings } from './create-spec.ts'
import { parsePublish, parseTarget } from './publish.ts'
import { resources } from './resources.ts'
import { mergeEnv, type NetworkWish, parseEnv, parsePairs, parsePreference, splitCommand } from './words.ts'

/** Networks named by flags, already turned into ids. */
export interface NetworkChange {
  readonly add: readonly NetworkWish[]
  /** Ids to leave. */
  readonly remove: readonly string[]
}

export function updateSpec(
  spec: ServiceSpec,
  options: Options,
  around: Surroundings,
  networks: NetworkChange,
): ServiceSpec {
  const template = spec.TaskTemplate
  const order = text(options, 'updateOrder') as 'stop-first' | 'start-first' | undefined
  return {
    ...spec,
    Labels: changePairs(spec.Labels ?? {}, options, 'label'),
    TaskTemplate: {
      ...template,
      ContainerSpec: containerSpec(template.ContainerSpec, options, around),
      ...optional('Resources', resources(options, template.Resources ?? undefined)),
      ...optional('RestartPolicy', restartPolicy(options, template.RestartPolicy ?? undefined)),
      ...optional('Placement', placement(template.Placement ?? undefined, options)),
      ...changeNetworks(spec, networks),
      ...optional('LogDriver', logDriver(options, around)),
      ...(on(options, 'force') ? { ForceUpdate: (template.ForceUpdate ?? 0) + 1 } : {}),
    },
    Mode: mode(spec, options),
    ...(order === undefined ? {} : { UpdateConfig: { ...spec.UpdateConfig, Order: order } }),
    EndpointSpec: {
      ...spec.EndpointSpec,
      ...optional('Mode', endpointMode(options)),
      Ports: changePorts(spec.EndpointSpec?.Ports ?? [], options),
    },
  }
}

/** Sets the number of replicas; a global service has none to set. */
export function scaleSpec(spec: ServiceSpec, name: string, replicas: number): ServiceSpec {
  if (spec.Mode?.Global !== undefined)
    throw usage(`${name}: scale can only be used with replicated mode`, 'A global service runs one task on every node')
  return { ...spec, Mode: { ...spec.Mode, Replicated: { Replicas: replicas } } }
}

function containerSpec(before: ServiceSpec['TaskTemplate']['ContainerSpec'], options: Options, around: Surroundings) {
  const [args, entrypoint] = [text(options, 'args'), text(options, 'entrypoint')]
  const removed = new Set(list(options, 'envRm'))
  const kept = (before.Env ?? []).filter((entry) => !removed.has(entry.split('=')[0] ?? ''))
  const env = mergeEnv(kept, parseEnv(list(options, 'envAdd'), around.env, '--env-add'))
  const labels = changePairs(before.Labels ?? {}, options, 'containerLabel')
  return {
    ...before,
    ...optional('Image', text(options, 'image')),
    ...(Object.keys(labels).length > 0 || before.Labels !== undefined ? { Labels: labels } : {}),
    ...(entrypoint === undefined ? {} : { Command: [...splitCommand(entrypoint, '--entrypoint')] }),
    ...(args === undefined ? {} : { Args: [...splitCommand(args, '--args')] }),
    ...(env.length > 0 || before.Env !== undefined ? { Env: [...env] } : {}),
    ...optional('Hostname', text(options, 'hostname')),
    ...optional('Dir', text(options, 'workdir')),
    ...optional('User', text(options, 'user')),
    ...optional('StopSignal', text(options, 'stopSignal')),
    ...nanoseconds(options, 'stopGracePeriod', 'StopGracePeriod', '--stop-grace-period'),
    ...optional('Healthcheck', healthcheck(options, before.Healthcheck)),
    ...changedContainer(before, options, around),
  }
}

function changePairs(before: Readonly<Record<string, string>>, options: Options, flag: 'label' | 'containerLabel') {
  const word = flag === 'label' ? '--label' : '--container-label'
  const removed = new Set(list(options, `${flag}Rm`))
  const kept = Object.entries(before).filter(([key]) => !removed.has(key))
  return { ...Object.fromEntries(kept), ...parsePairs(list(options, `${flag}Add`), `${word}-add`) }
}

function placement(before: NonNullable<ServiceSpec['TaskTemplate']['Placement']> | undefined, options: Options) {
  const constraints = changeList(
    before?.Constraints ?? [],
    list(options, 'constraintAdd'),
    list(options, 'constraintRm'),
  )
  const spread = changeList(
    (before?.Preferences ?? []).flatMap((p) => p.Spread?.SpreadDescriptor ?? []),
    list(options, 'placementPrefAdd').map((p) => parsePreference(p, '--placement-pref-add').Spread.SpreadDescriptor),
    list(options, 'placementPrefRm').map((p) => parsePreference(p, '--placement-pref-rm').Spread.SpreadDescriptor),
  )
  const changed = {
    ...(constraints.length > 0 || before?.Constraints ? { Constraints: constraints } : {}),
    ...(spread.length > 0 || before?.Preferences
      ? { Preferences: spread.map((SpreadDescriptor) => ({ Spread: { SpreadDescriptor } })) }
      : {}),
    ...optional('MaxReplicas', whole(options, 'replicasMaxPerNode')),
  }
  return before === undefined && Object.keys(changed).length === 0 ? undefined : { ...before, ...changed }
}

function changeList(before: readonly string[], add: readonly string[], remove: readonly string[]): string[] {
  const kept = before.filter((item) => !remove.includes(item))
  return [...kept, ...add.filter((item) => !kept.includes(item))]
}

function changeNetworks(spec: ServiceSpec, { add, remove }: NetworkChange) {
  const before = spec.TaskTemplate.Networks ?? spec.Networks ?? []
  if (add.length === 0 && remove.length === 0) return {}
  const gone = new Set([...remove, ...add.map((network) => network.Target)])
  return { Networks: [...before.filter((network) => !gone.has(network.Target)), ...add] }
}

function changePorts(before: readonly PortConfig[], options: Options): PortConfig[] {
  const removed = list(options, 'publishRm').flatMap(parseTarget)
  const added = list(options, 'publishAdd').flatMap((text) => parsePublish(text, '--publish-add'))
  const kept = before.filter(
    (port) =>
      !removed.some((r) => r.target === port.TargetPort && r.protocol === (port.Protocol ?? 'tcp')) &&
      !added.some((a) => samePort(a, port)),
  )
  return [...kept, ...added]
}

/** The new port takes the place of an old one: same published port, or same target where one of them names no published port. */
function samePort(a: PortConfig, b: PortConfig): boolean {
  if ((a.Protocol ?? 'tcp') !== (b.Protocol ?? 'tcp')) return false
  if (a.PublishedPort && a.PublishedPort === b.PublishedPort) return true
  return a.TargetPort === b.TargetPort && (!a.PublishedPort || !b.PublishedPort)
}

function mode(spec: ServiceSpec, options: Options) {
  const replicas = whole(options, 'replicas')
  return replicas === undefined ? spec.Mode : scaleSpec(spec, spec.Name, replicas).Mode
}
