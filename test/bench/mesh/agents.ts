// Starts two bench agents and gives them tables; shared by the TCP and the UDP bench.
import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import type { Backend, Routes } from '../../../agent/core/routes/types.ts'
import { createIdentity, type Identity } from '../../../agent/trust/identity.ts'
import type { Order } from './agent-process.ts'

export interface Report {
  /** Microseconds. */
  readonly cpu: NodeJS.CpuUsage
  readonly rssBytes: number
  readonly dropped: number
  readonly flows: number
}

export class BenchAgent {
  readonly identity: Identity
  private readonly child: ChildProcess

  constructor(identity: Identity, child: ChildProcess) {
    this.identity = identity
    this.child = child
  }

  order(order: Order): Promise<unknown> {
    return new Promise((resolve) => {
      this.child.once('message', resolve)
      this.child.send(order)
    })
  }

  async report(): Promise<Report> {
    return (await this.order({ do: 'report' })) as Report
  }

  stop(): void {
    this.child.kill()
  }
}

export async function benchAgents(count: number): Promise<readonly BenchAgent[]> {
  const identities = Array.from({ length: count }, createIdentity)
  const keys = identities.map((i) => i.privateKey.export({ type: 'pkcs8', format: 'pem' }))
  const env = {
    ...process.env,
    KEYS: JSON.stringify(keys),
    MESH: JSON.stringify(identities.map((_, index) => 18_100 + index)),
  }
  return Promise.all(
    identities.map(async (identity, index) => {
      const child = fork(join(import.meta.dirname, 'agent-process.ts'), [String(index)], { env })
      await new Promise((resolve, reject) => {
        child.once('message', resolve)
        child.once('exit', (code) => reject(new Error(`a bench agent ended with ${code}`)))
      })
      return new BenchAgent(identity, child)
    }),
  )
}

/** Publishes ports at the first agent: each leads to one port of one agent's task. */
export async function publish(
  agents: readonly BenchAgent[],
  ports: readonly {
    readonly port: number
    readonly agent: number
    readonly actual: number
    readonly protocol: 'tcp' | 'udp'
  }[],
): Promise<void> {
  const published: Routes['published'][number][] = []
  for (const { port, agent, actual, protocol } of ports) {
    const task = `task-${port}`
    const at = [{ protocol, target: 80, actual }]
    const backend: Backend = {
      task,
      node: agents[agent]!.identity.nodeId,
      local: agent === 0,
      suspect: false,
      healthy: true,
      host: '127.0.0.1',
      ports: at,
    }
    const options = { affinity: 'none', proxyProtocol: false } as const
    published.push({
      protocol,
      port,
      target: 80,
      mode: 'ingress',
      service: task,
      name: task,
      options,
      backends: [backend],
    })
    await agents[agent]!.order({
      do: 'adopt',
      // A map does not survive IPC, and adopting reads no fixed ports.
      request: { task, service: task, serviceName: task, slot: '1', networks: [], targets: [], fixed: new Map() },
      attachment: { host: '127.0.0.1', ports: at, resolver: undefined, hostsFile: undefined },
    })
  }
  const problems = await agents[0]!.order({ do: 'apply', routes: { revision: 1, published, services: [], tasks: [] } })
  if ((problems as unknown[]).length > 0) throw new Error(JSON.stringify(problems))
}
