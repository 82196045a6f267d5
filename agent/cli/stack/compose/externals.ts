/** Gives what a file declares as external the name that it has in the cluster: its own `name`, the older `external.name`, or its key. Pure. */
import { fault } from '../../../fault.ts'
import { mapValues } from './load.ts'
import type { Compose } from './schema.ts'

interface Declared {
  readonly name?: string | undefined
  readonly external?: boolean | { readonly name?: string | undefined } | undefined
}

export function withExternalNames(compose: Compose): Compose {
  const { networks, volumes, secrets, configs } = compose
  for (const [key, volume] of Object.entries(volumes ?? {}))
    for (const word of ['driver', 'driver_opts', 'labels'] as const)
      if (isExternal(volume) && volume[word] !== undefined)
        throw fault('invalid', `conflicting parameters "external" and "${word}" specified for volume "${key}"`)
  return {
    ...compose,
    ...(networks === undefined ? {} : { networks: mapValues(networks, (item, key) => resolved('network', key, item)) }),
    ...(volumes === undefined ? {} : { volumes: mapValues(volumes, (item, key) => resolved('volume', key, item)) }),
    ...(secrets === undefined ? {} : { secrets: mapValues(secrets, (item, key) => resolved('secret', key, item)) }),
    ...(configs === undefined ? {} : { configs: mapValues(configs, (item, key) => resolved('config', key, item)) }),
  }
}

function resolved<T extends Declared>(kind: string, key: string, item: T): T {
  if (!isExternal(item)) return item
  const older = typeof item.external === 'object' ? item.external.name : undefined
  if (older !== undefined && item.name !== undefined)
    throw fault('invalid', `${kind} ${key}: ${kind}.external.name and ${kind}.name conflict; only use ${kind}.name`)
  return { ...item, name: item.name ?? older ?? key, external: true }
}

function isExternal({ external }: Declared): boolean {
  return external === true || typeof external === 'object'
}
