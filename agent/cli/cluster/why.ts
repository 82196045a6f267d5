/** `vine why SERVICE`: a line a slot, with the reason that placement had. */

import { type Call, on } from '../definition.ts'
import type { Why } from '../grapevine.ts'
import { prettyJson } from '../listing.ts'
import { layTable } from '../table.ts'
import { readNames } from '../tasks.ts'

export async function why(call: Call): Promise<number> {
  const [name = ''] = call.args
  const answer = await call.api.get<Why>(`/grapevine/why/${encodeURIComponent(name)}`)
  if (on(call.options, 'json')) {
    call.io.out.write(prettyJson(answer))
    return 0
  }
  const { nodes } = await readNames(call)
  if (answer.conflict !== undefined) call.io.out.write(`${answer.conflict}\n`)
  const rows = answer.slots.map(({ slot, node, sentence }) => [
    `${answer.name}.${slot}`,
    node === undefined ? '-' : (nodes.get(node) ?? node),
    sentence,
  ])
  call.io.out.write(layTable([['SLOT', 'NODE', 'WHY'], ...rows]))
  return 0
}
