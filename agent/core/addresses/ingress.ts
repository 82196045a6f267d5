/**
 * The network of published ports, where tasks have addresses on it: the record that the first node with the linux data plane writes.
 *
 * Tasks of nodes that forward in user space have no address on it. Its block is kept from networks that name no subnet, from the start, so that
 * the first linux node of an old cluster finds it free as a rule.
 */
import type { Version } from '../../../protocol/hlc.ts'
import { ingressNetwork, type NetworkValue } from '../../../protocol/model.ts'
import type { View } from '../view.ts'
import { formatSubnet, overlap } from './ipv4.ts'
import { gatewayOf, ingressSubnet, subnetsIn } from './subnet.ts'

/** Undefined when no block of this size is free: then ports are published in user space only. */
export function ingressValue(view: View, created: Version): NetworkValue | undefined {
  const taken = subnetsIn(view)
  for (let step = 0; step < 256; step++) {
    const subnet = { ...ingressSubnet, base: ingressSubnet.base - step * ingressSubnet.size }
    if (taken.some((other) => overlap(other, subnet))) continue
    const spec = { Name: ingressNetwork, Driver: 'overlay', Ingress: true }
    return { spec, created, subnet: formatSubnet(subnet), gateway: gatewayOf(subnet) }
  }
  return undefined
}
