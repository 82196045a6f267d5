/**
 * Which port the agent's resolver for each task has: the socket is how the agent knows who asks, so two tasks of a node never share one.
 *
 * Tasks never see it, they ask 127.0.0.11:53. From a hash of the task's id, and none on which another program of this machine listens.
 */
import type { TaskId } from '../../../protocol/ids.ts'
import { hash32 } from '../../core/routes/maglev.ts'
import { fault } from '../../fault.ts'

/** Above the well-known ports and below those that tasks in user space are given (userspace/attachments.ts). */
const firstPort = 10_100
const portCount = 9_900

export class ResolverPorts {
  private readonly byPort = new Map<number, TaskId>()

  /** Throws 'unavailable' when all are in use. `isTaken`: by another program. */
  choose(task: TaskId, isTaken: (port: number) => boolean): number {
    const start = hash32(`resolver ${task}`) % portCount
    for (let step = 0; step < portCount; step++) {
      const port = firstPort + ((start + step) % portCount)
      if (this.byPort.has(port) || isTaken(port)) continue
      this.byPort.set(port, task)
      return port
    }
    throw fault('unavailable', `All ports from ${firstPort} to ${firstPort + portCount - 1} are in use on this node`)
  }

  /** An adopted task keeps the one it was started with. */
  adopt(task: TaskId, port: number): void {
    this.byPort.set(port, task)
  }

  release(task: TaskId): void {
    for (const [port, holder] of this.byPort) if (holder === task) this.byPort.delete(port)
  }
}
