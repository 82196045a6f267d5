/**
 * What every write of the API does: refuse on a node whose clock is off, commit, and say when only this node holds it (design.md 1, 3).
 */
import type { NodeId } from '../../protocol/ids.ts'
import { outOfSequence } from '../core/admit/service.ts'
import { nodeName } from '../core/live.ts'
import { Fault, fault } from '../fault.ts'
import type { Write } from '../world.ts'
import type { ApiContext, Held } from './context.ts'

/** Beyond this a version stamped here could hide later writes of others (design.md 3). */
const clockOffsetMaxMs = 10_000

/** Throws when this node must not write. */
export function assertMayWrite(context: ApiContext): void {
  const offsetMs = context.health().clockOffsetMs
  if (Math.abs(offsetMs) <= clockOffsetMaxMs) return
  const how = offsetMs > 0 ? 'ahead of' : 'behind'
  throw fault(
    'unavailable',
    `the clock of this node is ${Math.round(Math.abs(offsetMs) / 1000)} s ${how} the cluster's, so it takes no changes`,
    'Set the clock, or use another node',
  )
}

/** Commits and returns the warnings for the user. */
export async function commit(context: ApiContext, writes: readonly Write[]): Promise<readonly string[]> {
  try {
    return heldWarning((await context.writer.commit(writes)).held)
  } catch (thrown) {
    // Somebody wrote between our reading and this write: Docker's sentence, whatever the writer's was.
    throw thrown instanceof Fault && thrown.code === 'stale' ? outOfSequence() : thrown
  }
}

export function heldWarning(held: Held): readonly string[] {
  return held === 'here-only' ? ['held by this node only'] : []
}

/** The admitted value; an expected refusal becomes the error of the request. */
export function admitted<V>(result: V | Fault): V {
  if (result instanceof Fault) throw result
  return result
}

/** `n1, n2 and 3 more`. */
export function nodeList(context: ApiContext, nodes: readonly NodeId[]): string {
  const names = nodes.map((id) => nodeName(context.view, id)).sort()
  const shown = names.slice(0, 5).join(', ')
  return names.length > 5 ? `${shown} and ${names.length - 5} more` : shown
}
