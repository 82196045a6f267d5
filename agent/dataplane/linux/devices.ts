/**
 * The kernel devices of this node's networks and tasks, as the rest of the data plane sees them.
 *
 * Everything a task sends is routed by its node's own namespace; no frame goes from task to task over a bridge, so that connection tracking and one
 * nft table see both directions.
 */
import type { NetworkId, TaskId } from '../../../protocol/ids.ts'
import type { Overlay } from '../../core/routes/overlay.ts'

export interface TaskLinks {
  readonly task: TaskId
  /** In the order of its interfaces, eth0 first; ingress last. */
  readonly links: readonly { readonly network: NetworkId; readonly address: string }[]
  /** The agent's socket for this task's questions: the gateway of its first network, and a port of its own. */
  readonly resolver: { readonly host: string; readonly port: number }
}

export interface Devices {
  /**
   * Makes bridges, tunnels, forwarding and neighbour entries so, for these networks, nodes and places; removes ours that are not wanted any more, but
   * for the bridge of a network on which a task in `local` still is. Resolves to what failed, by network; such a network is not there at all.
   */
  apply(overlay: Overlay, local: readonly TaskLinks[]): Promise<readonly NetworkProblem[]>
  /**
   * Namespace with links, addresses, routes, resolver translation, and the bridges that it needs; nothing happens when all of it is there. Resolves to
   * the path for nsenter. Rejects with a Fault ('unavailable'), and then nothing is left of it.
   */
  createTask(links: TaskLinks, overlay: Overlay): Promise<{ readonly netns: string }>
  /** Of an unknown task: nothing happens. */
  removeTask(task: TaskId): Promise<void>
  /** The bridge of a network, for the firewall. */
  bridgeOf(network: NetworkId): string
}

export interface NetworkProblem {
  readonly network: NetworkId
  readonly sentence: string
}
