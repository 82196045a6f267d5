/** Docker's system paths: _ping, version, info, swarm, and the registry look-up that its client makes before `service create`. */
import { isUp, nodeName } from '../../core/live.ts'
import type { View } from '../../core/view.ts'
import { fault } from '../../fault.ts'
import type { ApiContext } from '../context.ts'
import { type ApiRequest, empty, flag, json, type Reply } from '../exchange.ts'
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

/** Secrets and configs: there are none, since none can be made. Docker's client asks before it removes a stack. */
export function none(): Reply {
  return json([])
}

/** This node leaves the cluster: drained, its tasks moved, the agent ended. Docker's client asks first, as every node here is a manager. */
export function leave(context: ApiContext, request: ApiRequest): Reply {
  if (!flag(request.query, 'force')) throw fault('unavailable', leavingSentence(context.view))
  return empty(200, () => context.stop({ keepTasks: false }))
}

/** Docker's sentence as far as it is true here, and what leaving does. Its client prints this alone, so the remedy is in it. */
function leavingSentence(view: View): string {
  const others = [...view.members.values()].some((member) => member.id !== view.self && isUp(member))
  const name = nodeName(view, view.self)
  const what = others
    ? `Leaving stops the tasks of ${name}, which run elsewhere then, and ends its agent.`
    : `No other node is up: its tasks stop and run nowhere, and the agent of ${name} ends.`
  return `You are attempting to leave the swarm on a node that is participating as a manager. ${what} Use \`--force\` to leave.`
}
