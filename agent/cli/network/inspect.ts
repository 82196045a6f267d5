/** `vine network inspect`. */
import { type Call, on } from '../definition.ts'
import type { Network } from '../docker.ts'
import { forEach } from '../each.ts'
import { printDocuments } from '../listing.ts'

export async function inspect(call: Call): Promise<number> {
  const networks: Network[] = []
  const verbose = on(call.options, 'verbose') ? { verbose: true } : {}
  const code = await forEach(call, call.args, async (name) => {
    networks.push(await call.api.get<Network>(`/networks/${encodeURIComponent(name)}`, verbose))
  })
  printDocuments(call, networks)
  return code
}
