// What tools that read a Swarm ask of it, and which fields of the answer they use, written down from their public sources (`source`).
// `{service}`, `{task}` and `{node}` stand for ids that the answers before gave them.

/** Of each value found: a text that is not empty, an address, an address with its prefix, a number, true or false, a map of texts. */
export type Kind = 'text' | 'address' | 'cidr' | 'number' | 'boolean' | 'map'

export interface Recorded {
  readonly tool: string
  readonly source: string
  /** API version that the tool speaks; none: it negotiates. */
  readonly version?: string
  readonly requests: readonly {
    readonly method?: 'GET' | 'HEAD'
    readonly path: string
    readonly filters?: Readonly<Record<string, Readonly<Record<string, true>>>>
    /** Headers and fields by where they stand: `[].Spec.Name`. With `?` some may lack it, and none is needed of all. */
    readonly reads: Readonly<Record<string, Kind>>
    /** The engine of the machine answers; without one the tool goes on. */
    readonly engine?: true
  }[]
}

const taskFields = {
  '[].ID': 'text',
  '[].ServiceID': 'text',
  '[].DesiredState': 'text',
  '[].Status.State': 'text',
  '[].Slot?': 'number',
  '[].NodeID?': 'text',
  '[].NetworksAttachments[].Network.ID': 'text',
  '[].NetworksAttachments[].Addresses[]': 'cidr',
} as const

const traefik = (scope: Recorded['requests'][number]['filters'] = {}): Recorded['requests'] => [
  { path: '/version', reads: { Version: 'text', ApiVersion: 'text' } },
  {
    path: '/services',
    reads: {
      '[].ID': 'text',
      '[].Spec.Name': 'text',
      '[].Spec.Labels?': 'map',
      '[].Spec.Mode.Global?': 'map',
      '[].Spec.EndpointSpec.Mode': 'text',
      '[].Endpoint.VirtualIPs[].NetworkID': 'text',
      '[].Endpoint.VirtualIPs[].Addr': 'cidr',
    },
  },
  { path: '/networks', filters: scope, reads: { '[].Id': 'text', '[].Name': 'text' } },
  {
    path: '/tasks',
    filters: { service: { '{service}': true }, 'desired-state': { running: true } },
    reads: taskFields,
  },
  { path: '/nodes/{node}', reads: { 'Status.Addr': 'address' } },
]

const prometheusNetworks = {
  path: '/networks',
  reads: {
    '[].Id': 'text',
    '[].Name': 'text',
    '[].Scope': 'text',
    '[].Internal': 'boolean',
    '[].Ingress': 'boolean',
    '[].Labels': 'map',
  },
} as const

const prometheusServices = {
  path: '/services',
  reads: {
    '[].ID': 'text',
    '[].Spec.Name': 'text',
    '[].Spec.Labels?': 'map',
    '[].Spec.TaskTemplate.ContainerSpec.Image': 'text',
    '[].Spec.TaskTemplate.ContainerSpec.Hostname?': 'text',
    '[].UpdateStatus.State?': 'text',
    '[].Endpoint.VirtualIPs[].NetworkID': 'text',
    '[].Endpoint.VirtualIPs[].Addr': 'cidr',
    '[].Endpoint.Ports[].Protocol': 'text',
    '[].Endpoint.Ports[].PublishedPort': 'number',
    '[].Endpoint.Ports[].PublishMode': 'text',
  },
} as const

const prometheusNodes = {
  path: '/nodes',
  reads: {
    '[].ID': 'text',
    '[].Spec.Role': 'text',
    '[].Spec.Availability': 'text',
    '[].Spec.Labels': 'map',
    '[].Description.Hostname': 'text',
    '[].Description.Platform.Architecture': 'text',
    '[].Description.Platform.OS': 'text',
    '[].Description.Engine.EngineVersion': 'text',
    '[].Status.State': 'text',
    '[].Status.Addr': 'address',
    '[].ManagerStatus.Leader': 'boolean',
    '[].ManagerStatus.Reachability': 'text',
    '[].ManagerStatus.Addr': 'text',
  },
} as const

