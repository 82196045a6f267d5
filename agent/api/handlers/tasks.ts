/** /tasks: list and inspect, with a pending task for each slot without a holder. */
import { nodeName } from '../../core/live.ts'
import { publishProblems } from '../../core/why.ts'
import { fault } from '../../fault.ts'
import type { ApiContext } from '../context.ts'
import { type ApiRequest, json, type Reply } from '../exchange.ts'
import { type Filters, passes, passesLabels, readFilters } from '../filters.ts'
import { findTask } from '../find.ts'
import { isUpToDate, renderPending, renderTask } from '../render/task.ts'
import { type SlotView, slotViews } from '../slots.ts'

type Rendered = ReturnType<typeof renderTask> | ReturnType<typeof renderPending>

const known = ['id', 'name', 'label', 'node', 'service', 'desired-state', '_up-to-date', 'runtime']

export function listTasks(context: ApiContext, request: ApiRequest): Reply {
  const filters = readFilters(request.query.get('filters'), known)
  const tasks = allTasks(context).filter((task) => fits(context, filters, task))
  const sorted = tasks.sort((a, b) =>
    a.CreatedAt === b.CreatedAt ? order(a.ID, b.ID) : order(a.CreatedAt, b.CreatedAt),
  )
  return json(sorted, 200, portWarnings(context, filters))
}

/** Of services that are asked for by name or id: where a published port of theirs does not listen. A task has no field for it. */
function portWarnings({ view }: ApiContext, filters: Filters): readonly string[] {
  if (!filters.has('service')) return []
  return [...view.services.values()]
    .filter(({ id, value }) => passes(filters, 'service', (wanted) => wanted === id || wanted === value.spec.Name))
    .flatMap(({ id }) => publishProblems(view, id))
}

export function inspectTask(context: ApiContext, request: ApiRequest): Reply {
  const name = request.params.id ?? ''
  const all = allTasks(context)
  const exact = all.find((task) => task.ID === name)
  if (exact !== undefined) return json(exact)
  const { id } = findTask(context.view, name)
  return json(all.find((task) => task.ID === id))
}

/** Every record, and a pending task for each slot without a holder. */
function allTasks(context: ApiContext): Rendered[] {
  const { view } = context
  const slots = new Map<string, ReadonlyMap<string, SlotView>>()
  const waiting: Rendered[] = []
  for (const service of view.services.values()) {
    const reports = slotViews(view, service, context.clock.wall())
    slots.set(service.id, new Map(reports.map((report) => [report.slot, report])))
    const records = view.slotsOf(service.id)
    for (const report of reports) {
      if (report.task !== undefined || report.finished) continue
      const own = records.get(report.slot)?.map(({ value }) => value) ?? []
      waiting.push(renderPending(service, report, own))
    }
  }
  const recorded = [...view.tasks.values()].map((task) => {
    return renderTask(view, task, slots.get(task.value.service)?.get(task.value.slot))
  })
  return [...recorded, ...waiting]
}

function fits(context: ApiContext, filters: Filters, task: Rendered): boolean {
  const { view } = context
  const service = view.services.get(task.ServiceID)?.value.spec.Name ?? task.ServiceID
  const node = ('NodeID' in task ? task.NodeID : undefined) ?? ''
  const slot = 'Slot' in task ? String(task.Slot) : node
  const record = view.tasks.get(task.ID)?.value
  return (
    passes(filters, 'id', (wanted) => task.ID.startsWith(wanted)) &&
    passes(filters, 'name', (wanted) => `${service}.${slot}.${task.ID}`.startsWith(wanted)) &&
    passes(filters, 'service', (wanted) => wanted === task.ServiceID || wanted === service) &&
    passes(filters, 'node', (wanted) => node !== '' && isNode(context, node, wanted)) &&
    passes(filters, 'desired-state', (wanted) => desires(task.DesiredState, wanted)) &&
    passes(filters, '_up-to-date', (wanted) => wanted !== 'true' || record === undefined || isUpToDate(view, record)) &&
    passes(filters, 'runtime', (wanted) => wanted === 'container') &&
    // Swarm's filter means the labels of the task's service: its client finds the tasks of a stack so.
    passesLabels(filters, 'label', view.services.get(task.ServiceID)?.value.spec.Labels)
  )
}

function isNode(context: ApiContext, node: string, wanted: string): boolean {
  if (wanted === 'self') return node === context.view.self
  return node === wanted || nodeName(context.view, node) === wanted
}

function desires(state: string, wanted: string): boolean {
  const states = ['running', 'shutdown', 'accepted', 'ready', 'remove']
  if (!states.includes(wanted)) {
    throw fault('invalid', `invalid filter 'desired-state=${wanted.slice(0, 40)}'`, `States: ${states.join(', ')}`)
  }
  return state === wanted
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
