/** /swarm: what the cluster is, new join tokens, and leaving it. */
import { isUp, nodeName } from '../../core/live.ts'
import type { View } from '../../core/view.ts'
import { canonical } from '../../core/wanted.ts'
import { fault } from '../../fault.ts'
import type { ApiContext } from '../context.ts'
import { type ApiRequest, empty, flag, json, type Reply } from '../exchange.ts'
import { renderSwarm } from '../render/swarm.ts'
import { assertMayWrite, heldWarning } from '../writes.ts'

export function swarm(context: ApiContext): Reply {
  return json(renderSwarm(context.view))
}

/** `docker swarm join-token --rotate` sends the settings as they were read. Nothing else can be changed: there is nothing to set. */
export async function updateSwarm(context: ApiContext, request: ApiRequest): Promise<Reply> {
  const asked = await request.json()
  const rotates = flag(request.query, 'rotateWorkerToken') || flag(request.query, 'rotateManagerToken')
  const same = canonical(withoutEmpty(asked)) === canonical(withoutEmpty(renderSwarm(context.view).Spec))
  if (!rotates || !same || flag(request.query, 'rotateManagerUnlockKey')) {
    throw fault(
      'unsupported',
      'a cluster of Grapevine has no raft, dispatcher or certificate settings to change',
      'To end join tokens: vine token --rotate',
    )
  }
  assertMayWrite(context)
  const warnings = heldWarning(await context.tokens.revokeAll())
  return warnings.length === 0 ? empty(200) : json({}, 200, warnings)
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

/** Docker's client sends zeros and empty objects for what it did not get. */
function withoutEmpty(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  const kept = Object.entries(value)
    .map(([key, item]) => [key, withoutEmpty(item)] as const)
    .filter(([, item]) => item !== undefined && item !== null && item !== '' && item !== 0 && item !== false)
  return kept.length === 0 ? undefined : Object.fromEntries(kept)
}
