// A data plane that keeps the table it was given and the ports it gave out. Ports belong to the machine, as in a kernel; the table to the agent.
import type { Routes } from '../../../agent/core/routes/types.ts'
import { fault } from '../../../agent/fault.ts'
import type { Attachment, AttachRequest, Dataplane } from '../../../agent/world.ts'
import type { TaskId } from '../../../protocol/ids.ts'
import type { Chance } from './chance.ts'
import type { Process } from './process.ts'
import type { SimTime } from './time.ts'

export interface SimDataplane extends Dataplane {
  /** The table in force. */
  routes(): Routes | undefined
}

const firstPort = 30_000

export function createSimDataplane(time: SimTime, chance: Chance, process: Process): SimDataplane {
  const { machine } = process
  let applied: Routes | undefined

  function inTime<T>(ms: number, act: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      time.after(ms, () => {
        if (process.state() === 'ended') return
        try {
          const value = act()
          process.enter(() => resolve(value))
        } catch (error) {
          process.enter(() => reject(error))
        }
      })
    })
  }

  function reserve({ task, targets, fixed }: AttachRequest): Attachment {
    const ports = targets.map(({ protocol, target }) => {
      const wish = fixed.get(target)
      const holder = wish === undefined ? undefined : machine.ports.get(wish)
      if (holder !== undefined && holder !== task) throw fault('port-taken', `port ${wish} is in use by ${holder}`)
      return { protocol, target, actual: wish ?? freePort() }
    })
    for (const { actual } of ports) machine.ports.set(actual, task)
    return { host: machine.address, ports, resolver: `${machine.address}:53`, hostsFile: undefined }
  }

  function freePort(): number {
    let port = firstPort
    while (machine.ports.has(port)) port++
    machine.ports.set(port, 'reserved')
    return port
  }

  function release(task: TaskId): void {
    for (const [port, holder] of machine.ports) if (holder === task) machine.ports.delete(port)
  }

  return {
    name: 'userspace',
    routes: () => applied,
    attach: (request) => inTime(chance.between(0.5, 5), () => reserve(request)),
    adopt: (request, attachment) =>
      inTime(1, () => {
        for (const { actual } of attachment.ports) machine.ports.set(actual, request.task)
      }),
    async detach(task) {
      release(task)
    },
    // Clients of the simulator ask for routes and send nothing.
    active: () => 0,
    apply: (routes) =>
      inTime(chance.between(0.5, 10), () => {
        applied = routes
        return []
      }),
    onTrouble() {},
    onHarm() {},
    onLost() {},
    accepts: (host, port) =>
      inTime(1, () => {
        const holder = machine.ports.get(port)
        return host === machine.address && holder !== undefined && machine.programs.get(holder)?.serves === true
      }),
    async close() {},
  }
}