const portainerLists: Recorded['requests'] = [
  {
    path: '/info',
    reads: { 'Swarm.ControlAvailable': 'boolean', ServerVersion: 'text', NCPU: 'number', MemTotal: 'number' },
  },
  { path: '/services', reads: { '[].Spec.Labels?': 'map' } },
  {
    path: '/nodes',
    reads: { '[].Description.Resources.NanoCPUs': 'number', '[].Description.Resources.MemoryBytes': 'number' },
  },
  { path: '/containers/json?all=1', reads: {}, engine: true },
  { path: '/images/json', reads: {}, engine: true },
  { path: '/volumes', reads: {}, engine: true },
  { path: '/networks', reads: { '[].Name': 'text', '[].Driver': 'text' } },
  { path: '/version', reads: { 'Components[].Name': 'text' } },
]

export const recorded: readonly Recorded[] = [
  {
    tool: 'Traefik v3, providers.swarm',
    source: 'traefik/traefik pkg/provider/docker/pswarm.go at 0292018',
    requests: [
      { method: 'HEAD', path: '/_ping', reads: { 'api-version': 'text' } },
      ...traefik({ scope: { swarm: true } }),
    ],
  },
  {
    tool: 'Traefik v2, providers.docker with swarmMode',
    source: 'traefik/traefik v2.11 pkg/provider/docker, which speaks 1.24',
    version: '1.24',
    requests: traefik({ driver: { overlay: true } }),
  },
  {
    tool: 'Prometheus, dockerswarm_sd_configs with role services',
    source: 'prometheus/prometheus discovery/moby/services.go at 0efb647',
    requests: [
      { method: 'HEAD', path: '/_ping', reads: { 'api-version': 'text' } },
      prometheusServices,
      prometheusNetworks,
    ],
  },
  {
    tool: 'Prometheus, dockerswarm_sd_configs with role tasks',
    source: 'prometheus/prometheus discovery/moby/tasks.go at 024aca3',
    requests: [
      {
        path: '/tasks',
        reads: {
          ...taskFields,
          '[].Status.ContainerStatus.ContainerID?': 'text',
          '[].Status.PortStatus.Ports?[].PublishedPort': 'number',
          '[].Status.PortStatus.Ports?[].Protocol': 'text',
          '[].Spec.ContainerSpec.Labels?': 'map',
        },
      },
      prometheusServices,
      prometheusNodes,
      prometheusNetworks,
      { path: '/containers/{task}/json', reads: {}, engine: true },
    ],
  },
  {
    tool: 'Prometheus, dockerswarm_sd_configs with role nodes and a filter',
    source: 'prometheus/prometheus discovery/moby/nodes.go at 061e494',
    requests: [{ ...prometheusNodes, filters: { 'node.label': { rack: true } } }],
  },
  {
    tool: 'Portainer, snapshot of an environment without agent',
    source: 'portainer/portainer pkg/snapshot/docker.go at 39b905e',
    requests: [{ method: 'HEAD', path: '/_ping', reads: { 'api-version': 'text' } }, ...portainerLists],
  },
  {
    tool: 'Portainer, pages of a Swarm',
    source: 'portainer/portainer app/docker/rest/{service,task,node,swarm,system,network,secret,config}.js',
    requests: [
      { path: '/swarm', reads: { ID: 'text', 'Version.Index': 'number', 'JoinTokens.Worker': 'text' } },
      {
        path: '/services/{service}',
        reads: { ID: 'text', 'Version.Index': 'number', CreatedAt: 'text', UpdatedAt: 'text' },
      },
      { path: '/tasks', filters: { service: { '{service}': true } }, reads: { '[].Spec.ContainerSpec.Image': 'text' } },
      { path: '/tasks/{task}', reads: { ID: 'text', 'Status.Timestamp': 'text' } },
      { path: '/nodes/{node}', reads: { 'Version.Index': 'number', 'Status.State': 'text' } },
      { path: '/networks', reads: { '[].IPAM.Config[].Subnet': 'cidr', '[].IPAM.Config[].Gateway': 'address' } },
      { path: '/secrets', reads: {} },
      { path: '/configs', reads: {} },
      { path: '/services/{service}/logs?stdout=1&stderr=1&tail=100', reads: {} },
      { path: '/events?since=1&until=2', reads: {} },
      { path: '/plugins', reads: {}, engine: true },
      { path: '/system/df', reads: {}, engine: true },
    ],
  },
]
