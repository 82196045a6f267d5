/**
 * What the progress display says of a service and its tasks, and whether it has converged. Pure.
 *
 * Of several tasks in a slot the one with the lowest desired state is shown, as Docker does, so that a restart shows the new task.
 */
import type { Service, Task } from '../docker.ts'
import { cut } from '../table.ts'

export interface Line {
  readonly id: string
  readonly text: string
  /** For terminals only. */
  readonly bar?: string
}

/** Docker's order; what is above running is shown no progress. */
const stateOrder: Readonly<Record<string, number>> = {
  new: 1,
  allocated: 2,
  pending: 3,
  assigned: 4,
  accepted: 5,
  preparing: 6,
  ready: 7,
  starting: 8,
  running: 9,
  complete: 10,
  shutdown: 11,
  failed: 12,
  rejected: 13,
}
const running = 9
/** Above this many tasks only the sum is shown. */
const barsMax = 20

export interface Observed {
  readonly service: Service
  /** Tasks made from the present spec. */
  readonly tasks: readonly Task[]
  /** Nodes that are not down. */
  readonly active: ReadonlySet<string>
  readonly names: ReadonlyMap<string, string>
}

export function progressOf({ service, tasks, active, names }: Observed): {
  readonly lines: readonly Line[]
  readonly converged: boolean
} {
  const isGlobal = service.Spec.Mode?.Global !== undefined
  const slots = bySlot(tasks, active, isGlobal)
  const wanted = isGlobal ? slots.size : (service.Spec.Mode?.Replicated?.Replicas ?? 1)
  if (isGlobal && wanted === 0)
    return { lines: [{ id: 'overall progress', text: 'waiting for new tasks' }], converged: false }
  const ordered = [...slots.entries()].sort(([a], [b]) => (a < b ? -1 : 1))
  const isOver = (task: Task) => task.Status?.State === 'complete' && runsOnce(service)
  const here = ordered.map(([, task]) => task).filter((task) => order(task.DesiredState) <= running || isOver(task))
  const count = Math.min(here.filter((task) => task.Status?.State === 'running' || isOver(task)).length, wanted)
  const lines: Line[] = [{ id: 'overall progress', text: `${count} out of ${wanted} tasks` }]
  if (wanted <= barsMax)
    for (let i = 0; i < wanted; i++) {
      const task = here[i]
      const id = isGlobal && task !== undefined ? (names.get(task.NodeID ?? '') ?? '') : `${i + 1}/${wanted}`
      lines.push(taskLine(id, task))
    }
  return { lines, converged: count === wanted && here.length <= wanted }
}

/** A good end is the end: no task follows. */
function runsOnce({ Spec }: Service): boolean {
  const condition = Spec.TaskTemplate.RestartPolicy?.Condition
  return condition === 'none' || condition === 'on-failure'
}

function bySlot(tasks: readonly Task[], active: ReadonlySet<string>, isGlobal: boolean): ReadonlyMap<string, Task> {
  const slots = new Map<string, Task>()
  for (const task of tasks) {
    if (order(task.DesiredState) === 0 || order(task.Status?.State) === 0) continue
    if (task.NodeID && !active.has(task.NodeID)) continue
    const slot = isGlobal ? (task.NodeID ?? '') : String(task.Slot ?? 0).padStart(6, '0')
    const other = slots.get(slot)
    if (other === undefined || isShownBefore(task, other)) slots.set(slot, task)
  }
  return slots
}

function isShownBefore(a: Task, b: Task): boolean {
  const byDesired = order(a.DesiredState) - order(b.DesiredState)
  return byDesired !== 0 ? byDesired < 0 : order(a.Status?.State) < order(b.Status?.State)
}

function order(state: string | undefined): number {
  return stateOrder[state ?? ''] ?? 0
}

function taskLine(id: string, task: Task | undefined): Line {
  if (task === undefined) return { id, text: '' }
  if (task.Status?.Err) return { id, text: cut(task.Status.Err.replaceAll('\n', ' '), 75) }
  const state = task.Status?.State ?? ''
  return { id, text: state.padEnd(9), bar: bar(order(state)) }
}

/** Docker's bar of 50 characters. */
function bar(step: number): string {
  const filled = Math.min(Math.floor((step * 50) / running), 50)
  return `[${'='.repeat(filled)}>${' '.repeat(50 - filled)}]`
}
