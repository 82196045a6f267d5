/**
 * The whole forwarding table that a node should have: what `routes(view)` computes and a data plane makes so (design.md 8).
 *
 * Plain data, sorted, equal views give equal tables. A data plane compares it with what it has and applies the difference.
 */
import type { NetworkId, NodeId, ServiceId, TaskId } from '../../../protocol/ids.ts'
import type { Protocol } from '../../../protocol/model.ts'
import type { Overlay } from './overlay.ts'

export interface Routes {
  /** Revision of the view it was computed from. */
  readonly revision: number
  /** Ports that every --address of this node listens on, sorted by protocol and port. */
  readonly published: readonly PublishedRoute[]
  /** Services as tasks here see them: one for each service and network that has a task on this node. */
  readonly services: readonly ServiceRoute[]
  /** Tasks as tasks here see them, one for each endpoint on networks that this node holds. */
  readonly tasks: readonly TaskRoute[]
  /** What the kernel carries; left out where the data plane is not linux. */
  readonly overlay?: Overlay | undefined
}

export interface PublishedRoute {
  readonly protocol: Protocol
  readonly port: number
  /** Port of the service that the published one leads to. */
  readonly target: number
  /** 'host': only to tasks of this node; a user-space task may serve the port itself. */
  readonly mode: 'ingress' | 'host'
  readonly service: ServiceId
  readonly name: string
  readonly options: ForwardOptions
  readonly backends: readonly Backend[]
}

export interface ServiceRoute {
  readonly network: NetworkId
  readonly service: ServiceId
  readonly name: string
  /** Network-wide virtual IP; undefined with dnsrr. */
  readonly vip: string | undefined
  /** The same of IPv6, where this node's kernel carries it. */
  readonly vip6?: string | undefined
  /** Target ports a client may connect to. */
  readonly ports: readonly { readonly protocol: Protocol; readonly target: number }[]
  readonly options: ForwardOptions
  readonly backends: readonly Backend[]
}

export interface TaskRoute {
  readonly network: NetworkId
  readonly task: TaskId
  readonly service: ServiceId
  readonly address: string
  readonly backend: Backend
}

export interface ForwardOptions {
  /** 'client-ip': the same client reaches the same backend, by a Maglev table alike on every node. */
  readonly affinity: 'none' | 'client-ip'
  /** Send PROXY protocol v2 to the task: label `grapevine.proxy-protocol=v2`. */
  readonly proxyProtocol: boolean
}

/** One endpoint that may take new flows. Dead, ended and draining endpoints are not in the table at all. */
export interface Backend {
  readonly task: TaskId
  readonly node: NodeId
  /** On this node: dialled directly. Else through the mesh. */
  readonly local: boolean
  /** Its node is suspect, or out of this node's reach: used only if nothing else exists. */
  readonly suspect: boolean
  /** Fails its health check: used only when more than half of the backends do (no black hole). */
  readonly healthy: boolean
  /** Address to dial on its own node. */
  readonly host: string
  /** Its IPv6 address, where it serves at it and this node's kernel carries IPv6. */
  readonly host6?: string | undefined
  /** Declared target ports and the real ones. A target port that is not declared is dialled as it is. */
  readonly ports: readonly { readonly protocol: Protocol; readonly target: number; readonly actual: number }[]
}
