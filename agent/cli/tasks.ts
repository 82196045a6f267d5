/** The task table of `service ps` and `node ps`: one row a task, past tasks of a slot drawn below the present one. */
import { type Call, on } from './definition.ts'
import type { Node, Service, Task } from './docker.ts'
import { printListing } from './listing.ts'
import { portsText } from './service/ls.ts'
import { cut } from './table.ts'
import { ago, naturalCompare, shortId, shortImage, title } from './wording.ts'

/** Docker's width of an error in a table. */
const errorWidth = 30

export async function printTasks(call: Call, tasks: readonly Task[]): Promise<void> {
  const names = call.options.resolve === false ? undefined : await readNames(call)
  const full = call.options.trunc === false
  const now = call.io.now()
  const nameOf = (task: Task) => taskName(task, names)
  const rows = tasks.toSorted(
    (a, b) => naturalCompare(nameOf(a), nameOf(b)) || Date.parse(b.CreatedAt ?? '') - Date.parse(a.CreatedAt ?? ''),
  )
  const indent = plainTable(call) ? ' \\_ ' : ''
  const repeated = new Set(rows.filter((row, i) => i > 0 && nameOf(rows[i - 1] as Task) === nameOf(row)))
  printListing(call, {
    rows,
    fields: {
      ID: { heading: 'ID', value: (t) => (full ? t.ID : shortId(t.ID)) },
      Name: { heading: 'NAME', value: (t) => `${repeated.has(t) ? indent : ''}${nameOf(t)}` },
      Image: { heading: 'IMAGE', value: (t) => imageOf(t, full) },
      Node: { heading: 'NODE', value: (t) => names?.nodes.get(t.NodeID ?? '') ?? t.NodeID ?? '' },
      DesiredState: { heading: 'DESIRED STATE', value: (t) => title(t.DesiredState ?? '') },
      CurrentState: {
        heading: 'CURRENT STATE',
        value: (t) => `${title(t.Status?.State ?? '')} ${ago(t.Status?.Timestamp, now)}`.trim(),
      },
      Error: { heading: 'ERROR', value: (t) => errorOf(t, full) },
      Ports: { heading: 'PORTS', value: (t) => portsText(t.Status?.PortStatus?.Ports ?? []) },
    },
    table: ['ID', 'Name', 'Image', 'Node', 'DesiredState', 'CurrentState', 'Error', 'Ports'],
    quiet: (t) => t.ID,
    json: rows,
  })
}

export interface Names {
  readonly nodes: ReadonlyMap<string, string>
  readonly services: ReadonlyMap<string, string>
}

/** Names of all nodes and services, by id. */
export async function readNames({ api }: Pick<Call, 'api'>): Promise<Names> {
  const [nodes, services] = await Promise.all([
    api.get<readonly Node[]>('/nodes'),
    api.get<readonly Service[]>('/services'),
  ])
  return {
    nodes: new Map(nodes.map((node) => [node.ID, nodeName(node)])),
    services: new Map(services.map((service) => [service.ID, service.Spec.Name])),
  }
}

export function nodeName(node: Node): string {
  return node.Spec.Name || node.Description?.Hostname || node.ID
}

/** `web.2`; of a global service `watch.<node id>`. */
export function taskName(task: Task, names: Names | undefined): string {
  const service = names?.services.get(task.ServiceID ?? '') ?? task.ServiceID ?? ''
  return `${service}.${task.Slot ? task.Slot : (task.NodeID ?? '')}`
}

function plainTable({ options }: Call): boolean {
  return !on(options, 'quiet') && !on(options, 'json') && (options.format === undefined || options.format === 'table')
}

function imageOf(task: Task, full: boolean): string {
  const image = task.Spec?.ContainerSpec.Image ?? ''
  return full ? image : shortImage(image)
}

function errorOf(task: Task, full: boolean): string {
  const error = (task.Status?.Err ?? '').replaceAll('\n', ' ')
  return error === '' ? '' : `"${full ? error : cut(error, errorWidth)}"`
}
