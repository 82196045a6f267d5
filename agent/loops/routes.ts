/**
 * Keeps the data plane at what the view says: computes the whole forwarding table at each change and has it applied at once.
 *
 * The next one is applied when new flows obey the last; changes that come meanwhile are in it. Whoever has to know that something is no longer routed
 * (drains) waits here, and not for what a kernel takes longer for. What could not be applied is kept for screens and told once as an event.
 */
import type { Routes } from '../core/routes/types.ts'
import type { View } from '../core/view.ts'
import { reasonOf } from '../fault.ts'
import type { ApplyProblem, Clock, Dataplane, Events, Log } from '../world.ts'

export interface RoutesLoopParts {
  readonly view: View
  readonly dataplane: Pick<Dataplane, 'apply'>
  readonly clock: Clock
  readonly log: Log
  readonly events: Events
  /** core/routes/routes.ts. */
  readonly routes: (view: View) => Routes
  /** What the data plane could not do changed: say so in the member record. */
  readonly onProblems: (problems: readonly ApplyProblem[]) => void
}

export interface RoutesLoop {
  start(): void
  stop(): void
  /** The view changed. */
  wake(): void
  /** What was applied does not hold any more. */
  again(): void
  /** Revision of the view that the data plane obeys. */
  appliedRevision(): number
  /** What the data plane could not do, of the last application. */
  problems(): readonly ApplyProblem[]
  /** Resolves with true when a table that was computed while `isGone` held has been applied; with false when the time is over. */
  whenRouted(isGone: () => boolean, timeoutMs: number): Promise<boolean>
}

/** A data plane that threw is given the whole table again after this. */
const retryMs = 1_000

interface Waiter {
  readonly isGone: () => boolean
  readonly end: (applied: boolean) => void
}

export function createRoutesLoop(parts: RoutesLoopParts): RoutesLoop {
  const { view, clock } = parts
  const waiters = new Set<Waiter>()
  let running = false
  let busy = false
  let applied = -1
  /** Times that `again` was called, and how many of them the last application followed. */
  let undone = 0
  let redone = 0
  let calls = 0
  let problems: readonly ApplyProblem[] = []

  async function run(): Promise<void> {
    busy = true
    // A burst of changes made in one go is applied as one.
    await Promise.resolve()
    while (running && isDue()) {
      const { revision } = view
      const answers = undone
      const content = satisfied()
      if (!(await isObeyed())) break
      applied = revision
      redone = answers
      // Who came while it was applied, and asks of what it was computed from: nothing more will be, and it would wait its time out.
      for (const waiter of view.revision === revision ? satisfied() : content) waiter.end(true)
    }
    busy = false
  }

  /** Applies the table of now. Resolves to whether new flows obey it; if not, it is given again later. */
  function isObeyed(): Promise<boolean> {
    const call = ++calls
    return new Promise((resolve) => {
      const apply = async () => parts.dataplane.apply(parts.routes(view), () => resolve(true))
      apply().then(
        (found) => {
          // Of one that was overtaken the newer one tells.
          if (call === calls) report(found)
          resolve(true)
        },
        (thrown: unknown) => {
          parts.log.error('the data plane did not take the routes', { reason: reasonOf(thrown) })
          clock.after(retryMs, again)
          resolve(false)
        },
      )
    })
  }

  function again(): void {
    undone++
    wake()
  }

  function satisfied(): readonly Waiter[] {
    return [...waiters].filter(({ isGone }) => isGone())
  }

  function isDue(): boolean {
    return applied !== view.revision || redone !== undone
  }

  function wake(): void {
    if (running && !busy && isDue()) void run()
  }

  function report(found: readonly ApplyProblem[]): void {
    const known = new Set(problems.map(({ sentence }) => sentence))
    for (const problem of found) {
      if (known.has(problem.sentence)) continue
      const { service: id, sentence, port, protocol } = problem
      const network = view.networks.get(id)?.value.spec.Name
      const name = view.services.get(id)?.value.spec.Name ?? network ?? id
      const attributes = { port: String(port), protocol, node: view.self }
      const type = network === undefined ? 'service' : 'network'
      parts.events.emit({ type, action: 'publish-failed', id, name, sentence, attributes })
    }
    if (found.length > 0 || problems.length > 0) parts.onProblems(found)
    problems = found
  }

  return {
    start() {
      running = true
      wake()
    },
    stop() {
      running = false
      for (const { end } of [...waiters]) end(false)
    },
    wake,
    again,
    appliedRevision: () => applied,
    problems: () => problems,
    whenRouted(isGone, timeoutMs) {
      if (isGone() && applied === view.revision) return Promise.resolve(true)
      return new Promise((resolve) => {
        const cancel = clock.after(timeoutMs, () => waiter.end(false))
        const waiter: Waiter = {
          isGone,
          end(result) {
            cancel()
            waiters.delete(waiter)
            resolve(result)
          },
        }
        waiters.add(waiter)
        wake()
      })
    },
  }
}
