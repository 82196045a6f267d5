/**
 * The task records that the view shows, by id, and two readings of them that decisions ask for at every turn: by service and slot, and this
 * node's own.
 *
 * The list of a slot, and that of the own ones, is replaced, never changed, when one of its records changes: who reads pays nothing while nothing
 * changes, and may keep with a list what follows from it.
 */
import type { NodeId, ServiceId, Slot, TaskId } from '../../protocol/ids.ts'
import type { TaskValue } from '../../protocol/model.ts'
import type { Stamped, View } from '../core/view.ts'

type Task = Stamped<TaskValue>

export interface ShownTasks extends Pick<View, 'tasks' | 'slotsOf' | 'ownTasks'> {
  show(task: Task): void
  hide(id: TaskId): void
}

const noSlots: ReadonlyMap<Slot, readonly Task[]> = new Map()

export function createShownTasks(self: NodeId): ShownTasks {
  const tasks = new Map<TaskId, Task>()
  const byService = new Map<ServiceId, Map<Slot, readonly Task[]>>()
  const own = new Map<TaskId, Task>()
  let ownList: readonly Task[] | undefined

  function leaveSlot({ id, value }: Task): void {
    const slots = byService.get(value.service)
    const others = slots?.get(value.slot)?.filter((task) => task.id !== id) ?? []
    if (others.length > 0) slots?.set(value.slot, others)
    else slots?.delete(value.slot)
    if (slots?.size === 0) byService.delete(value.service)
  }

  function enterSlot(task: Task): void {
    const { service, slot } = task.value
    const slots = byService.get(service) ?? new Map<Slot, readonly Task[]>()
    byService.set(service, slots)
    slots.set(slot, [...(slots.get(slot) ?? []), task].sort(byId))
  }

  return {
    tasks,
    slotsOf: (service) => byService.get(service) ?? noSlots,
    ownTasks() {
      ownList ??= [...own.values()]
      return ownList
    },
    show(task) {
      const shown = tasks.get(task.id)
      if (shown !== undefined) leaveSlot(shown)
      tasks.set(task.id, task)
      enterSlot(task)
      if (task.value.node === self) {
        own.set(task.id, task)
        ownList = undefined
      } else if (own.delete(task.id)) ownList = undefined
    },
    hide(id) {
      const shown = tasks.get(id)
      if (shown === undefined) return
      tasks.delete(id)
      leaveSlot(shown)
      if (own.delete(id)) ownList = undefined
    },
  }
}

function byId(a: Task, b: Task): number {
  return a.id < b.id ? -1 : 1
}
