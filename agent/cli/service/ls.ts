/** `vine service ls`. */
import type { Call } from '../definition.ts'
import type { Port, Service } from '../docker.ts'
import { filterQuery } from '../filter.ts'
import { printListing } from '../listing.ts'
import { naturalCompare, shortId, shortImage } from '../wording.ts'

export async function ls(call: Call): Promise<number> {
  printServices(call, await readServices(call))
  return 0
}

/** What `--filter` asks for, of those that are always asked for, with their counts of tasks. */
export function readServices(
  { api, options }: Call,
  always: Readonly<Record<string, readonly string[]>> = {},
): Promise<readonly Service[]> {
  return api.get<readonly Service[]>('/services', { status: true, filters: filterQuery(options, always) })
}

export function printServices(call: Call, services: readonly Service[]): void {
  const rows = services.toSorted((a, b) => naturalCompare(a.Spec.Name, b.Spec.Name))
  const full = call.options.trunc === false
  printListing(call, {
    rows,
    fields: {
      ID: { heading: 'ID', value: (s) => (full ? s.ID : shortId(s.ID)) },
      Name: { heading: 'NAME', value: (s) => s.Spec.Name },
      Mode: { heading: 'MODE', value: modeOf },
      Replicas: { heading: 'REPLICAS', value: replicasOf },
      Image: { heading: 'IMAGE', value: (s) => shortImage(s.Spec.TaskTemplate.ContainerSpec.Image) },
      Ports: { heading: 'PORTS', value: (s) => portsText((s.Endpoint?.Ports ?? []).filter(isIngress)) },
    },
    table: ['ID', 'Name', 'Mode', 'Replicas', 'Image', 'Ports'],
    quiet: (s) => (full ? s.ID : shortId(s.ID)),
    json: rows,
  })
}

export function modeOf(service: Service): string {
  return service.Spec.Mode?.Global === undefined ? 'replicated' : 'global'
}

/**
 * `*:8080->80/tcp, *:9000-9002->9000-9002/udp`: neighbouring ports are drawn together, as Docker's `service ls` does.
 */
export function portsText(ports: readonly Port[]): string {
  const sorted = ports.toSorted(
    (a, b) => (a.Protocol ?? '').localeCompare(b.Protocol ?? '') || (a.PublishedPort ?? 0) - (b.PublishedPort ?? 0),
  )
  const runs: { from: Port; length: number }[] = []
  for (const port of sorted) {
    const run = runs.at(-1)
    if (run !== undefined && continues(run.from, run.length, port)) run.length++
    else runs.push({ from: port, length: 1 })
  }
  return runs
    .map(({ from, length }) => {
      const range = (port: number) => (length === 1 ? `${port}` : `${port}-${port + length - 1}`)
      return `*:${range(from.PublishedPort ?? 0)}->${range(from.TargetPort ?? 0)}/${from.Protocol ?? 'tcp'}`
    })
    .join(', ')
}

function continues(from: Port, length: number, port: Port): boolean {
  return (
    port.Protocol === from.Protocol &&
    port.PublishedPort === (from.PublishedPort ?? 0) + length &&
    port.TargetPort === (from.TargetPort ?? 0) + length
  )
}

function isIngress(port: Port): boolean {
  return (port.PublishMode ?? 'ingress') === 'ingress'
}

function replicasOf(service: Service): string {
  const count = `${service.ServiceStatus?.RunningTasks ?? 0}/${service.ServiceStatus?.DesiredTasks ?? 0}`
  const most = service.Spec.TaskTemplate.Placement?.MaxReplicas ?? 0
  return most > 0 ? `${count} (max ${most} per node)` : count
}
