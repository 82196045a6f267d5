/**
 * Which address the resolver of each task has: 127.<block>.0.<n>, on the DNS port that this agent may bind.
 *
 * The address is how the agent knows which task asks, so two tasks never share one. Beyond 254 tasks the next port is used too.
 */
import { createSocket } from 'node:dgram'
import type { TaskId } from '../../protocol/ids.ts'

const hostsMax = 254

export interface Resolvers {
  /** The resolver of a task, address:port; the same at each call while the task is here. */
  of(task: TaskId): string
  /** An adopted task keeps the one it was started with. */
  adopt(task: TaskId, resolver: string): void
  release(task: TaskId): void
}

export function createResolvers(block: () => number, port: number): Resolvers {
  const taken = new Map<string, TaskId>()
  const byTask = new Map<TaskId, string>()
  return {
    of(task) {
      const known = byTask.get(task)
      if (known !== undefined) return known
      for (let n = 0; ; n++) {
        const place = `127.${block()}.0.${1 + (n % hostsMax)}:${port + Math.floor(n / hostsMax)}`
        if (taken.has(place)) continue
        this.adopt(task, place)
        return place
      }
    },
    adopt(task, resolver) {
      taken.set(resolver, task)
      byTask.set(task, resolver)
    },
    release(task) {
      const place = byTask.get(task)
      byTask.delete(task)
      if (place !== undefined) taken.delete(place)
    },
  }
}

/** The first of these ports that this process may bind on loopback; the last one when none can be tried. */
export async function usableDnsPort(ports: readonly number[]): Promise<number> {
  for (const port of ports) if (await canBind(port)) return port
  return ports.at(-1) as number
}

/** An address of no agent's block, so that the trial meets nobody. */
const trialHost = '127.15.0.1'

function canBind(port: number): Promise<boolean> {
  const socket = createSocket('udp4')
  return new Promise((resolve) => {
    socket.once('error', () => {
      socket.close()
      resolve(false)
    })
    socket.bind({ port, address: trialHost, exclusive: true }, () => socket.close(() => resolve(true)))
  })
}
