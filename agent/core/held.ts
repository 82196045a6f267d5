/** Which networks' records this node holds: those that its tasks and guests are on. */
import type { NetworkId } from '../../protocol/ids.ts'
import { ingressNetwork } from '../../protocol/model.ts'
import { guestNetworks } from './guests.ts'
import { hasEnded } from './live.ts'
import type { View } from './view.ts'

/** Sorted. */
export function networksHeld(view: View): readonly NetworkId[] {
  const own = view.ownTasks().filter(({ value }) => !hasEnded(value.state))
  const networks = new Set(own.flatMap(({ value }) => value.addresses.map(({ network }) => network)))
  for (const network of guestNetworks(view)) networks.add(network)
  // Ingress is held by every node, whatever runs on it.
  networks.delete(ingressNetwork)
  return [...networks].sort()
}
