/**
 * The virtual IP of a service on a network: hashed from the two names, so that both sides of a partition choose the same one and a
 * service created anew under its old name has its old address (design.md 6).
 */
import type { NetworkId, ServiceId } from '../../../protocol/ids.ts'
import type { ServiceValue } from '../../../protocol/model.ts'
import { perRevision } from '../per-revision.ts'
import { compareCreation } from '../placement/order.ts'
import type { View } from '../view.ts'
import { chooseAddress } from './ranges.ts'

/** Undefined when the first quarter of the subnet is full, or the network unknown. A service keeps the VIP it has. */
export function chooseVip(view: View, networkId: NetworkId, serviceName: string): string | undefined {
  const network = view.networks.get(networkId)
  if (network === undefined) return undefined
  const taken = new Map<string, number>()
  for (const { value } of view.services.values()) {
    const vip = value.vips.find((v) => v.network === network.id)
    if (vip !== undefined && value.spec.Name !== serviceName) taken.set(vip.address, Number.POSITIVE_INFINITY)
  }
  const key = `${network.value.spec.Name}/${serviceName}`
  return chooseAddress(network, { range: 'vips', key, takenLevel: taken })
}

/** Services with a VIP that an earlier service of another name has on that network: it is rewritten once. */
export const lostVips = perRevision((view): ReadonlyMap<ServiceId, ServiceValue['vips']> => {
  const holders = new Map<string, string>()
  const lost = new Map<ServiceId, ServiceValue['vips']>()
  for (const service of [...view.services.values()].sort(compareCreation)) {
    const { spec, vips } = service.value
    const kept = vips.filter(({ network, address }) => {
      const key = `${network} ${address}`
      const holder = holders.get(key)
      if (holder === undefined) holders.set(key, spec.Name)
      return holder === undefined || holder === spec.Name
    })
    if (kept.length < vips.length) lost.set(service.id, kept)
  }
  return lost
})
