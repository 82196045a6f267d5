/** Makes the API's mounts of a service's volumes (docker/cli compose/convert/volume.go). Pure. */
import type { Mount } from '../../../../protocol/spec.ts'
import { fault } from '../../../fault.ts'
import { namespaceLabel } from './labels.ts'
import { filled } from './omit.ts'
import type { ServiceVolume, VolumeDefinition } from './schema.ts'

interface Asked {
  readonly stack: string
  /** For sentences. */
  readonly service: string
  readonly mounts: readonly ServiceVolume[]
  readonly volumes: Readonly<Record<string, VolumeDefinition>>
}

export function mountsOf(asked: Asked): Mount[] {
  return asked.mounts.map((mount) => mountOf(mount, asked))
}

const kinds = ['volume', 'bind', 'tmpfs', 'npipe', 'cluster']
/** Which options belong to which kind. */
const owners = { bind: ['bind', 'npipe'], volume: ['volume'], tmpfs: ['tmpfs'] } as const

function mountOf(mount: ServiceVolume, asked: Asked): Mount {
  const { service } = asked
  const type = mount.type || 'volume'
  const no = (sentence: string) => fault('invalid', `service ${service}: ${sentence}`)
  if (!kinds.includes(type)) throw no('volume type must be volume, bind, tmpfs, npipe, or cluster')
  for (const key of ['bind', 'volume', 'tmpfs'] as const)
    if (
      key in mount &&
      mount[key as keyof ServiceVolume] !== undefined &&
      !(owners[key] as readonly string[]).includes(type)
    )
      throw no(`${key} options are incompatible with type ${type}`)
  const source = mount.source ?? ''
  if (type === 'tmpfs' && source !== '') throw no('invalid tmpfs source, source must be empty')
  if (type !== 'tmpfs' && type !== 'volume' && source === '') throw no(`invalid ${type} source, source cannot be empty`)
  const { source: place, ...more } = type === 'volume' || type === 'cluster' ? named(mount, asked) : { source }
  return {
    Type: type,
    Target: mount.target ?? '',
    ...filled({
      Source: place,
      ReadOnly: mount.read_only,
      Consistency: 'consistency' in mount ? mount.consistency : undefined,
    }),
    ...(mount.bind === undefined ? {} : { BindOptions: filled({ Propagation: mount.bind.propagation }) }),
    ...('tmpfs' in mount && mount.tmpfs !== undefined ? { TmpfsOptions: filled({ SizeBytes: mount.tmpfs.size }) } : {}),
    ...(type === 'cluster' ? { ClusterOptions: {} } : {}),
    ...more,
  }
}

/** A volume by the name that it has in the file; without one it is the task's own. */
function named(mount: ServiceVolume, { stack, service, volumes }: Asked) {
  const source = mount.source ?? ''
  if (source === '' || (mount.type === 'cluster' && source.startsWith('group:'))) return { source }
  const definition = volumes[source]
  if (definition === undefined) throw fault('invalid', `service ${service}: undefined volume "${source}"`)
  const place = definition.name ?? `${stack}_${source}`
  if (mount.type === 'cluster') return { source: place }
  const copy = filled({ NoCopy: mount.volume?.nocopy })
  if (definition.external === true) return { source: place, VolumeOptions: copy }
  const hasDriver = (definition.driver ?? '') !== '' || definition.driver_opts !== undefined
  return {
    source: place,
    VolumeOptions: {
      ...copy,
      Labels: { ...definition.labels, [namespaceLabel]: stack },
      ...(hasDriver ? { DriverConfig: filled({ Name: definition.driver, Options: definition.driver_opts }) } : {}),
    },
  }
}
