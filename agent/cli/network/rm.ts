/** `vine network rm`. */
import { Fault } from '../../fault.ts'
import { type Call, on } from '../definition.ts'
import { forEach } from '../each.ts'

export function rm(call: Call): Promise<number> {
  return forEach(call, call.args, async (name) => {
    try {
      await call.api.delete(`/networks/${encodeURIComponent(name)}`)
      call.io.out.write(`${name}\n`)
    } catch (error) {
      if (!(on(call.options, 'force') && error instanceof Fault && error.code === 'not-found')) throw error
    }
  })
}
