/**
 * Makes the API's ContainerSpec of a service: image, command, environment, mounts, limits of its process, health check, secrets and configs
 * (docker/cli compose/convert). Pure.
 */
import type { HealthConfig } from '../../../../protocol/spec.ts'
import { fault } from '../../../fault.ts'
import { parseDuration } from '../../duration.ts'
import { capabilities } from '../../service/capabilities.ts'
import { namespaceLabel } from './labels.ts'
import { mountsOf } from './mounts.ts'
import { defined, filled } from './omit.ts'
import type { Compose, FileObject, FileReference, Service } from './schema.ts'

/** A service by its name in the file, and all around it. */
export interface Converting {
  readonly stack: string
  readonly name: string
  readonly service: Service
  readonly compose: Compose
}

export function containerSpec(what: Converting, image: string) {
  const { stack, name, service, compose } = what
  return {
    Image: withTag(image),
    Labels: { ...service.labels, [namespaceLabel]: stack },
    ...filled({
      Command: service.entrypoint,
      Args: service.command,
      Hostname: service.hostname,
      Env: Object.entries(service.environment ?? {})
        .map(([key, value]) => (value === null ? key : `${key}=${value}`))
        .sort(),
      Dir: service.working_dir,
      User: service.user,
    }),
    Privileges: { CredentialSpec: credentials(service), SELinuxContext: null, NoNewPrivileges: false },
    ...defined({ Init: service.init, StopGracePeriod: nanoseconds(service.stop_grace_period) }),
    ...filled({
      StopSignal: service.stop_signal,
      TTY: service.tty,
      OpenStdin: service.stdin_open,
      ReadOnly: service.read_only,
      Mounts: mountsOf({ stack, service: name, mounts: service.volumes ?? [], volumes: compose.volumes ?? {} }),
      Hosts: (service.extra_hosts ?? []).flatMap(hostEntry),
      DNSConfig: filled({ Nameservers: service.dns, Search: service.dns_search }),
      Isolation: service.isolation,
      Sysctls: service.sysctls,
      ...capabilities(service.cap_add ?? [], service.cap_drop ?? []),
      Ulimits: Object.entries(service.ulimits ?? {}).map(([limit, value]) =>
        typeof value === 'number'
          ? { Name: limit, Hard: value, Soft: value }
          : { Name: limit, Hard: value.hard, Soft: value.soft },
      ),
      OomScoreAdj: service.oom_score_adj,
      Secrets: references(what, { kind: 'Secret', wishes: service.secrets, known: compose.secrets }),
      Configs: references(what, { kind: 'Config', wishes: service.configs, known: compose.configs }),
    }),
    ...defined({ Healthcheck: healthcheck(name, service) }),
  }
}

/** Docker's client names the tag that an image without one has, and leaves its own registry out. */
function withTag(image: string): string {
  const short = image.replace(/^(docker\.io|index\.docker\.io)\//, '').replace(/^library\//, '')
  const last = short.slice(short.lastIndexOf('/') + 1)
  return last.includes(':') || last.includes('@') ? short : `${short}:latest`
}

/** `host:address` as `address host`. */
function hostEntry(text: string): readonly string[] {
  const [, host, address] = /^([^:]+):(.*)$/.exec(text) ?? []
  return host === undefined ? [] : [`${address?.replace(/^\[(.*)\]$/, '$1')} ${host}`]
}

function credentials({ credential_spec: spec }: Service) {
  if (spec === undefined) return null
  return filled({ Config: spec.config, File: spec.file, Registry: spec.registry })
}

function healthcheck(name: string, { healthcheck: check }: Service): HealthConfig | undefined {
  if (check === undefined) return undefined
  if (check.disable === true) {
    if ((check.test ?? []).length > 0)
      throw fault('invalid', `service ${name}: test and disable can't be set at the same time`)
    return { Test: ['NONE'] }
  }
  return filled({
    Test: check.test,
    Interval: nanoseconds(check.interval),
    Timeout: nanoseconds(check.timeout),
    StartPeriod: nanoseconds(check.start_period),
    StartInterval: nanoseconds(check.start_interval),
    Retries: check.retries,
  })
}

interface References {
  readonly kind: 'Secret' | 'Config'
  readonly wishes: readonly FileReference[] | undefined
  readonly known: Readonly<Record<string, FileObject>> | undefined
}

/** By name only: what becomes of them the API says. */
function references({ stack, name: service }: Converting, { kind, wishes = [], known = {} }: References) {
  return wishes
    .map((wish): FileReference => wish)
    .map(({ source = '', target = source, uid = '0', gid = '0', mode: bits = 0o444 }) => {
      const definition = known[source]
      if (definition === undefined)
        throw fault('invalid', `service ${service}: undefined ${kind.toLowerCase()} "${source}"`)
      const name = definition.name ?? `${stack}_${source}`
      return { name, reference: { File: { Name: target, UID: uid, GID: gid, Mode: bits }, [`${kind}Name`]: name } }
    })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ reference }) => reference)
}

export function nanoseconds(text: string | undefined): number | undefined {
  return text === undefined ? undefined : parseDuration('', text)
}
