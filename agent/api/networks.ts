/**
 * The networks that the API shows: those that were created, and `ingress`, which every cluster has and nobody creates (design.md 3).
 *
 * Where a data plane gives ingress a subnet, that is recorded and shown. Where published ports are forwarded in user space it has none:
 * an address of a task on it would be a lie.
 */
import { ingressNetwork, type NetworkValue } from '../../protocol/model.ts'
import type { Stamped, View } from '../core/view.ts'

/** In the order of their names. */
export function allNetworks(view: View): readonly Stamped<NetworkValue>[] {
  const created = [...view.networks.values()].filter(({ id }) => id !== ingressNetwork)
  return [...created, ingress(view)].sort((a, b) => (a.value.spec.Name < b.value.spec.Name ? -1 : 1))
}

/** It is as old as the cluster. */
export function ingress(view: View): Stamped<NetworkValue> {
  const recorded = view.networks.get(ingressNetwork)
  if (recorded !== undefined) return recorded
  const none = { ms: 0, counter: 0, node: view.self }
  const { settings } = view
  return {
    id: ingressNetwork,
    version: settings?.version ?? none,
    author: settings?.author ?? { node: view.self, log: '' },
    value: {
      spec: { Name: ingressNetwork, Driver: 'overlay', Ingress: true },
      created: settings?.value.created ?? none,
      subnet: '',
      gateway: '',
    },
  }
}
