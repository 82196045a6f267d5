/**
 * Makes the API's service specs of the services of a stack, field by field what `docker stack deploy` sends (docker/cli compose/convert), so that a stack
 * that one of the two deployed is not changed by the other. Pure; everything wrong in a stack is found before any of it is created.
 */
import type { ServiceSpec } from '../../../../protocol/spec.ts'
import { fault } from '../../../fault.ts'
import { parseCpus } from '../../service/words.ts'
import { type Converting, containerSpec, nanoseconds } from './container.ts'
import { imageLabel, namespaceLabel } from './labels.ts'
import { isUserDefined, networkName } from './networks.ts'
import { defined, filled } from './omit.ts'
import type { Compose, Service } from './schema.ts'

/** Specs by the name that each service has in the file. */
export function serviceSpecs(stack: string, compose: Compose): ReadonlyMap<string, ServiceSpec> {
  const services = Object.entries(compose.services ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return new Map(services.map(([name, service]) => [name, serviceSpec({ stack, name, service, compose })]))
}

function serviceSpec(what: Converting): ServiceSpec {
  const { stack, name, service } = what
  const image = service.image ?? ''
  if (image === '') throw fault('invalid', `invalid image reference for service ${name}: no image specified`)
  const deploy = service.deploy ?? {}
  return {
    Name: `${stack}_${name}`,
    Labels: { ...deploy.labels, [imageLabel]: image, [namespaceLabel]: stack },
    TaskTemplate: {
      ContainerSpec: containerSpec(what, image),
      Resources: resources(deploy.resources),
      ...defined({ RestartPolicy: restartPolicy(what) }),
      Placement: placement(deploy.placement),
      Networks: attachments(what),
      ...(service.logging === undefined
        ? {}
        : { LogDriver: filled({ Name: service.logging.driver, Options: service.logging.options }) }),
      ForceUpdate: 0,
    },
    Mode: mode(what),
    ...defined({ UpdateConfig: updating(deploy.update_config), RollbackConfig: updating(deploy.rollback_config) }),
    EndpointSpec: filled({ Mode: deploy.endpoint_mode?.toLowerCase() as 'vip' | 'dnsrr', Ports: ports(service) }),
  }
}

type Resources = NonNullable<NonNullable<Service['deploy']>['resources']>

function resources(asked: Resources | undefined) {
  const amounts = (of: { readonly cpus?: string | undefined; readonly memory?: string | undefined }) => ({
    NanoCPUs: of.cpus === undefined || of.cpus === '' ? 0 : parseCpus(of.cpus, 'deploy.resources cpus'),
    MemoryBytes: Number(of.memory ?? 0),
  })
  const { limits, reservations } = asked ?? {}
  const generic = reservations?.generic_resources?.map(({ discrete_resource_spec: spec }) =>
    spec === undefined ? {} : { DiscreteResourceSpec: filled({ Kind: spec.kind, Value: spec.value }) },
  )
  return {
    ...(limits === undefined ? {} : { Limits: filled({ ...amounts(limits), Pids: limits.pids }) }),
    ...(reservations === undefined
      ? {}
      : { Reservations: filled({ ...amounts(reservations), GenericResources: generic }) }),
  }
}

type Condition = 'none' | 'on-failure' | 'any'

/** `deploy.restart_policy`, else the older `restart`. */
function restartPolicy({ name, service }: Converting) {
  const policy = service.deploy?.restart_policy
  if (policy !== undefined) {
    return {
      ...filled({ Condition: policy.condition as Condition }),
      ...defined({
        Delay: nanoseconds(policy.delay),
        MaxAttempts: policy.max_attempts,
        Window: nanoseconds(policy.window),
      }),
    }
  }
  const [word = '', count] = (service.restart ?? '').split(':', 2)
  if (word === '' || word === 'no') return undefined
  const conditions: Readonly<Record<string, Condition>> = {
    always: 'any',
    'unless-stopped': 'any',
    'on-failure': 'on-failure',
  }
  const condition = Object.hasOwn(conditions, word) ? conditions[word] : undefined
  if (condition === undefined || (count !== undefined && !/^\d+$/.test(count)))
    throw fault(
      'invalid',
      `service ${name}: invalid restart policy: '${service.restart}'`,
      "It is 'no', 'always', 'unless-stopped' or 'on-failure', the last perhaps with a number: 'on-failure:3'",
    )
  return { Condition: condition, ...filled({ MaxAttempts: Number(count ?? 0) }) }
}

function placement(asked: NonNullable<Service['deploy']>['placement']) {
  return filled({
    Constraints: asked?.constraints,
    Preferences: asked?.preferences?.map(({ spread }) => ({ Spread: { SpreadDescriptor: spread ?? '' } })),
    MaxReplicas: asked?.max_replicas_per_node,
  })
}

function attachments({ stack, name, service, compose }: Converting) {
  const named = Object.entries(service.networks ?? {})
  const asked = named.length > 0 ? named : [['default', null] as const]
  return asked
    .map(([network, wish]) => {
      if (network !== 'default' && compose.networks?.[network] === undefined)
        throw fault('invalid', `service ${name}: undefined network "${network}"`)
      const target = networkName(stack, network, compose)
      return {
        Target: target,
        ...filled({
          Aliases: [...(wish?.aliases ?? []), ...(isUserDefined(target) ? [name] : [])],
          DriverOpts: wish?.driver_opts,
        }),
      }
    })
    .toSorted((a, b) => (a.Target < b.Target ? -1 : 1))
}

function mode({ name, service }: Converting): NonNullable<ServiceSpec['Mode']> {
  const { mode: word = 'replicated', replicas } = service.deploy ?? {}
  if (word === 'replicated' || word === '') return { Replicated: defined({ Replicas: replicas }) }
  if (word === 'replicated-job')
    return { ReplicatedJob: defined({ MaxConcurrent: replicas, TotalCompletions: replicas }) }
  if (word !== 'global' && word !== 'global-job') throw fault('invalid', `service ${name}: unknown mode: ${word}`)
  if (replicas !== undefined)
    throw fault('invalid', `service ${name}: replicas can only be used with replicated or replicated-job mode`)
  return word === 'global' ? { Global: {} } : { GlobalJob: {} }
}

function updating(asked: NonNullable<Service['deploy']>['update_config']) {
  if (asked === undefined) return undefined
  return {
    Parallelism: asked.parallelism ?? 1,
    ...filled({
      Delay: nanoseconds(asked.delay),
      FailureAction: asked.failure_action,
      Monitor: nanoseconds(asked.monitor),
    }),
    MaxFailureRatio: asked.max_failure_ratio ?? 0,
    ...defined({ Order: asked.order }),
  }
}

function ports({ ports: asked = [] }: Service) {
  return asked
    .map((port) => ({
      ...filled({ Protocol: port.protocol as 'tcp' | 'udp' | 'sctp' }),
      TargetPort: port.target ?? 0,
      ...filled({ PublishedPort: port.published, PublishMode: port.mode as 'ingress' | 'host' }),
    }))
    .toSorted((a, b) => (a.PublishedPort ?? 0) - (b.PublishedPort ?? 0))
}
