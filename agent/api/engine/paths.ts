/**
 * The paths that belong to the Docker engine of this machine, whatever the method: containers and all that they are made of. Plain data, so
 * that the contract test can hold it against swagger.yaml; newer engines may have more below these, which pass too.
 */
import { fault } from '../../fault.ts'
import type { ApiContext } from '../context.ts'
import type { ApiRequest, Reply } from '../exchange.ts'
import type { Route } from '../router.ts'

export const enginePaths: readonly string[] = [
  '/containers/{rest...}',
  '/exec/{rest...}',
  '/images/{rest...}',
  '/volumes',
  '/volumes/{rest...}',
  '/plugins',
  '/plugins/{rest...}',
  '/build',
  '/build/{rest...}',
  '/commit',
  '/auth',
  '/session',
  // BuildKit's, which swagger.yaml does not have.
  '/grpc',
  '/system/df',
]

export const engineRoutes: readonly Route[] = enginePaths.map((path) => ({ method: '*', path, handle: throughEngine }))

/** The engine answers. Not for other members: who may use the swarm's API over the mesh may not use the machine. */
export function throughEngine(_context: ApiContext, request: ApiRequest): Reply {
  if (request.relayed)
    throw fault('forbidden', 'another member may not use the Docker engine of this node', 'Ask on that machine itself')
  return { kind: 'engine', absent: absentOf(request) }
}

/**
 * `docker inspect NAME` looks for a container, an image, a network and so on in turn and goes on only after a 404; Prometheus passes over a
 * container that is not there. Both are right where no engine is: there is no such container.
 */
function absentOf({ method, path }: ApiRequest): string | undefined {
  const [, kind = '', name = '', last] = path.split('/')
  const isInspect = method === 'GET' && (kind === 'volumes' ? last === undefined && name !== '' : last === 'json')
  const singular = { containers: 'container', images: 'image', volumes: 'volume', plugins: 'plugin' }[kind]
  return isInspect && singular !== undefined ? `No such ${singular}: ${decodeURIComponent(name)}` : undefined
}
