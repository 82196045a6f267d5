/**
 * Remembers what each route made of the last table, so that only routes that changed are rendered again: one change among 1,000 services with 5,000
 * endpoints then costs a comparison of plain fields. Never alters a result: the same objects come out where equal ones would.
 */
import type { NetworkId, NodeId } from '../../../protocol/ids.ts'
import type { Backend, PublishedRoute, Routes, ServiceRoute, TaskRoute } from '../../core/routes/types.ts'
import { publishedWay, serviceWay, taskWay, type Way } from './ways.ts'

/** What all ways depend on. */
export interface Ground {
  readonly planes: ReadonlyMap<NodeId, 'linux' | 'userspace'>
  /** Networks on which nothing is sent in clear. */
  readonly encrypted: ReadonlySet<NetworkId>
}

export interface Memory {
  ground: Ground
  published: Known<PublishedRoute>
  services: Known<ServiceRoute>
  tasks: Known<TaskRoute>
}

/** In the order of the routes, which as a rule are those of the last table. */
type Known<R> = readonly Remembered<R>[]

interface Remembered<R> {
  readonly route: R
  readonly way: Way
}

export function emptyMemory(): Memory {
  return {
    ground: { planes: new Map(), encrypted: new Set() },
    published: [],
    services: [],
    tasks: [],
  }
}

/** The ways of all routes, in their order. */
export function waysOf(routes: Routes, ground: Ground, memory: Memory): readonly Way[] {
  if (!sameGround(ground, memory.ground)) Object.assign(memory, emptyMemory(), { ground })
  const planeOf = (node: NodeId) => ground.planes.get(node)
  const on = (network: NetworkId) => ({ planeOf, isEncrypted: ground.encrypted.has(network) })
  const ways: Way[] = []
  function recall<R>(all: readonly R[], known: Known<R>, kind: KindOfRoute<R>): Known<R> {
    let byKey: ReadonlyMap<string, Remembered<R>> | undefined
    return all.map((route, index) => {
      let held = known[index]
      if (held === undefined || !kind.same(held.route, route)) {
        // It changed, or others came or went before it.
        byKey ??= new Map(known.map((one) => [kind.keyOf(one.route), one]))
        held = byKey.get(kind.keyOf(route))
      }
      const entry = held !== undefined && kind.same(held.route, route) ? held : { route, way: kind.make(route) }
      ways.push(entry.way)
      return entry
    })
  }
  memory.published = recall(routes.published, memory.published, {
    keyOf: ({ protocol, port }) => protocol + port,
    same: samePublished,
    make: (route) => publishedWay(route, planeOf),
  })
  memory.services = recall(routes.services, memory.services, {
    keyOf: ({ service, network }) => service + network,
    same: sameBalanced,
    make: (route) => serviceWay(route, on(route.network)),
  })
  memory.tasks = recall(routes.tasks, memory.tasks, {
    keyOf: ({ task, network }) => task + network,
    same: sameTask,
    make: (route) => taskWay(route, on(route.network)),
  })
  return ways
}

interface KindOfRoute<R> {
  keyOf(route: R): string
  same(a: R, b: R): boolean
  make(route: R): Way
}

function sameGround(a: Ground, b: Ground): boolean {
  if (a.planes.size !== b.planes.size || a.encrypted.size !== b.encrypted.size) return false
  for (const [node, plane] of a.planes) if (b.planes.get(node) !== plane) return false
  for (const network of a.encrypted) if (!b.encrypted.has(network)) return false
  return true
}

// Field by field: a walk over unknown keys takes ten times as long, and this is what a change costs. A new field that ways.ts reads belongs here too.

function samePublished(a: PublishedRoute, b: PublishedRoute): boolean {
  return a.protocol === b.protocol && a.port === b.port && a.target === b.target && sameService(a, b)
}

function sameBalanced(a: ServiceRoute, b: ServiceRoute): boolean {
  return a.network === b.network && a.service === b.service && a.vip === b.vip && a.vip6 === b.vip6 && sameService(a, b)
}

function sameTask(a: TaskRoute, b: TaskRoute): boolean {
  return a.network === b.network && a.address === b.address && sameBackend(a.backend, b.backend)
}

type Balanced = Pick<ServiceRoute, 'options' | 'backends'>

function sameService(a: Balanced, b: Balanced): boolean {
  if (a.options.affinity !== b.options.affinity || a.options.proxyProtocol !== b.options.proxyProtocol) return false
  if (a.backends.length !== b.backends.length) return false
  for (let i = 0; i < a.backends.length; i++) if (!sameBackend(a.backends[i]!, b.backends[i]!)) return false
  return true
}

function sameBackend(a: Backend, b: Backend): boolean {
  if (a === b) return true
  if (a.task !== b.task || a.node !== b.node || a.host !== b.host || a.host6 !== b.host6) return false
  if (a.suspect !== b.suspect || a.healthy !== b.healthy || a.ports.length !== b.ports.length) return false
  for (let i = 0; i < a.ports.length; i++) {
    const [x, y] = [a.ports[i]!, b.ports[i]!]
    if (x.protocol !== y.protocol || x.target !== y.target || x.actual !== y.actual) return false
  }
  return true
}
