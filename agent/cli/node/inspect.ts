/** `vine node inspect`, and its `--pretty` in Docker's lines (docker/cli command/node/formatter.go). */
import { type Call, on } from '../definition.ts'
import type { Node, Plugin } from '../docker.ts'
import { forEach } from '../each.ts'
import { printDocuments } from '../listing.ts'
import { bytesText, nodeState, title, utc } from '../wording.ts'
import { findNode } from './find.ts'

export async function inspect(call: Call): Promise<number> {
  const nodes: Node[] = []
  const code = await forEach(call, call.args, async (name) => {
    nodes.push(await findNode(call, name))
  })
  if (on(call.options, 'pretty')) for (const node of nodes) call.io.out.write(`${prettyNode(node)}\n`)
  else printDocuments(call, nodes)
  return code
}

export function prettyNode({ ID, Spec, Description, Status, ManagerStatus, CreatedAt }: Node): string {
  const pairs = (labels: Readonly<Record<string, string>> | null | undefined, heading: string) => {
    const sorted = Object.entries(labels ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))
    return sorted.length === 0 ? [] : [heading, ...sorted.map(([key, value]) => ` - ${key}=${value}`)]
  }
  const resources = Description?.Resources
  return [
    `ID:\t\t\t${ID}`,
    ...(Spec.Name ? [`Name:\t\t\t${Spec.Name}`] : []),
    ...pairs(Spec.Labels, 'Labels:'),
    `Hostname:              \t${Description?.Hostname ?? ''}`,
    `Joined at:             \t${utc(CreatedAt).replace('UTC', 'utc')}`,
    'Status:',
    ` State:\t\t\t${nodeState(Status?.State, Status?.Message)}`,
    ...(Status?.Message ? [` Message:\t\t${Status.Message}`] : []),
    ` Availability:         \t${title(Spec.Availability)}`,
    ...(Status?.Addr ? [` Address:\t\t${Status.Addr}`] : []),
    ...(ManagerStatus
      ? [
          'Manager Status:',
          ` Address:\t\t${ManagerStatus.Addr ?? ''}`,
          ` Raft Status:\t\t${title(ManagerStatus.Reachability ?? '')}`,
          ' Leader:\t\tNo',
        ]
      : []),
    'Platform:',
    ` Operating System:\t${Description?.Platform?.OS ?? ''}`,
    ` Architecture:\t\t${Description?.Platform?.Architecture ?? ''}`,
    'Resources:',
    ` CPUs:\t\t\t${(resources?.NanoCPUs ?? 0) / 1e9}`,
    ` Memory:\t\t${bytesText(resources?.MemoryBytes ?? 0)}`,
    ...plugins(Description?.Engine?.Plugins ?? []),
    `Engine Version:\t\t${Description?.Engine?.EngineVersion ?? ''}`,
    ...pairs(Description?.Engine?.Labels, 'Engine Labels:'),
    ...runtime(Description?.Runtime),
    ...dataplane(Description?.Dataplane),
  ].join('\n')
}

/** A line for each kind of plugin. */
function plugins(all: readonly Plugin[]): readonly string[] {
  const kinds = [...new Set(all.map(({ Type }) => Type ?? ''))].sort()
  const names = (kind: string) => all.flatMap(({ Type, Name }) => (Type === kind && Name ? [Name] : []))
  return kinds.length === 0 ? [] : ['Plugins:', ...kinds.map((kind) => ` ${kind}:\t\t${names(kind).join(', ')}`)]
}

/** Docker has no such line: only where tasks are containers, or could be. */
function runtime(told: NonNullable<Node['Description']>['Runtime']): readonly string[] {
  if (told === undefined || (told.Name === 'process' && told.Reason === undefined)) return []
  return [
    `Runtime:\t\t${[told.Name, told.Version].filter(Boolean).join(' ')}`,
    ...(told.Reason === undefined ? [] : [` Not docker:\t\t${told.Reason}`]),
  ]
}

/** Docker has no such line: only where there is something to tell. */
function dataplane(told: NonNullable<Node['Description']>['Dataplane']): readonly string[] {
  if (told === undefined) return []
  const { Name, Reason, NoIPv6, WireGuard, Problems = [] } = told
  if (Name === 'userspace' && Reason === undefined && Problems.length === 0) return []
  const encryption = WireGuard === undefined ? '' : WireGuard.Lack || `UDP port ${WireGuard.Port}`
  return [
    `Data Plane:\t\t${Name}`,
    ...(Reason === undefined ? [] : [` Not linux:\t\t${Reason}`]),
    ...(NoIPv6 === undefined ? [] : [` No IPv6:\t\t${NoIPv6}`]),
    ...(encryption === '' ? [] : [` Encryption:\t\t${encryption}`]),
    ...Problems.map((sentence) => ` Problem:\t\t${sentence}`),
  ]
}
