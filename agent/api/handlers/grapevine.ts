/**
 * The paths under /grapevine/: what Docker's API has no word for (design.md 10). JSON in camelCase; ids in full; times in ms or RFC 3339.
 *
 * GET  status            is it well: problems, nodes, services below their count, members out of reach, conflicts, need, clock offset
 *                        (render/status.ts)
 * GET  why/{service}     {service, name, conflict?, slots}: where each slot runs, why there, and why nowhere
 * POST token             {ttlMs?, rotate?} -> {token, join, expires}; rotate ends all tokens before
 * GET  resolve           ?name&type&task -> {code, answers}: as the resolver of that task answers, on whichever node it runs
 * GET  events            ?since&until&filters: JSON lines or server-sent events (events.ts)
 * GET  flows             counters of forwarding, for `vine top`; ?log&since: single flows and failed attempts, {open, ended, failed}
 * GET  doctor            findings that only the agent can know
 * POST clean             removes what is left in the kernel without a reason
 * GET  node              ?node: the mesh as that node has it: addresses, networks it holds, endpoint records it holds
 * GET  metrics           Prometheus text
 * POST stop              ?keep-tasks: ends the agent; with its tasks kept ("back soon"), else drained and gone
 * POST leave             the same as stop without keep-tasks: vine asks nobody twice
 */
import { z } from 'zod'
import { conflicts } from '../../core/conflicts.ts'
import { nodeName } from '../../core/live.ts'
import { explain } from '../../core/why.ts'
import { fault } from '../../fault.ts'
import type { ApiContext } from '../context.ts'
import { type ApiRequest, empty, flag, json, type Reply } from '../exchange.ts'
import { findNode, findService, findTask } from '../find.ts'
import { relayJson } from '../relay.ts'
import { time } from '../render/stamps.ts'
import { renderStatus } from '../render/status.ts'
import { assertMayWrite, heldWarning } from '../writes.ts'
import { readTime } from './logs.ts'

export async function status(context: ApiContext): Promise<Reply> {
  const unreached = await context.unreached()
  return json(renderStatus(context.view, { ...context.health(), unreached }, context.clock.wall()))
}

export function why(context: ApiContext, request: ApiRequest): Reply {
  const { view } = context
  const service = findService(view, request.params.service ?? '')
  const conflict = conflicts(view).get(service.id)
  return json({
    service: service.id,
    name: service.value.spec.Name,
    ...(conflict === undefined ? {} : { conflict }),
    slots: explain(view, service, context.clock.wall()),
  })
}

/** 10 years: longer is "for ever", which is asked for by no ttl. */
const ttlMsMax = 10 * 365 * 86_400_000
const tokenRequest = z.object({
  ttlMs: z.number().int().positive().max(ttlMsMax).nullish(),
  rotate: z.boolean().optional(),
})

export async function token(context: ApiContext, request: ApiRequest): Promise<Reply> {
  const asked = tokenRequest.safeParse(await request.json())
  if (!asked.success) throw fault('invalid', 'a token is asked for as {"ttlMs": 3600000} or {"rotate": true}')
  assertMayWrite(context)
  const before = asked.data.rotate === true ? heldWarning(await context.tokens.revokeAll()) : []
  const issued = await context.tokens.issue(asked.data.ttlMs ?? undefined)
  const warnings = [...new Set([...before, ...heldWarning(issued.held)])]
  const expires = issued.expiresMs === undefined ? null : time(issued.expiresMs)
  return json({ token: issued.token, join: issued.join, expires }, 201, warnings)
}

/** Types that a task's resolver answers from what it knows; others are names of other systems. */
const types = new Set(['A', 'AAAA', 'SRV', 'PTR', 'TXT', 'MX', 'CNAME', 'NS', 'SOA', 'ANY'])

export async function resolve(context: ApiContext, request: ApiRequest): Promise<Reply> {
  const name = request.query.get('name') ?? ''
  const type = (request.query.get('type') ?? 'A').toUpperCase()
  if (name === '' || name.length > 253) throw fault('invalid', 'a name of 1 to 253 characters is needed')
  if (!types.has(type)) throw fault('invalid', `unknown type ${type.slice(0, 20)}`, `Types: ${[...types].join(', ')}`)
  const from = request.query.get('task') ?? request.query.get('from') ?? ''
  if (from === '') throw fault('invalid', 'names depend on who asks: name a task', 'For instance: --from web.1')
  const task = findTask(context.view, from)
  if (task.value.node !== context.view.self && !request.relayed) return relayJson(context, task.value.node, request)
  return json(await context.resolve({ name, type, task: task.id }))
}

export function flows(context: ApiContext, { query }: ApiRequest): Reply {
  if (!flag(query, 'log')) return json(context.flows())
  return json(context.flowLog(readTime(query.get('since')) ?? 0))
}

export async function doctor(context: ApiContext): Promise<Reply> {
  return json(await context.doctor())
}

export async function clean(context: ApiContext): Promise<Reply> {
  await context.clean()
  return empty(204)
}

export function metrics(context: ApiContext): Reply {
  return { kind: 'text', status: 200, type: 'text/plain; version=0.0.4; charset=utf-8', text: context.metrics() }
}

export async function node(context: ApiContext, request: ApiRequest): Promise<Reply> {
  const { view } = context
  const asked = request.query.get('node')
  if (asked !== null && !request.relayed) {
    const { id } = findNode(view, asked)
    if (id !== view.self) return relayJson(context, id, request)
  }
  const record = view.members.get(view.self)?.record.value
  if (record === undefined) throw fault('unavailable', 'this node is not admitted yet')
  const held = [...view.endpoints].map(([network, endpoints]) => [network, endpoints.size] as const)
  return json({
    id: view.self,
    name: nodeName(view, view.self),
    version: record.version,
    listen: record.listen,
    mesh: record.mesh,
    addresses: record.addresses,
    dataplane: record.dataplane,
    runtimes: record.runtimes,
    networks: record.networks,
    /** Endpoint records held, by network: none of a network without a task here. */
    endpoints: Object.fromEntries(held.sort(([a], [b]) => (a < b ? -1 : 1))),
    ...context.health(),
  })
}

export function stop(context: ApiContext, request: ApiRequest): Reply {
  const keepTasks = flag(request.query, 'keep-tasks')
  return empty(200, () => context.stop({ keepTasks }))
}

export function leave(context: ApiContext): Reply {
  return empty(200, () => context.stop({ keepTasks: false }))
}
