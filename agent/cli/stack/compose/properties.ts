/**
 * Keys of a service that `docker stack` does not act on: refused, named in a warning, or told to be needless. Lists and sentences are Docker's
 * (docker/cli compose/types), with what Docker passes over in silence (tmpfs, depends_on, fixed addresses) named too.
 */
import { fault } from '../../../fault.ts'
import { type Document, isMapping } from './document.ts'
import { addressOfPort } from './short-forms.ts'

export interface Ignored {
  /** Names of keys, sorted. */
  readonly unsupported: readonly string[]
  /** Sentences. */
  readonly deprecated: readonly string[]
}

const unsupported = [
  ...[
    'build',
    'cgroupns_mode',
    'cgroup_parent',
    'depends_on',
    'devices',
    'domainname',
    'external_links',
    'ipc',
    'links',
  ],
  ...['mac_address', 'network_mode', 'pid', 'privileged', 'security_opt', 'shm_size', 'tmpfs', 'userns_mode'],
]

const deprecated: Readonly<Record<string, string>> = {
  container_name: 'Setting the container name is not supported.',
  expose:
    "Exposing ports is unnecessary - services on the same network can access each other's containers on any port.",
}

const limits = 'Set resource limits using deploy.resources'
const forbidden: Readonly<Record<string, string>> = {
  extends: 'Support for `extends` is not there: write the service out, or merge files with several -c.',
  volume_driver:
    'Instead of setting the volume driver on the service, define a volume using the top-level `volumes` option and specify the driver there.',
  volumes_from:
    'To share a volume between services, define it using the top-level `volumes` option and reference it from each service that shares it using the service-level `volumes` option.',
  ...Object.fromEntries(
    ['cpu_quota', 'cpu_shares', 'cpuset', 'mem_limit', 'memswap_limit'].map((key) => [key, limits]),
  ),
}

/** Throws for a key that Docker refuses by name. */
export function refuseForbidden(document: Document): void {
  const found = rawServices(document).flatMap(([name, service]) =>
    Object.keys(service)
      .filter((key) => Object.hasOwn(forbidden, key))
      .map((key) => `${document.where(['services', name, key])}: ${key}: ${forbidden[key]}`),
  )
  if (found.length > 0) throw fault('invalid', `Compose file contains unsupported options:\n\n${found.join('\n\n')}`)
}

/** Keys that have no effect, for the warning. */
export function ignoredUse(document: Document, services: Readonly<Record<string, object>>): readonly string[] {
  const keys = Object.values(services).flatMap((service) => Object.keys(service))
  const raw = rawServices(document).map(([, service]) => service)
  const addresses = raw
    .flatMap(({ networks }) => (isMapping(networks) ? Object.values(networks) : []))
    .flatMap((network) => (isMapping(network) ? Object.keys(network) : []))
    .filter((key) => key === 'ipv4_address' || key === 'ipv6_address')
    .map((key) => `networks.${key}`)
  const bound = raw
    .flatMap(({ ports }) => (Array.isArray(ports) ? ports : []))
    .some((port) => typeof port === 'string' && addressOfPort(port) !== undefined)
  return [
    ...new Set([
      ...keys.filter((key) => unsupported.includes(key)),
      ...addresses,
      ...(bound ? ['ports (the address before a port)'] : []),
    ]),
  ].sort()
}

export function deprecatedUse(services: Readonly<Record<string, object>>): readonly string[] {
  const keys = new Set(Object.values(services).flatMap((service) => Object.keys(service)))
  return Object.entries(deprecated)
    .filter(([key]) => keys.has(key))
    .map(([key, sentence]) => `${key}: ${sentence}`)
}

function rawServices({ data }: Document): readonly (readonly [string, Readonly<Record<string, unknown>>])[] {
  if (!isMapping(data.services)) return []
  return Object.entries(data.services).flatMap(([name, service]) =>
    isMapping(service) ? [[name, service] as const] : [],
  )
}
