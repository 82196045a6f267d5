/**
 * Tasks in Docker's shape (swagger.yaml, Task), with one `pending` task for each slot that nobody holds (design.md 10).
 *
 * Records say what a node observed of its task. What is desired is not recorded anywhere: it follows from the service. A task on a node
 * that is down, or has rebooted since, is shown as orphaned; its record stays as it was and counts again when the node is back.
 */
import type { ServiceValue, TaskState, TaskValue } from '../../../protocol/model.ts'
import type { ServiceSpec } from '../../../protocol/spec.ts'
import { hasEnded, isLiveTask, isUp, nodeName } from '../../core/live.ts'
import type { Stamped, View } from '../../core/view.ts'
import { templateHash, wanted } from '../../core/wanted.ts'
import type { SlotView } from '../slots.ts'
import { renderAttachment } from './network.ts'
import { idOf, stamps, time } from './stamps.ts'

export type DesiredState = 'running' | 'shutdown' | 'remove'

export function renderTask(view: View, task: Stamped<TaskValue>, slot: SlotView | undefined) {
  const value = task.value
  const service = view.services.get(value.service)
  const error = value.error ?? (slot?.task === task.id ? slot.late : undefined)
  const lost = isLiveTask(value, view) || hasEnded(value.state) ? undefined : lossOf(view, value)
  return {
    ID: task.id,
    ...stamps(task.version, value.created),
    Labels: {},
    Spec: templateOf(service, value),
    ServiceID: value.service,
    ...slotOf(value.slot),
    NodeID: value.node,
    Status: {
      Timestamp: time(value.stateMs),
      State: lost === undefined ? value.state : 'orphaned',
      Message: lost ?? value.message,
      ...(error === undefined ? {} : { Err: error }),
      ContainerStatus: {
        ContainerID: task.id,
        PID: value.pid ?? 0,
        ExitCode: value.exitCode ?? 0,
      },
      PortStatus: portStatus(service?.value, value),
    },
    DesiredState: desiredState(view, task, slot),
    NetworksAttachments: value.addresses.map((claim) => renderAttachment(view, claim.network, claim.address)),
  }
}

/**
 * The task that Docker's tools expect where a slot waits: state `pending`, with the reason as its error. It is younger than all tasks that
 * the slot had (`past`), since tables draw older ones below as its history.
 */
export function renderPending(service: Stamped<ServiceValue>, slot: SlotView, past: readonly TaskValue[]) {
  const { spec, updatedMs } = service.value
  const createdMs = Math.max(service.version.ms, ...past.map(({ created }) => created.ms + 1))
  return {
    ID: idOf(`pending/${service.id}/${slot.slot}`),
    ...stamps(service.version, { ...service.version, ms: createdMs }),
    Labels: {},
    Spec: spec.TaskTemplate,
    ServiceID: service.id,
    // Where the slot is a node, it waits for that one.
    ...(isNumber(slot.slot) ? { Slot: Number(slot.slot) } : { NodeID: slot.slot }),
    Status: {
      Timestamp: time(Math.max(updatedMs, ...past.map(({ stateMs }) => stateMs))),
      State: 'pending' as const,
      Message: 'pending',
      Err: slot.sentence,
      PortStatus: {},
    },
    DesiredState: 'running' as const,
  }
}

/** Docker's desired state, from what `place` decided of the task's slot; undefined: the service has no such slot. */
export function desiredState(view: View, task: Stamped<TaskValue>, slot: SlotView | undefined): DesiredState {
  if (!view.services.has(task.value.service)) return 'remove'
  if (!isLiveTask(task.value, view) || task.value.stopping === true) return 'shutdown'
  if (slot === undefined) return 'remove'
  if (task.id === slot.takeover) return 'running'
  return task.id === slot.task && !slot.leaving ? 'running' : 'shutdown'
}

/** Whether a task runs what its service asks for now. */
export function isUpToDate(view: View, task: TaskValue): boolean {
  const service = view.services.get(task.service)
  return service !== undefined && wanted(service).template === task.template
}

function lossOf(view: View, task: TaskValue): string {
  const name = nodeName(view, task.node)
  return isUp(view.members.get(task.node)) ? `node ${name} has rebooted since` : `node ${name} is down`
}

/** A replicated slot is a number; the slot of a global service is its node, which Docker leaves out. */
function slotOf(slot: string): { Slot?: number } {
  return isNumber(slot) ? { Slot: Number(slot) } : {}
}

function isNumber(slot: string): boolean {
  return /^\d{1,9}$/.test(slot)
}

/** The template that a task was made from, where it is still known; else the present one with the task's own image. */
function templateOf(service: Stamped<ServiceValue> | undefined, task: TaskValue): Partial<ServiceSpec['TaskTemplate']> {
  const spec = service?.value.spec
  if (service !== undefined && wanted(service).template === task.template) return service.value.spec.TaskTemplate
  const previous = service?.value.previous
  if (previous !== undefined && hashOf(previous) === task.template) return previous.TaskTemplate
  return { ...spec?.TaskTemplate, ContainerSpec: { ...spec?.TaskTemplate.ContainerSpec, Image: task.image } }
}

const hashes = new WeakMap<ServiceSpec, string>()

/** Computed once a spec: a list asks for it once a task. */
function hashOf(spec: ServiceSpec): string {
  const known = hashes.get(spec) ?? templateHash(spec)
  hashes.set(spec, known)
  return known
}

const open: ReadonlySet<TaskState> = new Set(['starting', 'running'])

/** Host-mode ports, as Docker; ingress ports belong to the service. */
function portStatus(service: ServiceValue | undefined, task: TaskValue) {
  const host = open.has(task.state) ? (service?.ports.filter((port) => port.mode === 'host') ?? []) : []
  if (host.length === 0) return {}
  return {
    Ports: host.map((port) => ({
      Protocol: port.protocol,
      TargetPort: port.target,
      PublishedPort: port.published,
      PublishMode: port.mode,
    })),
  }
}
