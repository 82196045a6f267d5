/** /tasks: list and inspect, with a pending task for each slot without a holder. */
import { nodeName } from '../../core/live.ts'
import { fault } from '../../fault.ts'
import type { ApiContext } from '../context.ts'
import { type ApiRequest, json, type Reply } from '../exchange.ts'
import { type Filters, passes, passesLabels, readFilters } from '../filters.ts'
import { findTask } from '../find.ts'
import { isUpToDate, renderPending, renderTask } from '../render/task.ts'

type Rendered = ReturnType<typeof renderTask> | ReturnType<typeof renderPending>

const known = ['id', 'name', 'label', 'node', 'service', 'desired-state', '_up-to-date', 'runtime']

export function listTasks(context: ApiContext, request: ApiRequest): Reply {
  const filters = readFilters(request.query.get('filters'), known)
  const tasks = [...recorded(context), ...pending(context)].filter((task) => fits(context, filters, task))
  return json(tasks.sort((a, b) => (a.CreatedAt === b.CreatedAt ? order(a.ID, b.ID) : order(a.CreatedAt, b.CreatedAt))))
}

export function inspectTask(context: ApiContext, request: ApiRequest): Reply {
  const id = request.params.id ?? ''
  const waiting = pending(context).find((task) => task.ID === id)
  return json(waiting ?? renderTask(context.view, findTask(context.view, id)))
}

function recorded(context: ApiContext): readonly Rendered[] {
  return [...context.view.tasks.values()].map((task) => renderTask(context.view, task))
}

function pending(context: ApiContext): readonly Rendered[] {
  return [...context.view.services.values()].flatMap((service) =>
    context.decisions
      .why(service)
      .filter((slot) => slot.node === undefined)
      .map((slot) => renderPending(service, slot)),
  )
}

function fits(context: ApiContext, filters: Filters, task: Rendered): boolean {
  const { view } = context
  const service = view.services.get(task.ServiceID)?.value.spec.Name ?? task.ServiceID
  const node = 'NodeID' in task ? task.NodeID : ''
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
    passesLabels(filters, 'label', task.Labels)
  )
}

function isNode(context: ApiContext, node: string, wanted: string): boolean {
  if (wanted === 'self') return node === context.view.self
  return node === wanted || nodeName(context.view, node) === wanted
}

function desires(state: string, wanted: string): boolean {
  if (!['running', 'shutdown', 'accepted', 'ready', 'remove'].includes(wanted)) {
    throw fault('invalid', `invalid filter 'desired-state=${wanted.slice(0, 40)}'`)
  }
  return state === wanted
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
