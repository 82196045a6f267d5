// Promises about what only one may hold (design.md 6): an address, a name, a published port, a VIP.
import { type Checker, finding, type Watched } from './checker.ts'
import { clashing } from './expected.ts'

export function oneHolderEach({ cluster, truth }: Watched): Checker {
  return {
    promise: 'one holder an address, name and port',
    always: publishedOnce,
    finally() {
      const agent = cluster.taking()[0]
      if (agent === undefined) return undefined
      const { view } = agent.node!
      const holders = new Map<string, string>()
      const take = (what: string, holder: string) => {
        const other = holders.get(what)
        holders.set(what, holder)
        return other === undefined || other === holder
          ? undefined
          : finding(`${what} is held by ${other} and ${holder}`)
      }
      const broken = clashing(view.services.values(), ({ spec, ports }) => [
        spec.Name,
        ...ports.map(({ protocol, published }) => `${protocol}/${published}`),
      ])
      for (const { id, value } of view.services.values()) {
        if (broken.has(id)) continue
        for (const { network, address } of value.vips) {
          const clash = take(`address ${address} on ${network.slice(0, 6)}`, `VIP of ${value.spec.Name}`)
          if (clash !== undefined) return clash
        }
      }
      for (const { plan, machine } of truth.programs()) {
        for (const { network, address } of view.tasks.get(plan.task)?.value.addresses ?? []) {
          const clash = take(`address ${address} on ${network.slice(0, 6)}`, `${plan.name} on ${machine.name}`)
          if (clash !== undefined) return clash
        }
      }
      return publishedAlike()
    },
  }

  /** Whatever a node knows, it gives a port to one service. */
  function publishedOnce() {
    for (const { dataplane, machine } of cluster.taking()) {
      const holders = new Map<string, string>()
      for (const { protocol, port, mode, service, name } of dataplane.routes()?.published ?? []) {
        if (mode !== 'ingress') continue
        const key = `${protocol}/${port}`
        const holder = `${name} (${service.slice(0, 6)})`
        const other = holders.get(key)
        if (other !== undefined)
          return finding(`${machine.name} publishes ${key} for ${other} and for ${holder}`, [machine])
        holders.set(key, holder)
      }
    }
    return undefined
  }

  /** Every node forwards a published port to the same tasks of the same service. */
  function publishedAlike() {
    const services = new Map<string, string>()
    for (const agent of cluster.taking()) {
      for (const { protocol, port, mode, service, name, backends } of agent.dataplane.routes()?.published ?? []) {
        if (mode !== 'ingress') continue
        const key = `${protocol}/${port}`
        const text = `${name} (${service.slice(0, 6)}) with ${backends.map(({ task }) => task.slice(0, 6)).sort()}`
        const other = services.get(key)
        services.set(key, text)
        if (other !== undefined && other !== text) {
          return finding(`port ${key} leads to ${text} on ${agent.machine.name}, to ${other} elsewhere`, [
            agent.machine,
          ])
        }
      }
    }
    return undefined
  }
}
