/** `vine node update`. */
import type { NodeSpec } from '../../../protocol/spec.ts'
import { type Call, list, type Options, text } from '../definition.ts'
import { parsePairs } from '../service/words.ts'
import { usage } from '../usage.ts'
import { findNode } from './find.ts'

export async function update(call: Call): Promise<number> {
  const [name = ''] = call.args
  const node = await findNode(call, name)
  await call.api.post(`/nodes/${node.ID}/update`, nodeSpec(node.Spec, call.options), { version: node.Version.Index })
  call.io.out.write(`${name}\n`)
  return 0
}

/** The flags over the spec that is there. A label to remove must be there, as in Docker. */
export function nodeSpec(before: NodeSpec, options: Options): NodeSpec {
  const labels = { ...before.Labels }
  for (const key of list(options, 'labelRm')) {
    if (!Object.hasOwn(labels, key)) throw usage(`key ${key} is not among the labels of the node`)
    delete labels[key]
  }
  const availability = text(options, 'availability') as NodeSpec['Availability'] | undefined
  return {
    ...before,
    Labels: { ...labels, ...parsePairs(list(options, 'labelAdd'), '--label-add') },
    ...(availability === undefined ? {} : { Availability: availability }),
  }
}
