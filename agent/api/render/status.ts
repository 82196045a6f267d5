/**
 * `GET /grapevine/status`: is it well, and if not, a sentence for each thing that is not (issue item 9).
 *
 * Pure over the view and what the node knows of itself. A suspicion is no problem yet: it is being worked on, and is often refuted.
 */
import { compareVersions } from '../../../protocol/hlc.ts'
import type { NodeId, ServiceId, Slot } from '../../../protocol/ids.ts'
import { conflicts } from '../../core/conflicts.ts'
import { nodeName } from '../../core/live.ts'
import { nodesOnLoopback } from '../../core/routes/overlay.ts'
import type { Liveness, Member, View } from '../../core/view.ts'
import type { NodeHealth } from '../context.ts'
import { slotViews } from '../slots.ts'
import { countTasks } from './service.ts'
import { clusterId } from './swarm.ts'

export interface Status {
  readonly well: boolean
  /** One line: all is well, or how many things are not. */
  readonly summary: string
  /** What needs somebody, a sentence each. */
  readonly problems: readonly string[]
  /** Worth knowing, and no reason to act: a suspicion, a change that lost against a later one. */
  readonly notes: readonly string[]
  readonly cluster: { readonly id: string; readonly name: string }
  readonly node: { readonly id: NodeId; readonly name: string }
  readonly nodes: readonly {
    readonly id: NodeId
    readonly name: string
    readonly liveness: Liveness
    readonly availability: string
  }[]
  readonly services: readonly ServiceStatus[]
  readonly conflicts: readonly { readonly id: string; readonly name: string; readonly sentence: string }[]
  /** Records known to exist that this node lacks. */
  readonly need: number
  readonly clockOffsetMs: number
  readonly warnings: readonly string[]
}

export interface ServiceStatus {
  readonly id: ServiceId
  readonly name: string
  readonly running: number
  readonly desired: number
  /** Slots whose program came to a good end and is not to run again. */
  readonly finished: number
  /** Slots that do not run, each with its reason. */
  readonly waiting: readonly { readonly slot: Slot; readonly sentence: string }[]
}

/** Off by more than this a node takes no writes (design.md 3). */
const clockOffsetMaxMs = 10_000

/** What the node knows of itself, and whose mesh port it could not connect to. */
export type Findings = NodeHealth & { readonly unreached: readonly NodeId[] }

