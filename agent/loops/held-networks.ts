/**
 * Which networks' records this node holds: those of the networks that its own tasks and guests are on (design.md 3).
 *
 * A network that is left is let go of when another holder has what was written here: nobody else could tell it any more.
 */
import type { NetworkId } from '../../protocol/ids.ts'
import { ingressNetwork, networkOf, networkScope, type Scope } from '../../protocol/model.ts'
import type { ReplicatedView } from '../view.ts'
import type { Clock } from '../world.ts'
import type { Sync } from './sync.ts'

export interface HeldNetworksParts {
  readonly view: ReplicatedView
  readonly sync: Pick<Sync, 'onHeld' | 'handOver' | 'readiness'>
  readonly clock: Clock
  /** The held scopes changed. */
  readonly follow: () => void
  /** The networks changed: say so in the member record. */
  readonly announce: () => void
}

export interface HeldNetworks {
  /** Those of which the member record says that they are held. */
  networks(): readonly NetworkId[]
  /** These, and what the journal says is held, before this node takes part. */
  adopt(networks: readonly NetworkId[]): void
  /** Holds these, and says so; lets go of all others. */
  hold(networks: readonly NetworkId[]): void
  /** Whether the names of a network may be denied: its scope is caught up, or has waited long enough. */
  isReady(network: NetworkId): boolean
  /** What is missing of a scope; at least 1 while holders are known and none was asked. */
  need(scope: Scope): number
  stop(): void
}

/** A scope that no holder gives within this time is used as it is (design.md 3). */
export const scopeWaitMs = 2_000

export function createHeldNetworks({ view, sync, clock, follow, announce }: HeldNetworksParts): HeldNetworks {
  const heldSinceMs = new Map<Scope, number>()
  let networks: readonly NetworkId[] = []
  let isStopped = false

  function need(scope: Scope): number {
    return sync.readiness(scope) === 'behind' ? Math.max(1, view.need(scope)) : 0
  }

  function take(network: NetworkId): void {
    const scope = networkScope(network)
    if (view.holds(scope)) return
    view.holdScope(scope)
    heldSinceMs.set(scope, clock.now())
    follow()
    sync.onHeld(scope)
  }

  async function release(network: NetworkId): Promise<void> {
    const scope = networkScope(network)
    for (const [id, endpoint] of view.endpoints.get(network) ?? []) {
      if (endpoint.value.node === view.self) view.put({ scope, kind: 'endpoint', id, value: null })
    }
    await sync.handOver(scope)
    if (isStopped || networks.includes(network)) return
    view.dropScope(scope)
    heldSinceMs.delete(scope)
    follow()
  }

  return {
    networks: () => networks,
    adopt(found) {
      // With those that an earlier run had not let go of when it ended: they are let go of by the first `hold`.
      const before = view.scopes().flatMap((scope) => networkOf(scope) ?? [])
      networks = [...new Set([...before, ...found])].filter((network) => network !== ingressNetwork).sort()
      for (const network of networks) view.holdScope(networkScope(network))
      follow()
    },
    hold(wanted) {
      const left = networks.filter((network) => !wanted.includes(network))
      const isChanged = left.length > 0 || wanted.length > networks.length
      networks = wanted
      for (const network of wanted) take(network)
      for (const network of left) void release(network)
      if (isChanged) announce()
    },
    isReady(network) {
      const scope = networkScope(network)
      if (!view.holds(scope)) return false
      const since = heldSinceMs.get(scope) ?? Number.NEGATIVE_INFINITY
      return need(scope) === 0 || clock.now() - since >= scopeWaitMs
    },
    need,
    stop() {
      isStopped = true
    },
  }
}
