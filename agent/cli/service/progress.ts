/**
 * Waits until a service has converged and shows how far it is, in Docker's lines (docker/cli command/service/progress).
 *
 * On a terminal the lines are rewritten in place, elsewhere each change is a line of its own. Ctrl-C stops the watching only.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { fault } from '../../fault.ts'
import { filters } from '../client.ts'
import { type Call, on } from '../definition.ts'
import type { Node, Service, Task } from '../docker.ts'
import type { Screen } from '../io.ts'
import { cut } from '../table.ts'
import { exit } from '../usage.ts'
import { type Line, progressOf } from './progress-lines.ts'

/** 100 ms: a start takes about a second, and what a person sees must not lag behind it. */
const pollMs = 100
/** 2 s: twice the time after which a task without a check counts as ready; a program that fails at start has failed by then. */
const verifyMs = 2_000

/** Resolves to 0 when all tasks have run for the verify time, or the watching was interrupted. */
export async function converge(call: Call, id: string): Promise<number> {
  const show = on(call.options, 'quiet') ? () => {} : painter(call.io.out)
  const interrupted = new AbortController()
  const stopListening = call.io.onInterrupt(() => interrupted.abort())
  let convergedAt: number | undefined
  try {
    for (;;) {
      const { service, lines, converged } = await look(call, id)
      if (!converged && convergedAt !== undefined) show([...lines, { id: 'verify', text: 'Detected task failure' }])
      convergedAt = converged ? (convergedAt ?? call.io.now()) : undefined
      const waited = convergedAt === undefined ? 0 : call.io.now() - convergedAt
      if (convergedAt === undefined) show(lines)
      else if (waited < verifyMs) show([...lines, { id: 'verify', text: waiting(verifyMs - waited) }])
      else {
        show([...lines, { id: 'verify', text: `Service ${service.Spec.Name} converged` }])
        return exit.ok
      }
      await pause(pollMs, undefined, { signal: interrupted.signal }).catch(ignoreAbort)
      if (interrupted.signal.aborted) {
        if (!converged) call.io.out.write(continuing(service.Spec.Name))
        return exit.ok
      }
    }
  } finally {
    stopListening()
  }
}

async function look(call: Call, id: string) {
  const [service, tasks, nodes] = await Promise.all([
    call.api.get<Service>(`/services/${id}`),
    call.api.get<readonly Task[]>('/tasks', { filters: filters({ service: [id], '_up-to-date': ['true'] }) }),
    call.api.get<readonly Node[]>('/nodes'),
  ])
  const update = service.UpdateStatus
  if (update?.State === 'paused') throw fault('unavailable', `service update paused: ${update.Message ?? ''}`)
  const names = new Map(nodes.map((node) => [node.ID, node.Description?.Hostname ?? node.ID]))
  const active = new Set(nodes.filter((node) => node.Status?.State !== 'down').map((node) => node.ID))
  return { service, ...progressOf({ service, tasks, active, names }) }
}

function waiting(leftMs: number): string {
  return `Waiting ${Math.max(Math.ceil(leftMs / 1000), 1)} seconds to verify that tasks are stable...`
}

function continuing(name: string): string {
  return `Operation continuing in background.\nUse \`vine service ps ${name}\` to check progress.\n`
}

function ignoreAbort(error: unknown): void {
  if (!(error instanceof Error && error.name === 'AbortError')) throw error
}

/** Draws lines: over the former ones on a terminal, otherwise those that changed. */
function painter(out: Screen): (lines: readonly Line[]) => void {
  const before = new Map<string, string>()
  let drawn = 0
  return (lines) => {
    if (!out.isTTY) {
      for (const { id, text } of lines)
        if (text !== '' && before.get(id) !== text) out.write(`${id}: ${text.trimEnd()}\n`)
      for (const { id, text } of lines) before.set(id, text)
      return
    }
    const { columns } = out.size()
    const up = drawn === 0 ? '' : `\u001b[${drawn}A`
    out.write(
      `${up}${lines.map(({ id, text, bar }) => `\u001b[2K${cut(`${id}: ${text}${bar === undefined ? '' : ` ${bar}`}`, columns - 1)}\n`).join('')}\u001b[J`,
    )
    drawn = lines.length
  }
}