export function renderStatus(view: View, health: Findings, nowMs: number): Status {
  const members = [...view.members.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
  const services = serviceStatuses(view, nowMs)
  const clashes = conflictList(view)
  const problems = [
    ...members
      .filter((member) => member.liveness === 'dead')
      .map((member) => `Node ${nodeName(view, member.id)} is down.`),
    ...members.filter(({ id }) => health.unreached.includes(id)).map((member) => outOfReach(view, member)),
    ...onLoopback(view),
    ...clashes.map(({ sentence }) => sentence),
    ...services.filter(({ running, desired, finished }) => running + finished < desired).map(shortfall),
    ...(health.need === 0 ? [] : [`This node still lacks ${health.need} ${health.need === 1 ? 'record' : 'records'}.`]),
    ...clockProblem(health.clockOffsetMs),
    ...health.warnings,
  ]
  const well = problems.length === 0
  return {
    well,
    summary: well
      ? allWell(view, members, services)
      : `${problems.length} ${problems.length === 1 ? 'thing is' : 'things are'} not well`,
    problems,
    notes: notesOf(view, members),
    cluster: { id: clusterId(view), name: view.settings?.value.name ?? '' },
    node: { id: view.self, name: nodeName(view, view.self) },
    nodes: members.map(({ id, liveness, node }) => ({
      id,
      name: nodeName(view, id),
      liveness,
      availability: node.spec.Availability,
    })),
    services,
    conflicts: clashes,
    need: health.need,
    clockOffsetMs: health.clockOffsetMs,
    warnings: health.warnings,
  }
}

/** A firewall that lets the control plane through and not the mesh beside it: the member lives, its tasks and logs are cut off from here. */
function outOfReach(view: View, { id, record }: Member): string {
  const [place] = record.value.mesh
  const where = place === undefined ? '' : ` at ${place.host}:${place.port}`
  const fix = place === undefined ? '' : `: open TCP port ${place.port} there`
  return `Node ${nodeName(view, id)} takes no connections for tasks and logs${where}${fix}.`
}

/** Told by the nodes that suffer from it: in user space everything goes over the mesh, to whatever address. */
function onLoopback(view: View): readonly string[] {
  if (view.members.get(view.self)?.record.value.dataplane !== 'linux') return []
  return nodesOnLoopback(view).map((node) => {
    const address = view.members.get(node)?.record.value.addresses[0]
    return `Tasks of node ${nodeName(view, node)} are out of reach of this node's kernel: it has ${address}; start it with another --address.`
  })
}

function serviceStatuses(view: View, nowMs: number): readonly ServiceStatus[] {
  return [...view.services.values()]
    .sort((a, b) => compareVersions(a.value.created, b.value.created))
    .map((service) => {
      const { RunningTasks: running, DesiredTasks: desired } = countTasks(view, service, nowMs)
      const slots = slotViews(view, service, nowMs)
      const finished = slots.filter((slot) => slot.finished).length
      const waiting = slots
        .filter((slot) => !slot.finished)
        .filter(({ task }) => task === undefined || view.tasks.get(task)?.value.state !== 'running')
        .map(({ slot, sentence }) => ({ slot, sentence }))
      return { id: service.id, name: service.value.spec.Name, running, desired, finished, waiting }
    })
}

function shortfall({ name, running, desired, waiting }: ServiceStatus): string {
  const first = waiting[0]
  const why = first === undefined ? '' : `: ${name}.${first.slot}: ${first.sentence}`
  return `Service "${name}" runs ${running} of ${desired}${why}`
}

function conflictList(view: View): Status['conflicts'] {
  return [...conflicts(view)].map(([id, why]) => {
    const service = view.services.get(id)
    const name = service?.value.spec.Name ?? view.networks.get(id)?.value.spec.Name ?? id
    const sentence = `${service === undefined ? 'Network' : 'Service'} "${name}" (${id.slice(0, 12)}) is in conflict: ${why}`
    return { id, name, sentence }
  })
}

function clockProblem(offsetMs: number): readonly string[] {
  if (Math.abs(offsetMs) <= clockOffsetMaxMs) return []
  const how = offsetMs > 0 ? 'ahead of' : 'behind'
  return [
    `The clock of this node is ${Math.round(Math.abs(offsetMs) / 1000)} s ${how} the cluster's: it takes no changes.`,
  ]
}

function notesOf(view: View, members: readonly Member[]): readonly string[] {
  const suspects = members
    .filter((member) => member.liveness === 'suspect')
    .map((member) => `Node ${nodeName(view, member.id)} is suspect: it does not answer probes.`)
  const lost = [...view.services.values()].flatMap(({ value }) =>
    (value.superseded ?? []).map(({ version, fields }) => {
      const what = fields.length === 0 ? '' : ` of ${fields.join(', ')}`
      return `Service "${value.spec.Name}": a change${what} made on ${nodeName(view, version.node)} lost against a later one.`
    }),
  )
  return [...suspects, ...lost.sort()]
}

function allWell(view: View, members: readonly Member[], services: readonly ServiceStatus[]): string {
  const count = (n: number, word: string): string => `${n} ${word}${n === 1 ? '' : 's'}`
  const present = members.filter((member) => member.liveness !== 'left').length
  const tasks = services.reduce((sum, service) => sum + service.running, 0)
  const name = view.settings?.value.name ?? ''
  return `All is well${name === '' ? '' : ` in ${name}`}: ${count(present, 'node')}, ${count(services.length, 'service')}, ${count(tasks, 'task')}`
}
