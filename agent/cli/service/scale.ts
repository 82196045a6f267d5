/** `vine service scale`: sets counts one service after another, then waits for all of them. */
import { type Call, on } from '../definition.ts'
import { forEach } from '../each.ts'
import { usage } from '../usage.ts'
import { converge } from './progress.ts'
import { findService } from './ps.ts'
import { scaleSpec } from './update-spec.ts'

export async function scale(call: Call): Promise<number> {
  const wishes = call.args.map(parseWish)
  const changed: string[] = []
  let code = await forEach(
    call,
    wishes.map(({ name }) => name),
    async (name) => {
      const replicas = wishes.find((wish) => wish.name === name)?.replicas ?? 0
      const service = await findService(call, name)
      const answer = await call.api.post<{ readonly Warnings?: readonly string[] }>(
        `/services/${service.ID}/update`,
        scaleSpec(service.Spec, name, replicas),
        { version: service.Version.Index },
      )
      call.warn(answer?.Warnings)
      call.io.out.write(`${name} scaled to ${replicas}\n`)
      changed.push(service.ID)
    },
  )
  if (!on(call.options, 'detach')) for (const id of changed) code = Math.max(code, await converge(call, id))
  return code
}

function parseWish(text: string): { readonly name: string; readonly replicas: number } {
  const [name = '', count = ''] = text.split('=', 2)
  if (name === '' || !/^\d+$/.test(count))
    throw usage(`invalid scale "${text}"`, 'Write it as SERVICE=REPLICAS, for instance web=3')
  return { name, replicas: Number(count) }
}
