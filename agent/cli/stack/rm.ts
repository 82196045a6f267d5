/** `vine stack rm`: services first, then the networks that only they used. */
import { Fault } from '../../fault.ts'
import type { Call } from '../definition.ts'
import type { Network, Service } from '../docker.ts'
import { tellFault } from '../tell.ts'
import { exit } from '../usage.ts'
import { membersOf } from './members.ts'

export async function rm(call: Call): Promise<number> {
  let code: number = exit.ok
  for (const stack of call.args) {
    const services = await membersOf<Service>(call, '/services', stack)
    const networks = await membersOf<Network>(call, '/networks', stack)
    if (services.length + networks.length === 0) call.io.err.write(`Nothing found in stack: ${stack}\n`)
    const left = [
      ...(await removeAll(
        call,
        services.map(({ ID, Spec }) => ({ what: `service ${Spec.Name}`, path: `/services/${ID}` })),
      )),
      ...(await removeAll(
        call,
        networks.map(({ Id, Name }) => ({ what: `network ${Name}`, path: `/networks/${Id}` })),
      )),
    ]
    if (left.length === 0) continue
    call.io.err.write(`Failed to remove some resources from stack: ${stack}\n`)
    code = exit.error
  }
  return code
}

interface Removal {
  readonly what: string
  readonly path: string
}

/** Goes on after a failure; returns what is left. */
async function removeAll({ api, io }: Call, removals: readonly Removal[]): Promise<readonly Removal[]> {
  const left: Removal[] = []
  for (const removal of removals) {
    io.err.write(`Removing ${removal.what}\n`)
    try {
      await api.delete(removal.path)
    } catch (error) {
      if (!(error instanceof Fault) || error.code === 'unavailable' || error.code === 'forbidden') throw error
      tellFault(error, io)
      left.push(removal)
    }
  }
  return left
}
