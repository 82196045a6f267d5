/** `vine stack services`: `vine service ls` of one stack. */
import type { Call } from '../definition.ts'
import { printServices, readServices } from '../service/ls.ts'
import { stackLabel } from './members.ts'

export async function services(call: Call): Promise<number> {
  const [stack = ''] = call.args
  const found = await readServices(call, { label: [stackLabel(stack)] })
  if (found.length === 0) call.io.err.write(`Nothing found in stack: ${stack}\n`)
  else printServices(call, found)
  return 0
}
