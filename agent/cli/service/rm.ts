/** `vine service rm`. */
import type { Call } from '../definition.ts'
import { forEach } from '../each.ts'
import { findService } from './ps.ts'

export function rm(call: Call): Promise<number> {
  return forEach(call, call.args, async (name) => {
    const service = await findService(call, name)
    await call.api.delete(`/services/${service.ID}`)
    call.io.out.write(`${name}\n`)
  })
}
