/** /nodes: list, inspect, update (availability, labels, name), remove. */

import { admitNodeUpdate, checkNodeRemoval } from '../../core/admit/node.ts'
import { nodeName } from '../../core/live.ts'
import type { Member } from '../../core/view.ts'
import type { ApiContext } from '../context.ts'
import { type ApiRequest, empty, flag, json, type Reply } from '../exchange.ts'
import { type Filters, passes, passesLabels, readFilters } from '../filters.ts'
import { findNode } from '../find.ts'
import { renderNode } from '../render/node.ts'
import { admitted, assertMayWrite, commit, heldWarning } from '../writes.ts'
import { readIndex } from './services.ts'

const known = ['id', 'name', 'label', 'node.label', 'membership', 'role']

export function listNodes(context: ApiContext, request: ApiRequest): Reply {
  const filters = readFilters(request.query.get('filters'), known)
  const nodes = [...context.view.members.values()].filter((member) => fits(context, filters, member))
  return json(nodes.sort((a, b) => (a.id < b.id ? -1 : 1)).map((member) => renderNode(context.view, member)))
}

export function inspectNode(context: ApiContext, request: ApiRequest): Reply {
  return json(renderNode(context.view, findNode(context.view, request.params.id ?? '')))
}

export async function updateNode(context: ApiContext, request: ApiRequest): Promise<Reply> {
  const raw = await request.json()
  assertMayWrite(context)
  const member = findNode(context.view, request.params.id ?? '')
  const value = admitted(admitNodeUpdate(member, { raw, index: readIndex(request) }, context.view))
  const expect = member.nodeVersion === undefined ? {} : { expect: member.nodeVersion }
  const warnings = await commit(context, [{ scope: 'cluster', kind: 'node', id: member.id, value, ...expect }])
  return warnings.length === 0 ? empty(200) : json({}, 200, warnings)
}

export async function removeNode(context: ApiContext, request: ApiRequest): Promise<Reply> {
  assertMayWrite(context)
  const member = findNode(context.view, request.params.id ?? '')
  admitted(checkNodeRemoval(context.view, member, flag(request.query, 'force')))
  const warnings = heldWarning(await context.removeNode(member.id))
  return warnings.length === 0 ? empty(200) : json({}, 200, warnings)
}

function fits(context: ApiContext, filters: Filters, member: Member): boolean {
  return (
    passes(filters, 'id', (wanted) => member.id.startsWith(wanted)) &&
    passes(filters, 'name', (wanted) => nodeName(context.view, member.id).startsWith(wanted)) &&
    passes(filters, 'membership', (wanted) => wanted === 'accepted') &&
    passes(filters, 'role', (wanted) => wanted === 'manager') &&
    passesLabels(filters, 'label', member.record.value.engineLabels) &&
    passesLabels(filters, 'node.label', member.node.spec.Labels)
  )
}
