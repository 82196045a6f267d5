/**
 * The sandboxes of tasks: containers that sleep and hold a network namespace, made before the task's own container and gone after it.
 */
import type { ContainerInspectInfo } from 'dockerode'
import type { TaskId } from '../../../protocol/ids.ts'
import { fault, reasonOf } from '../../fault.ts'
import type { Log, Preparing, Sandbox, TaskPlan } from '../../world.ts'
import { create, inspect, signal, start } from './containers.ts'
import { sandboxCall } from './create.ts'
import type { Images } from './images.ts'
import type { Entry, Known } from './tasks.ts'

export interface SandboxOptions {
  readonly images: Images
  /** 'none' when the data plane furnishes them, else on Docker's own bridge. */
  readonly network: 'none' | 'bridge'
}

/** With the image of the task here, since a sandbox of a task that cannot start is none. */
export async function makeSandbox(
  known: Known,
  { images, network }: SandboxOptions,
  { plan, way }: { readonly plan: TaskPlan; readonly way: Preparing },
): Promise<Sandbox> {
  const { node, sandboxes, starting } = known
  starting.add(plan.task)
  try {
    await images.havePause(known.engine)
    await images.have(known.engine, plan.image, way)
    const container = await create(known.engine, sandboxCall(plan, node, network))
    sandboxes.set(plan.task, container)
    await start(known.engine, container)
    const sandbox = await findSandbox(known, plan.task)
    if (sandbox === undefined) throw fault('unavailable', 'The sandbox of the task ended at once')
    return sandbox
  } finally {
    starting.delete(plan.task)
  }
}

/** Undefined: it has none that runs. */
export async function findSandbox({ engine, sandboxes }: Known, task: TaskId): Promise<Sandbox | undefined> {
  const container = sandboxes.get(task)
  return container === undefined ? undefined : sandboxOf(await inspect(engine, container))
}

function sandboxOf(found: ContainerInspectInfo | undefined): Sandbox | undefined {
  if (found === undefined || !found.State.Running) return undefined
  return { pid: found.State.Pid, address: found.NetworkSettings.Networks.bridge?.IPAddress || undefined }
}

/** Without it a task has no network, on Docker's bridge at once: the task ends, and is replaced. */
export function endWithoutSandbox({ engine }: Known, entry: Entry, log: Log): void {
  const { task, container, exit, isDead } = entry
  if (exit !== undefined || isDead) return
  log.warn('the sandbox of a task ended, and the task with it', { task })
  signal(engine, container, 'SIGKILL').catch((thrown: unknown) => {
    log.warn('a task without a sandbox could not be ended', { task, reason: reasonOf(thrown) })
  })
}
