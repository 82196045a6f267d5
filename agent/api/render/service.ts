/** A service in Docker's shape (swagger.yaml, Service). Spec as stored; everything else computed from the view. */
import type { ServiceValue } from '../../../protocol/model.ts'
import { isLiveTask } from '../../core/live.ts'
import type { Stamped, View } from '../../core/view.ts'
import { templateHash } from '../../core/wanted.ts'
import type { ApiContext } from '../context.ts'
import { stamps, time } from './common.ts'
import { bySlot } from './task.ts'

export function renderService(context: ApiContext, service: Stamped<ServiceValue>, show: { readonly status: boolean }) {
  const { spec, previous, created, updatedMs } = service.value
  const update = updateStatus(context.view, service)
  return {
    ID: service.id,
    ...stamps(service.version, created, updatedMs),
    Spec: spec,
    ...(previous === undefined ? {} : { PreviousSpec: previous }),
    Endpoint: endpoint(context.view, service.value),
    ...(update === undefined ? {} : { UpdateStatus: update }),
    ...(show.status ? { ServiceStatus: countTasks(context, service) } : {}),
  }
}

/** Slots that run, of the slots that should. */
export function countTasks(context: Pick<ApiContext, 'view' | 'decisions'>, service: Stamped<ServiceValue>) {
  const mode = service.value.spec.Mode
  const slots = context.decisions.why(service)
  const running = slots.filter((slot) => {
    const task = slot.task === undefined ? undefined : context.view.tasks.get(slot.task)?.value
    return task !== undefined && task.state === 'running' && isLiveTask(task, context.view)
  }).length
  const desired = mode?.Global === undefined ? (mode?.Replicated?.Replicas ?? 1) : slots.length
  return { RunningTasks: running, DesiredTasks: desired, CompletedTasks: 0 }
}

function endpoint(view: View, value: ServiceValue) {
  const ports = value.ports.map((port) => {
    const name = value.spec.EndpointSpec?.Ports?.find(
      (asked) => asked.TargetPort === port.target && (asked.Protocol ?? 'tcp') === port.protocol,
    )?.Name
    return {
      ...(name === undefined ? {} : { Name: name }),
      Protocol: port.protocol,
      TargetPort: port.target,
      PublishedPort: port.published,
      PublishMode: port.mode,
    }
  })
  const virtual = value.vips.map((vip) => {
    const prefix = view.networks.get(vip.network)?.value.subnet.split('/')[1] ?? '32'
    return { NetworkID: vip.network, Addr: `${vip.address}/${prefix}` }
  })
  return {
    Spec: {
      Mode: value.spec.EndpointSpec?.Mode ?? 'vip',
      ...(ports.length === 0 ? {} : { Ports: value.spec.EndpointSpec?.Ports ?? [] }),
    },
    ...(ports.length === 0 ? {} : { Ports: ports }),
    ...(virtual.length === 0 ? {} : { VirtualIPs: virtual }),
  }
}

/** How far the last change of the template has come. Absent for a service that was never changed, as in Docker. */
function updateStatus(view: View, service: Stamped<ServiceValue>) {
  const { spec, generation, updatedMs } = service.value
  if (generation === 0) return undefined
  const wanted = templateHash(spec)
  const live = [...bySlot(view, service.id).values()].flat().filter((task) => isLiveTask(task.value, view))
  const fresh = live.filter((task) => task.value.template === wanted)
  const done = live.length === fresh.length && fresh.every((task) => task.value.state === 'running')
  if (!done) {
    return {
      State: 'updating',
      StartedAt: time(updatedMs),
      Message: `${fresh.length} of ${live.length} tasks run the new spec`,
    }
  }
  const completedMs = Math.max(updatedMs, ...fresh.map((task) => task.value.stateMs))
  return { State: 'completed', StartedAt: time(updatedMs), CompletedAt: time(completedMs), Message: 'update completed' }
}
