/** A service in Docker's shape (swagger.yaml, Service). Spec as stored; everything else computed from the view. */
import type { ServiceValue } from '../../../protocol/model.ts'
import type { ServiceSpec } from '../../../protocol/spec.ts'
import type { Stamped, View } from '../../core/view.ts'
import { wanted } from '../../core/wanted.ts'
import type { ApiContext } from '../context.ts'
import { slotViews } from '../slots.ts'
import { addressesOf } from './network.ts'
import { stamps } from './stamps.ts'
import { updateStatus } from './update-status.ts'

export function renderService(context: ApiContext, service: Stamped<ServiceValue>, show: { readonly status: boolean }) {
  const { spec, previous, created, updatedMs } = service.value
  const update = updateStatus(context.view, service, context.clock.wall())
  return {
    ID: service.id,
    ...stamps(service.version, created, updatedMs),
    Spec: withEndpointMode(spec),
    ...(previous === undefined ? {} : { PreviousSpec: previous }),
    Endpoint: endpoint(context.view, service.value),
    ...(update === undefined ? {} : { UpdateStatus: update }),
    ...(show.status ? { ServiceStatus: countTasks(context.view, service, context.clock.wall()) } : {}),
  }
}

/** Docker's daemon tells the mode that it took where none was asked for: Traefik goes by it to find a service's virtual IP. */
function withEndpointMode(spec: ServiceSpec): ServiceSpec {
  const { EndpointSpec: asked } = spec
  if (asked === undefined || asked === null || asked.Mode !== undefined) return spec
  return { ...spec, EndpointSpec: { ...asked, Mode: 'vip' } }
}

/** Slots that run, of the slots that should. */
export function countTasks(view: View, service: Stamped<ServiceValue>, nowMs: number) {
  const slots = slotViews(view, service, nowMs)
  const running = slots.filter(
    ({ task }) => task !== undefined && view.tasks.get(task)?.value.state === 'running',
  ).length
  const { replicas } = wanted(service)
  return { RunningTasks: running, DesiredTasks: replicas === 'global' ? slots.length : replicas, CompletedTasks: 0 }
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
  const virtual = value.vips.flatMap(({ network, address }) =>
    addressesOf(view, network, address).map((Addr) => ({ NetworkID: network, Addr })),
  )
  return {
    Spec: {
      Mode: value.spec.EndpointSpec?.Mode ?? 'vip',
      ...(ports.length === 0 ? {} : { Ports: value.spec.EndpointSpec?.Ports ?? [] }),
    },
    ...(ports.length === 0 ? {} : { Ports: ports }),
    ...(virtual.length === 0 ? {} : { VirtualIPs: virtual }),
  }
}
