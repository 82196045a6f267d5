// Three nodes, two services and their tasks, as the API tells of them at one moment: what the CLI tests look at.
import type { Network, Node, Service, Task } from '../../../agent/cli/docker.ts'

/** The present of the tests, wall ms. */
export const now = Date.parse('2026-11-23T12:00:00.000Z')

export function before(seconds: number): string {
  return new Date(now - seconds * 1000).toISOString()
}

const version = { Index: 1_812_345_678_901 }

export function id(letters: string): string {
  return letters.padEnd(25, '0')
}

/** The z keeps n1 and n10 apart. */
export function nodeId(name: string): string {
  return id(`${name}z`)
}

export function node(name: string, changes: Partial<Node> = {}): Node {
  return {
    ID: nodeId(name),
    Version: version,
    CreatedAt: before(3600),
    Spec: { Availability: 'active', Role: 'manager', Labels: {} },
    Description: {
      Hostname: name,
      Platform: { Architecture: 'x86_64', OS: 'linux' },
      Resources: { NanoCPUs: 2e9, MemoryBytes: 4 * 1024 ** 3 },
      Engine: { EngineVersion: '0.1.0' },
    },
    Status: { State: 'ready', Message: '', Addr: '192.0.2.1' },
    ManagerStatus: { Leader: false, Reachability: 'reachable', Addr: '192.0.2.1:7766' },
    ...changes,
  }
}

export const nodes: readonly Node[] = [
  node('n2'),
  node('n1'),
  node('n10', {
    Status: { State: 'down', Message: 'it does not answer', Addr: '192.0.2.10' },
    ManagerStatus: { Leader: false, Reachability: 'unreachable', Addr: '192.0.2.10:7766' },
  }),
]

export const web: Service = {
  ID: id('svcweb'),
  Version: version,
  CreatedAt: before(600),
  Spec: {
    Name: 'web',
    Labels: { tier: 'front' },
    TaskTemplate: { ContainerSpec: { Image: 'node', Args: ['-e', 'serve()'], Env: ['A=1', 'B=2'] } },
    Mode: { Replicated: { Replicas: 3 } },
    EndpointSpec: {
      Mode: 'vip',
      Ports: [{ Protocol: 'tcp', TargetPort: 80, PublishedPort: 8080, PublishMode: 'ingress' }],
    },
  },
  Endpoint: {
    Spec: { Mode: 'vip' },
    Ports: [
      { Protocol: 'tcp', TargetPort: 80, PublishedPort: 8080, PublishMode: 'ingress' },
      { Protocol: 'tcp', TargetPort: 81, PublishedPort: 8081, PublishMode: 'ingress' },
      { Protocol: 'udp', TargetPort: 53, PublishedPort: 5353, PublishMode: 'ingress' },
      { Protocol: 'tcp', TargetPort: 9000, PublishedPort: 9000, PublishMode: 'host' },
    ],
  },
  ServiceStatus: { RunningTasks: 2, DesiredTasks: 3 },
}

export const watch: Service = {
  ID: id('svcwatch'),
  Version: version,
  CreatedAt: before(500),
  Spec: {
    Name: 'watch',
    TaskTemplate: { ContainerSpec: { Image: 'sleep', Args: ['1d'] } },
    Mode: { Global: {} },
    EndpointSpec: { Mode: 'vip' },
  },
  ServiceStatus: { RunningTasks: 3, DesiredTasks: 3 },
}

export const services: readonly Service[] = [web, watch]

export function task(letters: string, changes: Partial<Task> = {}): Task {
  return {
    ID: id(letters),
    Version: version,
    CreatedAt: before(120),
    ServiceID: web.ID,
    Slot: 1,
    NodeID: nodeId('n1'),
    Spec: web.Spec.TaskTemplate,
    DesiredState: 'running',
    Status: { Timestamp: before(90), State: 'running', Message: 'started' },
    ...changes,
  }
}

export const tasks: readonly Task[] = [
  task('taskten', { Slot: 10, NodeID: nodeId('n2') }),
  task('tasktwo', { Slot: 2, NodeID: nodeId('n2'), Status: { Timestamp: before(12), State: 'running' } }),
  task('taskold', {
    CreatedAt: before(400),
    DesiredState: 'shutdown',
    Status: { Timestamp: before(130), State: 'failed', Err: 'Error: listen EADDRINUSE: address already in use :::80' },
  }),
  task('taskone'),
]

export const networks: readonly Network[] = [
  { Id: id('netback'), Name: 'backend', Driver: 'overlay', Scope: 'swarm', Created: before(900) },
  { Id: 'ingress', Name: 'ingress', Driver: 'overlay', Scope: 'swarm', Ingress: true, Created: before(9000) },
]

export const info = { Swarm: { NodeID: nodeId('n1') } }

/** The lists of the API. */
export const lists = {
  'GET /services': services,
  'GET /tasks': tasks,
  'GET /nodes': nodes,
  'GET /networks': networks,
  'GET /info': info,
  'GET /services/web': web,
  [`GET /services/${web.ID}`]: web,
} as const
