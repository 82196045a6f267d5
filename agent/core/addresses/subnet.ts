/**
 * The subnet of a network created without one: a /24 of the cluster's pool, at a place hashed from the network's name, so that two sides
 * of a partition rarely take one block for two names. A clash that happens all the same is a conflict (core/conflicts.ts).
 */
import type { View } from '../view.ts'
import { contains, formatAddress, formatSubnet, overlap, parseSubnet, type Subnet } from './ipv4.ts'
import { probe } from './probe.ts'

/** Docker's default pool for swarm networks, with blocks of 24 bits. */
const defaultPool = '10.0.0.0/8'
const blockBits = 24

/** Kept for published ports (ingress.ts), with room for 49,000 tasks: the last block of Docker's pool. */
export const ingressSubnet: Subnet = { base: (10 * 256 + 255) * 65_536, bits: 16, size: 65_536 }

/** Undefined when the pool has no free block. */
export function chooseSubnet(
  view: View,
  networkName: string,
): { readonly subnet: string; readonly gateway: string } | undefined {
  const pool = parseSubnet(view.settings?.value.addressPool ?? defaultPool) ?? parseSubnet(defaultPool)
  if (pool === undefined) return undefined
  const bits = Math.max(blockBits, pool.bits)
  const size = 2 ** (32 - bits)
  const taken = [...subnetsIn(view), ingressSubnet]
  for (const block of probe(networkName, pool.size / size)) {
    const subnet: Subnet = { base: pool.base + block * size, bits, size }
    if (!taken.some((other) => overlap(other, subnet))) {
      return { subnet: formatSubnet(subnet), gateway: gatewayOf(subnet) }
    }
  }
  return undefined
}

/** Of all networks that have one. */
export function subnetsIn(view: View): readonly Subnet[] {
  return [...view.networks.values()].flatMap(({ value }) => parseSubnet(value.subnet) ?? [])
}

/** The first address of a subnet, Docker's habit. */
export function gatewayOf(subnet: Subnet): string {
  return formatAddress(subnet.base + 1)
}

/** The network that already has part of this subnet, by name. */
export function overlapping(view: View, subnet: Subnet): string | undefined {
  const other = [...view.networks.values()].find(({ value }) => {
    const theirs = parseSubnet(value.subnet)
    return theirs !== undefined && (overlap(theirs, subnet) || contains(theirs, subnet.base))
  })
  return other?.value.spec.Name
}
