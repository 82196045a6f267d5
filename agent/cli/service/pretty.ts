/** `vine service inspect --pretty`: the lines, order and blanks of Docker's (docker/cli command/service/formatter.go). Pure. */
import type { TaskTemplate } from '../../../protocol/spec.ts'
import type { Service } from '../docker.ts'
import { formatDuration } from '../duration.ts'
import { ago, bytesText, shortImage, title } from '../wording.ts'
import { containerOnly } from './pretty-container.ts'

export function prettyService(service: Service, networkNames: ReadonlyMap<string, string>, now: number): string {
  return [
    '',
    `ID:\t\t${service.ID}`,
    `Name:\t\t${service.Spec.Name}`,
    ...labels(service),
    ...mode(service),
    ...updateStatus(service, now),
    ...placement(service),
    ...updateConfig(service),
    ...container(service),
    ...containerOnly(service.Spec.TaskTemplate),
    ...resources(service.Spec.TaskTemplate),
    ...networks(service, networkNames),
    `Endpoint Mode:\t${service.Endpoint?.Spec?.Mode ?? service.Spec.EndpointSpec?.Mode ?? 'vip'}`,
    ...ports(service),
    ...health(service),
    '',
  ].join('\n')
}

function labels({ Spec }: Service): readonly string[] {
  const pairs = Object.entries(Spec.Labels ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))
  return pairs.length === 0
    ? []
    : ['Labels:', ...pairs.map(([key, value]) => ` ${key}${value === '' ? '' : `=${value}`}`)]
}

function mode({ Spec }: Service): readonly string[] {
  if (Spec.Mode?.Global !== undefined) return ['Service Mode:\tGlobal']
  return ['Service Mode:\tReplicated', ` Replicas:\t${Spec.Mode?.Replicated?.Replicas ?? 1}`]
}

function updateStatus({ UpdateStatus: update }: Service, now: number): readonly string[] {
  if (!update?.State) return []
  return [
    'UpdateStatus:',
    ` State:\t\t${update.State}`,
    ...(update.StartedAt ? [` Started:\t${title(ago(update.StartedAt, now))}`] : []),
    ...(update.State === 'completed' && update.CompletedAt
      ? [` Completed:\t${title(ago(update.CompletedAt, now))}`]
      : []),
    ` Message:\t${update.Message ?? ''}`,
  ]
}

function placement({ Spec }: Service): readonly string[] {
  const placed = Spec.TaskTemplate.Placement
  const spread = (placed?.Preferences ?? []).flatMap((p) => p.Spread?.SpreadDescriptor ?? [])
  return [
    'Placement:',
    ...(placed?.Constraints?.length ? [` Constraints:\t[${placed.Constraints.join(' ')}]`] : []),
    ...(spread.length > 0 ? [` Preferences:   [${spread.map((s) => `spread=${s}`).join(' ')}]`] : []),
    ...(placed?.MaxReplicas ? [` Max Replicas Per Node:   ${placed.MaxReplicas}`] : []),
  ]
}

/** The agent fills in its defaults; an older one may leave some out, which are not guessed. */
function updateConfig({ Spec: { UpdateConfig: update } }: Service): readonly string[] {
  if (!update) return []
  const { Parallelism, FailureAction, Monitor, MaxFailureRatio, Order } = update
  return [
    'UpdateConfig:',
    ...(Parallelism === undefined ? [] : [` Parallelism:\t${Parallelism}`]),
    ...(FailureAction ? [` On failure:\t${FailureAction}`] : []),
    ...(typeof Monitor === 'number' ? [` Monitoring Period: ${formatDuration(Monitor)}`] : []),
    ...(MaxFailureRatio === undefined ? [] : [` Max failure ratio: ${MaxFailureRatio}`]),
    ...(Order ? [` Update order:      ${Order}`] : []),
  ]
}

function container({ Spec }: Service): readonly string[] {
  const spec = Spec.TaskTemplate.ContainerSpec
  const line = (name: string, words: readonly string[] | undefined) =>
    words?.length ? [` ${name}:\t\t${words.map((word) => `${word} `).join('')}`] : []
  return [
    'ContainerSpec:',
    ` Image:\t\t${shortImage(spec.Image)}`,
    ...line('Args', spec.Args),
    ...line('Env', spec.Env),
    ...(spec.Dir ? [` Dir:\t\t${spec.Dir}`] : []),
    ...(typeof spec.Init === 'boolean' ? [` Init:\t\t${spec.Init}`] : []),
    ...(spec.User ? [` User: ${spec.User}`] : []),
  ]
}

function resources({ Resources: asked }: TaskTemplate): readonly string[] {
  if (!asked) return []
  const amounts = (title: string, { NanoCPUs, MemoryBytes, Pids = 0 }: NonNullable<typeof asked.Limits>) => {
    const any = NanoCPUs || MemoryBytes || Pids
    return [
      ...(any ? [` ${title}:`] : []),
      ...(NanoCPUs ? [`  CPU:\t\t${NanoCPUs / 1e9}`] : []),
      ...(MemoryBytes ? [`  Memory:\t${bytesText(MemoryBytes)}`] : []),
      ...(Pids > 0 ? [`  PIDs:\t\t${Pids}`] : []),
    ]
  }
  const { Pids: _none, ...reserved } = asked.Reservations ?? {}
  return ['Resources:', ...amounts('Reservations', reserved), ...amounts('Limits', asked.Limits ?? {})]
}

function networks({ Spec }: Service, names: ReadonlyMap<string, string>): readonly string[] {
  const joined = Spec.TaskTemplate.Networks ?? Spec.Networks ?? []
  return joined.length === 0 ? [] : [`Networks: ${joined.map((n) => names.get(n.Target) ?? n.Target).join(' ')} `]
}

function ports({ Endpoint }: Service): readonly string[] {
  const all = Endpoint?.Ports ?? []
  if (all.length === 0) return []
  const lines = all.flatMap((port) => [
    ` PublishedPort = ${port.PublishedPort ?? 0}`,
    `  Protocol = ${port.Protocol ?? 'tcp'}`,
    `  TargetPort = ${port.TargetPort ?? 0}`,
    `  PublishMode = ${port.PublishMode ?? 'ingress'}`,
  ])
  // Docker's template leaves a blank after the last one.
  return ['Ports:', ...lines.with(-1, `${lines.at(-1)} `)]
}

function health({ Spec }: Service): readonly string[] {
  const check = Spec.TaskTemplate.ContainerSpec.Healthcheck
  if (check === undefined) return []
  return [
    ' Healthcheck:',
    `  Interval = ${formatDuration(check.Interval ?? 0)}`,
    `  Retries = ${check.Retries ?? 0}`,
    `  StartPeriod =\t${formatDuration(check.StartPeriod ?? 0)}`,
    `  Timeout =\t${formatDuration(check.Timeout ?? 0)}`,
    ...tests(check.Test ?? []),
  ]
}

/** Docker's template leaves a blank after the last one, as after the last port. */
function tests(words: readonly string[]): readonly string[] {
  const lines = words.map((word) => `\t Test = ${word}`)
  return lines.length === 0 ? [] : ['  Tests:', ...lines.with(-1, `${lines.at(-1)} `)]
}
