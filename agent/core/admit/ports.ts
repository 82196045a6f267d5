/**
 * Whether the ports that a service asks for are free (swarmkit controlapi/service.go, checkPortConflicts and validateEndpointSpec).
 *
 * An ingress port belongs to one service of the cluster, for each protocol, and shuts out host-mode use. Two services may share a host-mode
 * port; placement keeps them apart.
 */
import type { ServiceId } from '../../../protocol/ids.ts'
import type { PortConfig, ServiceSpec } from '../../../protocol/spec.ts'
import type { Fault } from '../../fault.ts'
import type { View } from '../view.ts'
import { invalid } from './read.ts'

/** `self` is the service whose spec it is, which does not clash with itself. */
export function checkPorts(view: View, spec: ServiceSpec, self: ServiceId): Fault | undefined {
  const ports = (spec.EndpointSpec?.Ports ?? []).filter((port) => (port.PublishedPort ?? 0) !== 0)
  const seen = new Set<string>()
  for (const port of ports) {
    const key = `${port.PublishedPort}/${protocolOf(port)}`
    if (seen.has(key)) return invalid(`EndpointSpec: duplicate published ports provided: ${key}`)
    seen.add(key)
  }
  for (const service of [...view.services.values()].sort((a, b) => (a.id < b.id ? -1 : 1))) {
    if (service.id === self) continue
    for (const taken of service.value.ports) {
      const clash = ports.find(
        (port) =>
          port.PublishedPort === taken.published &&
          protocolOf(port) === taken.protocol &&
          !(modeOf(port) === 'host' && taken.mode === 'host'),
      )
      if (clash !== undefined) {
        const how = taken.mode === 'ingress' ? 'an ingress port' : 'a host-published port'
        return invalid(
          `port '${taken.published}' is already in use by service '${service.value.spec.Name}' (${service.id}) as ${how}`,
          `Choose another port, or remove service "${service.value.spec.Name}"`,
        )
      }
    }
  }
  return undefined
}

function protocolOf(port: PortConfig): string {
  return port.Protocol ?? 'tcp'
}

function modeOf(port: PortConfig): string {
  return port.PublishMode ?? 'ingress'
}
