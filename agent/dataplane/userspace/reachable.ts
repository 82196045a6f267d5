/**
 * Which services and tasks have a loopback address here now, and what is to be answered there.
 *
 * An address is given while a route leads to its subject, and answered from when somebody first asks for it: a node of a thousand services whose
 * tasks use three listens for three.
 */
import type { Routes, ServiceRoute } from '../../core/routes/types.ts'
import { AliasBook, type AliasTarget, keyOf } from './aliases.ts'
import type { Address } from './listeners.ts'
import type { RouteFacts } from './route.ts'

/** A way in, and the ports that it has. */
type Way = RouteFacts & Pick<ServiceRoute, 'ports'>

export class Reachable {
  private readonly book: AliasBook
  private readonly asked = new Map<string, AliasTarget>()
  private ways = new Map<string, Way>()

  constructor(block: number) {
    this.book = new AliasBook(block)
  }

  /** These routes count from now on; `nowMs` is monotonic. */
  follow(routes: Routes, nowMs: number): void {
    this.ways = waysOf(routes)
    this.book.keep((target) => this.ways.has(keyOf(target)), nowMs)
    for (const key of this.asked.keys()) if (!this.ways.has(key)) this.asked.delete(key)
  }

  /** The address of a subject, and what is to be answered there that was not before. Undefined when no route leads to it. */
  ask(target: AliasTarget): { readonly host: string; readonly opened: readonly Address[] } | undefined {
    const key = keyOf(target)
    if (!this.ways.has(key)) return undefined
    const host = this.book.addressOf(target)
    if (this.asked.has(key)) return { host, opened: [] }
    this.asked.set(key, target)
    return { host, opened: this.addressesAt(key, host) }
  }

  /** What an address stands for; 'unknown' for one of ours that is not in use, undefined for others'. */
  targetOf(address: string): AliasTarget | 'unknown' | undefined {
    return this.book.targetOf(address)
  }

  /** All that is to be answered. */
  addresses(): readonly Address[] {
    return [...this.asked].flatMap(([key, target]) => this.addressesAt(key, this.book.addressOf(target)))
  }

  private addressesAt(key: string, host: string): readonly Address[] {
    const facts = this.ways.get(key)
    if (facts === undefined) return []
    return facts.ports.flatMap(({ protocol, target }) =>
      protocol === 'sctp' ? [] : [{ protocol, host, port: target, target, facts, published: false }],
    )
  }
}

function waysOf(routes: Routes): Map<string, Way> {
  const ways = new Map<string, Way>()
  for (const route of routes.services) {
    ways.set(keyOf({ kind: 'service', network: route.network, id: route.service }), route)
  }
  for (const { network, task, service, backend } of routes.tasks) {
    // To one task, whatever its health: who asks for it by name wants it and no other.
    const options = routes.services.find((r) => r.service === service && r.network === network)?.options
    ways.set(keyOf({ kind: 'task', network, id: task }), {
      service,
      options: options ?? { affinity: 'none', proxyProtocol: false },
      backends: [backend],
      ports: backend.ports,
    })
  }
  return ways
}
