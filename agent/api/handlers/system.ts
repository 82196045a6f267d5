/** Docker's system paths: _ping, version, info, swarm, and the registry look-up that its client makes before `service create`. */
import { fault } from '../../fault.ts'
import type { ApiContext } from '../context.ts'
import { type ApiRequest, empty, json, type Reply } from '../exchange.ts'
import { renderInfo, renderSwarm, renderVersion } from '../render/swarm.ts'

export function ping(): Reply {
  return { kind: 'text', status: 200, type: 'text/plain; charset=utf-8', text: 'OK' }
}

export function version(context: ApiContext): Reply {
  return json(renderVersion(context))
}

export function info(context: ApiContext): Reply {
  return json(renderInfo(context))
}

export function swarm(context: ApiContext): Reply {
  return json(renderSwarm(context.view))
}

/** Images are programs of the nodes here: there is no registry to ask. Docker's client goes on with a warning. */
export function distribution(_context: ApiContext, request: ApiRequest): Reply {
  throw fault(
    'not-found',
    `no registry is asked for ${(request.params.name ?? '').slice(0, 200)}: an image is a program of the nodes`,
  )
}

/** This node leaves the cluster: drained, its tasks moved, the agent ended. */
export function leave(context: ApiContext): Reply {
  return empty(200, () => context.stop({ keepTasks: false }))
}
