/** `vine node rm`. */
import { type Call, on } from '../definition.ts'
import { forEach } from '../each.ts'
import { findNode } from './find.ts'

export function rm(call: Call): Promise<number> {
  return forEach(call, call.args, async (name) => {
    const node = await findNode(call, name)
    await call.api.delete(`/nodes/${node.ID}`, on(call.options, 'force') ? { force: true } : {})
    call.io.out.write(`${name}\n`)
  })
}
