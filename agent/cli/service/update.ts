/** `vine service update`: reads the spec, applies the flags, writes it back against the version that was read. */
import { type Call, list, on } from '../definition.ts'
import type { Network } from '../docker.ts'
import { surroundings } from './create.ts'
import { converge } from './progress.ts'
import { findService } from './ps.ts'
import { type NetworkChange, updateSpec } from './update-spec.ts'
import { parseNetwork } from './words.ts'

export async function update(call: Call): Promise<number> {
  const [name = ''] = call.args
  const service = await findService(call, name)
  const spec = updateSpec(service.Spec, call.options, await surroundings(call), await networkChange(call))
  const answer = await call.api.post<{ readonly Warnings?: readonly string[] }>(
    `/services/${service.ID}/update`,
    spec,
    {
      version: service.Version.Index,
    },
  )
  call.warn(answer?.Warnings)
  call.io.out.write(`${name}\n`)
  return on(call.options, 'detach') ? 0 : converge(call, service.ID)
}

async function networkChange({ api, options }: Call): Promise<NetworkChange> {
  const idOf = async (name: string) => (await api.get<Network>(`/networks/${encodeURIComponent(name)}`)).Id
  const add = await Promise.all(
    list(options, 'networkAdd').map(async (text) => {
      const wish = parseNetwork(text, '--network-add')
      return { ...wish, Target: await idOf(wish.Target) }
    }),
  )
  return { add, remove: await Promise.all(list(options, 'networkRm').map(idOf)) }
}
