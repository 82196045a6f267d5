/**
 * The parts of Docker's API documents that the CLI reads (swagger.yaml: Service, Task, Node, Network). Types only; everything that a
 * foreign or newer agent may leave out is optional.
 */
import type { NetworkSpec, NodeSpec, ServiceSpec } from '../../protocol/spec.ts'

export interface Versioned {
  readonly ID: string
  readonly Version: { readonly Index: number }
  readonly CreatedAt?: string
  readonly UpdatedAt?: string
}

export interface Port {
  readonly Protocol?: string
  readonly TargetPort?: number
  readonly PublishedPort?: number
  readonly PublishMode?: string
}

export interface Service extends Versioned {
  readonly Spec: ServiceSpec
  readonly PreviousSpec?: ServiceSpec
  readonly Endpoint?: {
    readonly Spec?: { readonly Mode?: string }
    readonly Ports?: readonly Port[]
    readonly VirtualIPs?: readonly { readonly NetworkID?: string; readonly Addr?: string }[]
  }
  readonly UpdateStatus?: {
    readonly State?: string
    readonly StartedAt?: string
    readonly CompletedAt?: string
    readonly Message?: string
  }
  readonly ServiceStatus?: { readonly RunningTasks?: number; readonly DesiredTasks?: number }
}

export interface Task extends Versioned {
  readonly ServiceID?: string
  readonly Slot?: number
  readonly NodeID?: string
  readonly Spec?: ServiceSpec['TaskTemplate']
  readonly DesiredState?: string
  readonly Status?: {
    readonly Timestamp?: string
    readonly State?: string
    readonly Message?: string
    readonly Err?: string
    readonly PortStatus?: { readonly Ports?: readonly Port[] | null } | null
  }
}

export interface Node extends Versioned {
  readonly Spec: NodeSpec
  readonly Description?: {
    readonly Hostname?: string
    readonly Platform?: { readonly Architecture?: string; readonly OS?: string }
    readonly Resources?: { readonly NanoCPUs?: number; readonly MemoryBytes?: number }
    readonly Engine?: {
      readonly EngineVersion?: string
      readonly Labels?: Readonly<Record<string, string>>
      readonly Plugins?: readonly Plugin[] | null
    }
    readonly TLSInfo?: unknown
    readonly Runtime?: { readonly Name: string; readonly Version?: string; readonly Reason?: string }
    readonly Dataplane?: {
      readonly Name: string
      readonly Reason?: string
      readonly NoIPv6?: string
      readonly WireGuard?: { readonly Port: number; readonly Lack: string }
      readonly Problems?: readonly string[]
    }
  }
  readonly Status?: { readonly State?: string; readonly Message?: string; readonly Addr?: string }
  readonly ManagerStatus?: { readonly Leader?: boolean; readonly Reachability?: string; readonly Addr?: string } | null
}

export interface Plugin {
  readonly Type?: string
  readonly Name?: string
}

export interface Network extends NetworkSpec {
  readonly Id: string
  readonly Name: string
  readonly Created?: string
  readonly Scope?: string
  readonly EnableIPv4?: boolean
}

export interface Info {
  readonly Swarm?: { readonly NodeID?: string }
}
