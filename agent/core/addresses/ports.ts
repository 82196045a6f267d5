/**
 * The published ports of a service: those asked for, if no other service has them, and a number of 30000..32767 where none was asked.
 *
 * A chosen number comes from a hash of service name and target, so that both sides of a partition choose alike, and stays with the
 * service through its updates (swarm-reference.md 5.E 74).
 */
import type { ServiceId } from '../../../protocol/ids.ts'
import type { ServiceValue } from '../../../protocol/model.ts'
import type { ServiceSpec } from '../../../protocol/spec.ts'
import { fault } from '../../fault.ts'
import { PortClaims } from '../conflicts.ts'
import { compareCreation } from '../placement/order.ts'
import type { View } from '../view.ts'
import { probe } from './probe.ts'

/** Swarm's range for ports that nobody named. */
const dynamicFirst = 30_000
const dynamicCount = 2_768

type Ports = ServiceValue['ports']
type Port = Ports[number]

/** Throws a Fault ('conflict') with Docker's sentence when a port is another service's, or asked for twice. */
export function choosePublishedPorts(view: View, spec: ServiceSpec, serviceId: ServiceId): Ports {
  const others = new PortClaims()
  for (const { id, value } of [...view.services.values()].sort(compareCreation)) {
    if (id !== serviceId) others.claim(value.spec.Name, value.ports)
  }
  const before = view.services.get(serviceId)?.value.ports ?? []
  const asked = (spec.EndpointSpec?.Ports ?? []).map((p) => ({
    protocol: p.Protocol ?? 'tcp',
    target: p.TargetPort,
    published: p.PublishedPort ?? 0,
    mode: p.PublishMode ?? 'ingress',
  }))
  const chosen: Port[] = asked.filter((port) => port.published !== 0)
  refuseTwice(chosen)
  const clash = others.clash(chosen)
  if (clash !== undefined) throw fault('conflict', clash, 'Choose another port, or remove that service.')
  // A list, since one target may be published several times.
  return asked.map((port) => {
    if (port.published !== 0) return port
    const kept = before.find((b) => isDynamic(b) && sameTarget(b, port) && !chosen.some((c) => samePort(c, b)))
    const made =
      kept ??
      chooseDynamic(
        spec.Name,
        port,
        (candidate) => others.clash([candidate]) === undefined && !chosen.some((c) => samePort(c, candidate)),
      )
    chosen.push(made)
    return made
  })
}

function refuseTwice(ports: readonly Port[]): void {
  const twice = ports.find((port, i) => ports.slice(0, i).some((other) => samePort(other, port)))
  if (twice === undefined) return
  throw fault(
    'invalid',
    `port ${twice.published}/${twice.protocol} is published twice by the same service`,
    'Publish it once.',
  )
}

function chooseDynamic(name: string, port: Port, isFree: (candidate: Port) => boolean): Port {
  for (const offset of probe(`${name}/${port.protocol}/${port.target}/${port.mode}`, dynamicCount)) {
    const candidate = { ...port, published: dynamicFirst + offset }
    if (isFree(candidate)) return candidate
  }
  throw fault('conflict', 'every port of 30000-32767 is in use', 'Name a published port outside of that range.')
}

function isDynamic(port: Port): boolean {
  return port.published >= dynamicFirst && port.published < dynamicFirst + dynamicCount
}

function sameTarget(a: Port, b: Port): boolean {
  return a.protocol === b.protocol && a.target === b.target && a.mode === b.mode
}

function samePort(a: Port, b: Port): boolean {
  return a.protocol === b.protocol && a.published === b.published
}
