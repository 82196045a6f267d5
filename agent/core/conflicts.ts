/**
 * Which services and networks are in conflict with an earlier one over a name, a published port or a subnet (design.md 6).
 *
 * Two sides of a partition may create what clashes. The earlier creation keeps the claim; the later object stays, is not placed,
 * published or resolved, and recovers when the cause goes. An object in conflict keeps its own claims: who comes third must not be
 * stopped later because the first went away.
 */

import { ingressNetwork } from '../../protocol/model.ts'
import { subnets6In } from './addresses/dual.ts'
import { overlap, parseSubnet, type Subnet } from './addresses/ipv4.ts'
import { overlap6, parseSubnet6 } from './addresses/ipv6.ts'
import { perRevision } from './per-revision.ts'
import { compareCreation, compareText } from './placement/order.ts'
import type { View } from './view.ts'

/** By service or network id: a sentence that says with what it clashes. */
export const conflicts = perRevision((view): ReadonlyMap<string, string> => {
  return new Map([...networkConflicts(view), ...serviceConflicts(view)].sort(([a], [b]) => compareText(a, b)))
})

function networkConflicts(view: View): Map<string, string> {
  const found = new Map<string, string>()
  const names = new Map<string, string>()
  const subnets: { readonly subnet: Subnet; readonly name: string }[] = []
  // That of ingress is in no record, and older than any.
  const subnets6 = [...subnets6In({ settings: view.settings, networks: new Map() })]
  for (const { id, value } of [...view.networks.values()].sort(compareCreation)) {
    const name = value.spec.Name
    const subnet = parseSubnet(value.subnet)
    const clash = subnet === undefined ? undefined : subnets.find((other) => overlap(other.subnet, subnet))
    const subnet6 = id === ingressNetwork ? undefined : parseSubnet6(value.subnet6 ?? '')
    const clash6 = subnet6 === undefined ? undefined : subnets6.find((other) => overlap6(other.subnet, subnet6))
    const overlaps = (text: string | undefined, other: string) =>
      `subnet ${text} overlaps with that of network "${other}", which is older`
    if (names.has(name)) found.set(id, `name "${name}" belongs to an earlier network`)
    else if (clash !== undefined) found.set(id, overlaps(value.subnet, clash.name))
    else if (clash6 !== undefined) found.set(id, overlaps(value.subnet6, clash6.name))
    if (!names.has(name)) names.set(name, id)
    if (subnet !== undefined) subnets.push({ subnet, name })
    if (subnet6 !== undefined) subnets6.push({ subnet: subnet6, name })
  }
  return found
}

function serviceConflicts(view: View): Map<string, string> {
  const found = new Map<string, string>()
  const names = new Set<string>()
  const ports = new PortClaims()
  for (const { id, value } of [...view.services.values()].sort(compareCreation)) {
    const name = value.spec.Name
    const sentence = ports.clash(value.ports)
    if (names.has(name)) found.set(id, `name "${name}" belongs to an earlier service`)
    else if (sentence !== undefined) found.set(id, sentence)
    names.add(name)
    ports.claim(name, value.ports)
  }
  return found
}

interface Port {
  readonly protocol: string
  readonly published: number
  readonly mode: 'ingress' | 'host'
}

/**
 * Who publishes what: an ingress port is one service's on all nodes; several may use a port in host mode, since placement keeps their
 * tasks apart (swarmkit controlapi checkPortConflicts).
 */
export class PortClaims {
  readonly #ingress: Map<string, string> = new Map()
  readonly #host: Map<string, string> = new Map()

  claim(service: string, ports: readonly Port[]): void {
    for (const port of ports) {
      const claims = port.mode === 'ingress' ? this.#ingress : this.#host
      const key = `${port.protocol}/${port.published}`
      if (!claims.has(key)) claims.set(key, service)
    }
  }

  /** Swarm's sentence for the first of these ports that another service has. */
  clash(ports: readonly Port[]): string | undefined {
    for (const port of ports) {
      const key = `${port.protocol}/${port.published}`
      const ingress = this.#ingress.get(key)
      if (ingress !== undefined)
        return `port ${port.published} is already in use by service "${ingress}" as an ingress port`
      const host = port.mode === 'ingress' ? this.#host.get(key) : undefined
      if (host !== undefined)
        return `port ${port.published} is already in use by service "${host}" as a host-published port`
    }
    return undefined
  }
}
