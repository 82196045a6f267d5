/**
 * Carries out steps on the kernel devices of the machine that it runs on, for linux-devices.test.ts: one line of JSON an answer.
 *
 *   node device-steps.ts '{"self": "n1", "underlay": "10.77.0.1", "steps": [{"apply": …}, {"create": …}]}'
 */

import { execFileSync } from 'node:child_process'
import type { Overlay } from '../../agent/core/routes/overlay.ts'
import { createDevices, type TaskLinks } from '../../agent/dataplane/linux/devices.ts'
import { findLeftovers, removeLeftovers } from '../../agent/dataplane/linux/leftovers.ts'
import { reasonOf } from '../../agent/fault.ts'
import { createClock } from '../../agent/real.ts'
import { createProcessRuntime } from '../../agent/runtime/process/runtime.ts'
import type { Log, TaskPlan } from '../../agent/world.ts'
import { encryptionOf } from './encryption-of.ts'

export interface Steps {
  readonly self: string
  readonly underlay: string
  readonly overlay: Overlay
  readonly steps: readonly Step[]
}

export type Step =
  | { readonly do: 'apply' | 'apply nothing' }
  /** Whatever the agent knew is a minute old; another program has done this to the machine. */
  | { readonly do: 'harm'; readonly line: string }
  | { readonly do: 'create'; readonly links: TaskLinks }
  | { readonly do: 'remove'; readonly task: string }
  /** Both, over and over. */
  | { readonly do: 'cycle'; readonly links: TaskLinks; readonly times: number }
  | { readonly do: 'leftovers' | 'clean'; readonly kept?: readonly string[] }
  | { readonly do: 'start'; readonly plan: TaskPlan }
  | { readonly do: 'exec'; readonly task: string; readonly argv: readonly string[] }
  | { readonly do: 'stop'; readonly task: string }

const mark = '0badcafe'
const { self, underlay, overlay, steps } = JSON.parse(process.argv[2] ?? '') as Steps
const log: Log = { debug() {}, info() {}, warn: told, error: told }
let later = 0
const real = createClock()
const clock = { ...real, now: () => real.now() + later }
const encryption = encryptionOf({ self, underlay, mark, clock, log })
const own = { vxlanPort: 4789, filtered: () => false, mark, encryption }
const devices = await createDevices({ self, underlay, ...own, onMade: () => {}, clock, log })
const runtime = createProcessRuntime({ dir: '/run/runtime', clock, log })
for (const step of steps) {
  const answer = await take(step).catch((error) => ({ failed: reasonOf(error) }))
  process.stdout.write(`${JSON.stringify(answer ?? null)}\n`)
}
devices.close()
await runtime.close()

async function take(step: Step): Promise<unknown> {
  switch (step.do) {
    case 'apply':
      return await devices.apply(overlay, [])
    case 'apply nothing':
      return await devices.apply({ networks: [], nodes: [], places: [] }, [])
    case 'harm':
      later += 61_000
      return execFileSync('sh', ['-c', step.line]).toString()
    case 'create':
      return await devices.createTask(step.links, overlay)
    case 'remove':
      return await devices.removeTask(step.task)
    case 'cycle':
      for (let time = 0; time < step.times; time++) {
        await devices.createTask(step.links, overlay)
        await devices.removeTask(step.links.task)
      }
      return undefined
    case 'leftovers':
      return await findLeftovers(mark, step.kept === undefined ? undefined : new Set(step.kept))
    case 'clean':
      return await removeLeftovers(await findLeftovers(mark, step.kept === undefined ? undefined : new Set(step.kept)))
    case 'start':
      return await runtime.start(step.plan)
    case 'exec':
      return await runtime.exec(step.task, step.argv, 5_000)
    case 'stop':
      return await runtime.stop(step.task, { signal: 'SIGKILL', graceMs: 0 })
  }
}

function told(message: string, fields?: Readonly<Record<string, unknown>>): void {
  process.stderr.write(`${message} ${JSON.stringify(fields ?? {})}\n`)
}
