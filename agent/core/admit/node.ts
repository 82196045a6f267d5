/** Decides whether a node may be changed or removed, and makes the value to store. Pure, in Docker's sentences. */
import { versionIndex } from '../../../protocol/hlc.ts'
import type { NodeValue } from '../../../protocol/model.ts'
import { nodeSpecSchema } from '../../../protocol/spec.ts'
import { Fault, fault } from '../../fault.ts'
import { isUp, nodeName } from '../live.ts'
import type { Member, View } from '../view.ts'
import { checkName } from './checks.ts'
import { invalid, readSpec } from './read.ts'
import { outOfSequence } from './service.ts'

/** The Version.Index of a node: that of what operators wrote of it, 0 until they did. */
export function nodeIndex(member: Member): number {
  return member.nodeVersion === undefined ? 0 : versionIndex(member.nodeVersion)
}

export function admitNodeUpdate(
  member: Member,
  request: { readonly raw: unknown; readonly index: number },
  view: View,
): NodeValue | Fault {
  if (request.index !== nodeIndex(member)) return outOfSequence()
  const spec = readSpec(nodeSpecSchema, 'node', request.raw)
  if (spec instanceof Fault) return spec
  if (spec.Role === 'worker')
    return fault('unsupported', 'every node is a manager here: there are no workers to demote to')
  const name = spec.Name ?? ''
  if (name === '') {
    const { Name: _none, ...rest } = spec
    return { ...member.node, spec: rest }
  }
  const refused = checkName(name)
  if (refused !== undefined) return refused
  const taken = [...view.members.keys()].some((id) => id !== member.id && nodeName(view, id) === name)
  return taken
    ? fault('conflict', `name conflicts with an existing object: node ${name} already exists`)
    : { ...member.node, spec }
}

/** undefined, or why the node must stay. `force` takes it though it is up. */
export function checkNodeRemoval(view: View, member: Member, force: boolean): Fault | undefined {
  if (member.id === view.self)
    return invalid('a node cannot remove itself', 'Stop it with: vine agent stop, or remove it from another node')
  if (isUp(member) && !force) {
    return invalid(
      `node ${nodeName(view, member.id)} is not down and can't be removed`,
      'Stop its agent first, or use --force',
    )
  }
  return undefined
}
