/**
 * What agents of this data directory left in the kernel without a reason, and its removal: for `vine doctor`, with an agent and without.
 *
 * Loads the linux data plane's files only when it is asked. Without privileges nothing can have been made, and nothing is looked for.
 */
import type { TaskId } from '../../protocol/ids.ts'

/** What this agent answers for. */
export interface Kernel {
  leftovers(): Promise<readonly string[]>
  clean(): Promise<void>
}

/** As people know them: `device vt0abc`. `kept`: tasks that have a reason; undefined: nothing has. */
export async function kernelLeftovers(
  dataDir: string,
  kept: ReadonlySet<TaskId> | undefined,
): Promise<readonly string[]> {
  return (await find(dataDir, kept)).map(({ kind, name }) => `${kind} ${name}`)
}

export async function cleanKernel(dataDir: string, kept: ReadonlySet<TaskId> | undefined): Promise<void> {
  const { removeLeftovers } = await import('../dataplane/linux/leftovers.ts')
  await removeLeftovers(await find(dataDir, kept))
}

async function find(dataDir: string, kept: ReadonlySet<TaskId> | undefined) {
  if (process.getuid?.() !== 0) return []
  const { findLeftovers, tasksWithPrograms } = await import('../dataplane/linux/leftovers.ts')
  const { markOf } = await import('../dataplane/linux/names.ts')
  const mark = markOf(dataDir)
  // Without an agent containers go on, as processes do: what they need stays, for the next agent adopts them.
  const live = kept ?? (await tasksWithPrograms(mark))
  return await findLeftovers(mark, kept === undefined && live.size === 0 ? undefined : live)
}
