/**
 * Tells what operators changed: services, networks and nodes created, updated and removed, whoever did it and wherever.
 *
 * Reads changes of the local state, so an event means that this node obeys from now on, not that a message came by. What was so before this
 * agent began is history and no event. Never writes.
 */
import type { Values } from '../../protocol/model.ts'
import { nodeName } from '../core/live.ts'
import type { Stamped } from '../core/view.ts'
import type { Change, ReplicatedView } from '../view.ts'
import type { Cancel, Events } from '../world.ts'

export interface ChangesOptions {
  readonly view: Pick<ReplicatedView, 'watch' | 'members'> & Parameters<typeof nodeName>[0]
  readonly events: Events
  /** Wall ms of this start of the agent. */
  readonly startedMs: number
}

/** Until the returned function is called. */
export function tellChanges({ view, events, startedMs }: ChangesOptions): Cancel {
  return view.watch((notice) => {
    if (notice.kind === 'changes') for (const change of notice.changes) tell(change)
  })

  function tell(change: Change): void {
    const type = types[change.kind as keyof typeof types]
    const written = change.after ?? change.before
    if (type === undefined || written === undefined || isHistory(change)) return
    const action = actionOf(change)
    const name = type === 'node' ? nodeName(view, change.id) : specName(written, change.id)
    // Who removed a thing is not in what it was.
    const by = change.after === undefined ? undefined : nodeName(view, change.after.author.node)
    const sentence = `${type} ${name} ${words[action]}${by === undefined ? '' : ` on ${by}`}`
    events.emit({ type, action, id: change.id, name, sentence, attributes: by === undefined ? {} : { observer: by } })
  }

  function isHistory({ after }: Change): boolean {
    return after !== undefined && after.version.ms < startedMs
  }
}

const types = { service: 'service', network: 'network', node: 'node' } as const
/** Docker's words for actions, and ours for people. */
const words = { create: 'was created', update: 'was changed', remove: 'was removed' } as const

function actionOf({ kind, before, after }: Change): keyof typeof words {
  if (after === undefined) return 'remove'
  // What operators say of a node is written at the first change of it.
  return before === undefined && kind !== 'node' ? 'create' : 'update'
}

function specName({ value }: Stamped<unknown>, id: string): string {
  return (value as Values['service'] | Values['network']).spec.Name ?? id
}
