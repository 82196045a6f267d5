// How many tasks a settled cluster should run, said again in the simplest way, so that a mistake in placement is not repeated here. Knows only
// what workloads of the simulator use: hostname constraints, drains, missing programs, a maximum per node, clashes of names, ports and subnets.
import { compareVersions, type Version } from '../../../protocol/hlc.ts'
import type { NetworkValue, ServiceValue } from '../../../protocol/model.ts'
import type { Cluster } from '../cluster.ts'
import { machineOf } from '../truth.ts'
import type { Agent } from '../world/agent.ts'
import type { Machine } from '../world/machine.ts'

export interface Expected {
  readonly id: string
  readonly name: string
  readonly least: number
  readonly most: number
}

/** Images that do not stay up. */
const unsteady = new Set(['crashy', 'broken'])

export function expectedTasks(cluster: Cluster, agent: Agent): readonly Expected[] {
  const view = agent.node!.view
  const brokenNetworks = clashing(view.networks.values(), (value: NetworkValue) => [value.spec.Name, value.subnet])
  const broken = clashing(view.services.values(), (value: ServiceValue) => [
    value.spec.Name,
    ...value.ports.map(({ published, protocol }) => `${protocol}/${published}`),
  ])
  const active = [...view.members.values()].flatMap(({ id, liveness, node }) => {
    const machine = machineOf(cluster, id)
    return liveness === 'alive' && node.spec.Availability === 'active' && machine !== undefined ? [machine] : []
  })
  return [...view.services.values()].map(({ id, value }) => {
    const { Name: name, TaskTemplate, Mode } = value.spec
    const targets = (TaskTemplate.Networks ?? []).map(({ Target }) => Target)
    const isBarred = broken.has(id) || targets.some((t) => !view.networks.has(t) || brokenNetworks.has(t))
    const image = TaskTemplate.ContainerSpec.Image
    const able = active.filter((machine) => mayRun(machine, TaskTemplate.Placement?.Constraints ?? [], image))
    const perNode = TaskTemplate.Placement?.MaxReplicas ?? 0
    const room = perNode > 0 ? able.length * perNode : Number.POSITIVE_INFINITY
    const asked = Mode?.Global !== undefined ? able.length : (Mode?.Replicated?.Replicas ?? 1)
    const count = isBarred || able.length === 0 ? 0 : Math.min(asked, room)
    return { id, name, least: unsteady.has(image) ? 0 : count, most: count }
  })
}

/** Later ones of those that share a claim; one that clashes keeps its own claims against those after it. */
export function clashing<V extends { readonly created: Version }>(
  items: Iterable<{ readonly id: string; readonly value: V }>,
  claimsOf: (value: V) => readonly string[],
): ReadonlySet<string> {
  const taken = new Set<string>()
  const broken = new Set<string>()
  const order = [...items].sort((a, b) => compareVersions(a.value.created, b.value.created) || (a.id < b.id ? -1 : 1))
  for (const { id, value } of order) {
    const claims = claimsOf(value)
    if (claims.some((claim) => taken.has(claim))) broken.add(id)
    for (const claim of claims) taken.add(claim)
  }
  return broken
}

function mayRun(machine: Machine, constraints: readonly string[], image: string): boolean {
  if (machine.missing.has(image)) return false
  return constraints.every((constraint) => {
    const [, relation, name] = /^node\.hostname(==|!=)(.*)$/.exec(constraint) ?? []
    return relation === '==' ? machine.name === name : machine.name !== name
  })
}
