/**
 * Which networks a stack needs: those to be there already, and those to create with the body that Docker's client sends (docker/cli
 * compose/convert/compose.go). Networks that no service joins are not made. Pure.
 */
import type { NetworkSpec } from '../../../../protocol/spec.ts'
import { namespaceLabel } from './labels.ts'
import type { Compose, NetworkDefinition } from './schema.ts'

export interface StackNetworks {
  readonly create: readonly NetworkSpec[]
  /** Names. */
  readonly external: readonly string[]
}

export function networksOf(stack: string, compose: Compose): StackNetworks {
  const used = new Set(
    Object.values(compose.services ?? {}).flatMap(({ networks }) => {
      const names = Object.keys(networks ?? {})
      return names.length === 0 ? ['default'] : names
    }),
  )
  const all = [...used].sort().map((key) => ({
    name: networkName(stack, key, compose),
    definition: compose.networks?.[key] ?? {},
  }))
  return {
    create: all
      .filter(({ definition }) => definition.external !== true)
      .map(({ name, definition }) => body(stack, name, definition)),
    external: all
      .filter(({ name, definition }) => definition.external === true && isUserDefined(name))
      .map(({ name }) => name),
  }
}

/** The name that the cluster knows a network of the file by. */
export function networkName(stack: string, key: string, { networks }: Compose): string {
  return networks?.[key]?.name ?? `${stack}_${key}`
}

function body(stack: string, name: string, definition: NetworkDefinition): NetworkSpec {
  const { driver, config = [] } = definition.ipam ?? {}
  const hasIpam = (driver ?? '') !== '' || config.length > 0
  return {
    Name: name,
    Driver: definition.driver || 'overlay',
    Scope: '',
    IPAM: hasIpam
      ? { Driver: driver ?? '', Options: null, Config: config.map(({ subnet = '' }) => ({ Subnet: subnet })) }
      : null,
    Internal: definition.internal ?? false,
    Attachable: definition.attachable ?? false,
    Ingress: false,
    ConfigOnly: false,
    ConfigFrom: null,
    Options: definition.driver_opts ?? null,
    Labels: { ...definition.labels, [namespaceLabel]: stack },
  }
}

/** Others are there on every machine and know no aliases. */
export function isUserDefined(network: string): boolean {
  return !['default', 'bridge', 'host', 'none'].includes(network) && !network.startsWith('container:')
}
