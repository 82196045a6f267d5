/** `vine service inspect`. */
import { type Call, on } from '../definition.ts'
import type { Network, Service } from '../docker.ts'
import { forEach } from '../each.ts'
import { printDocuments } from '../listing.ts'
import { prettyService } from './pretty.ts'
import { findService } from './ps.ts'

export async function inspect(call: Call): Promise<number> {
  const services: Service[] = []
  const code = await forEach(call, call.args, async (name) => {
    // Docker's client asks for the defaults too: what is in force, and not only what was written.
    services.push(await findService(call, name, { insertDefaults: true }))
  })
  if (!on(call.options, 'pretty')) {
    printDocuments(call, services)
    return code
  }
  const networks = await call.api.get<readonly Network[]>('/networks')
  const names = new Map(networks.map((network) => [network.Id, network.Name]))
  for (const service of services) call.io.out.write(`${prettyService(service, names, call.io.now())}\n`)
  return code
}
