/**
 * One way into a service as listeners and openings hold it: the same object for as long as the way exists, its endpoints replaced by `apply`.
 */
import type { ServiceId, TaskId } from '../../../protocol/ids.ts'
import type { Protocol } from '../../../protocol/model.ts'
import type { MaglevTable } from '../../core/routes/maglev.ts'
import { affinityTable } from '../../core/routes/pick.ts'
import type { Backend, ForwardOptions } from '../../core/routes/types.ts'

export interface RouteFacts {
  readonly service: ServiceId
  readonly options: ForwardOptions
  readonly backends: readonly Backend[]
}

export class Route {
  readonly protocol: 'tcp' | 'udp'
  readonly target: number
  private facts: RouteFacts
  private table: { readonly key: string; readonly table: MaglevTable } | undefined

  constructor(protocol: 'tcp' | 'udp', target: number, facts: RouteFacts) {
    this.protocol = protocol
    this.target = target
    this.facts = facts
  }

  get service(): ServiceId {
    return this.facts.service
  }

  get options(): ForwardOptions {
    return this.facts.options
  }

  get backends(): readonly Backend[] {
    return this.facts.backends
  }

  update(facts: RouteFacts): void {
    this.facts = facts
  }

  /** No endpoint is left: what waits for one waits in vain. */
  clear(): void {
    this.facts = { ...this.facts, backends: [] }
  }

  has(task: TaskId): boolean {
    return this.facts.backends.some((b) => b.task === task)
  }

  /** Made when first needed, and anew only when the endpoints it is made of change. */
  affinity(): MaglevTable {
    const key = this.backends.map((b) => `${b.task}${b.healthy ? '+' : '-'}${b.suspect ? '?' : ''}`).join()
    if (this.table?.key !== key) this.table = { key, table: affinityTable(this.backends) }
    return this.table.table
  }
}

/** The real port behind a target port of an endpoint; an undeclared one is taken as it is. */
export function actualPort(ports: Backend['ports'], protocol: Protocol, target: number): number {
  return ports.find((p) => p.protocol === protocol && p.target === target)?.actual ?? target
}
