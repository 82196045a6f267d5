/** How far a change of a service's template has come, in Docker's shape (swagger.yaml, Service.UpdateStatus). */
import type { ServiceValue } from '../../../protocol/model.ts'
import { isLiveTask } from '../../core/live.ts'
import { tasksOf } from '../../core/placement/slots.ts'
import type { Stamped, View } from '../../core/view.ts'
import { wanted } from '../../core/wanted.ts'
import { time } from './stamps.ts'

/** 5 s: Docker's default. An update is complete when its last task has run so long; Docker's client shows the wait, and ends it by itself. */
const monitorMs = 5_000

/** Absent where the last change asked for no other tasks, as a scale does: Docker's client takes what an earlier update left for the answer. */
export function updateStatus(view: View, service: Stamped<ServiceValue>, nowMs: number) {
  const { generation, updatedMs, previous } = service.value
  if (generation === 0) return undefined
  const { template } = wanted(service)
  const live = tasksOf(view, service.id).filter((task) => isLiveTask(task.value, view))
  const fresh = live.filter((task) => task.value.template === template)
  const done = live.length === fresh.length && fresh.every((task) => task.value.state === 'running')
  const isTemplates =
    previous === undefined || wanted({ ...service, value: { ...service.value, spec: previous } }).template !== template
  if (done && !isTemplates) return undefined
  const begun = { StartedAt: time(updatedMs) }
  const completedMs = Math.max(updatedMs, ...fresh.map((task) => task.value.stateMs + monitorMs))
  if (done && completedMs <= nowMs)
    return { State: 'completed', ...begun, CompletedAt: time(completedMs), Message: 'update completed' }
  const Message = done ? 'update in progress' : `${fresh.length} of ${live.length} tasks run the new spec`
  return { State: 'updating', ...begun, Message }
}
