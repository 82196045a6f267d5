/** What admission needs of core/addresses: the choice of addresses and ports for what is new. Types only. */
import type { NetworkId, ServiceId } from '../../../protocol/ids.ts'
import type { ServiceValue } from '../../../protocol/model.ts'
import type { ServiceSpec } from '../../../protocol/spec.ts'
import type { View } from '../view.ts'

export interface Choosers {
  /** undefined: the network has no free VIP. */
  vip(view: View, network: NetworkId, serviceName: string): string | undefined
  /** undefined: the address pool has no free subnet. */
  subnet(view: View, networkName: string): { readonly subnet: string; readonly gateway: string } | undefined
  /** The ports of a spec with numbers for those that have none; a service keeps the numbers it has. */
  ports(view: View, spec: ServiceSpec, service: ServiceId): ServiceValue['ports']
}
