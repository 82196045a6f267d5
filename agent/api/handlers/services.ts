/**
 * /services: list, inspect, create, update, remove.
 *
 * Docker's own behaviours kept here: the client's image may carry `:latest`, an empty name is made up, `_up-to-date` and `status` serve
 * `docker service create` and `ls`.
 */
import { compareVersions } from '../../../protocol/hlc.ts'
import { idFromBytes } from '../../../protocol/ids.ts'
import type { ServiceSpec } from '../../../protocol/spec.ts'
import { admitNewService, admitServiceUpdate } from '../../core/admit/service.ts'
import { labelWarnings } from '../../core/admit/unsupported.ts'
import { canonical } from '../../core/wanted.ts'
import { fault } from '../../fault.ts'
import type { ApiContext } from '../context.ts'
import { type ApiRequest, empty, flag, json, type Reply } from '../exchange.ts'
import { type Filters, passes, passesLabels, readFilters } from '../filters.ts'
import { findService } from '../find.ts'
import { renderService } from '../render/service.ts'
import { admitted, assertMayWrite, commit, nodeList } from '../writes.ts'
import { inventName } from './name.ts'

export function listServices(context: ApiContext, request: ApiRequest): Reply {
  const filters = readFilters(request.query.get('filters'), ['id', 'name', 'label', 'mode', 'runtime'])
  const show = { status: flag(request.query, 'status') }
  const services = [...context.view.services.values()]
    .filter((service) => fits(filters, service.id, service.value.spec))
    .sort((a, b) => compareVersions(a.value.created, b.value.created))
  return json(services.map((service) => renderService(context, service, show)))
}

export function inspectService(context: ApiContext, request: ApiRequest): Reply {
  const service = renderService(context, findService(context.view, request.params.id ?? ''), { status: false })
  return json(flag(request.query, 'insertDefaults') ? { ...service, Spec: withDefaults(service.Spec) } : service)
}

export async function createService(context: ApiContext, request: ApiRequest): Promise<Reply> {
  refuseRegistryAuth(request)
  const raw = await request.json()
  assertMayWrite(context)
  const bytes = context.random.bytes(16)
  const identity = { id: idFromBytes(bytes), created: context.stamp(), fallbackName: inventName(bytes) }
  const value = admitted(admitNewService(raw, identity, admission(context)))
  const missing = await missingWarning(context, value.spec)
  const held = await commit(context, [{ scope: 'cluster', kind: 'service', id: identity.id, value }])
  const warnings = [...held, ...missing, ...labelWarnings(value.spec)]
  return json({ ID: identity.id, ...(warnings.length === 0 ? {} : { Warnings: warnings }) }, 201)
}

export async function updateService(context: ApiContext, request: ApiRequest): Promise<Reply> {
  refuseRegistryAuth(request)
  const rollback = readRollback(request)
  const raw = rollback ? undefined : await request.json()
  assertMayWrite(context)
  const current = findService(context.view, request.params.id ?? '')
  const asked = { raw, rollback, index: readIndex(request) }
  const value = admitted(admitServiceUpdate(current, asked, admission(context)))
  const changed =
    canonical(value.spec.TaskTemplate.ContainerSpec) !== canonical(current.value.spec.TaskTemplate.ContainerSpec)
  const missing = changed ? await missingWarning(context, value.spec) : []
  const held = await commit(context, [
    { scope: 'cluster', kind: 'service', id: current.id, value, expect: current.version },
  ])
  return json({ Warnings: [...held, ...missing, ...labelWarnings(value.spec)] })
}

/** Every node would hold it, also those that join later, and nothing here is kept from a member: each node has logins of its own instead. */
function refuseRegistryAuth({ hasRegistryAuth }: ApiRequest): void {
  if (!hasRegistryAuth) return
  throw fault(
    'unsupported',
    'Grapevine hands no login for a registry on to other nodes (X-Registry-Auth, --with-registry-auth)',
    'Leave it out, and type docker login on the nodes, as the user of the agent: each fetches images with its own login',
  )
}

export async function removeService(context: ApiContext, request: ApiRequest): Promise<Reply> {
  assertMayWrite(context)
  const service = findService(context.view, request.params.id ?? '')
  const warnings = await commit(context, [{ scope: 'cluster', kind: 'service', id: service.id, value: null }])
  return warnings.length === 0 ? empty(200) : json({ Warnings: warnings }, 200, warnings)
}

/** `version=N` of an update: a missing or garbled one is an error of the request, as in Docker. */
export function readIndex(request: ApiRequest): number {
  const text = request.query.get('version') ?? ''
  if (!/^\d{1,16}$/.test(text))
    throw fault('invalid', `invalid version '${text.slice(0, 40)}': it must be the Version.Index that was read`)
  return Number(text)
}

function readRollback(request: ApiRequest): boolean {
  const text = request.query.get('rollback') ?? ''
  if (text === '') return false
  if (text === 'previous') return true
  throw fault('invalid', `unrecognized rollback option ${text.slice(0, 40)}`)
}

function admission(context: ApiContext) {
  return { view: context.view, nowMs: context.clock.wall() }
}

function fits(filters: Filters, id: string, spec: ServiceSpec): boolean {
  return (
    passes(filters, 'id', (wanted) => id.startsWith(wanted)) &&
    passes(filters, 'name', (wanted) => spec.Name.startsWith(wanted)) &&
    passes(filters, 'mode', (wanted) => wanted === (spec.Mode?.Global === undefined ? 'replicated' : 'global')) &&
    passes(filters, 'runtime', (wanted) => wanted === 'container') &&
    passesLabels(filters, 'label', spec.Labels)
  )
}

/** Not a reason to refuse: the nodes that have the program run it. */
async function missingWarning(context: ApiContext, spec: ServiceSpec): Promise<readonly string[]> {
  const { Image, Command } = spec.TaskTemplate.ContainerSpec
  const program = Command?.[0] ?? Image
  // What a template or the working directory makes of it is known only to the task's node.
  const isRelative = program !== Image && /^[^/]+\//.test(program)
  const nodes = isRelative || program.includes('{{') ? [] : await context.missingOn(program)
  return nodes.length === 0 ? [] : [`program ${program} is missing on ${nodeList(context, nodes)}`]
}

/** What Docker fills in with `insertDefaults` (swarmkit api/defaults/service.go). */
function withDefaults(spec: ServiceSpec): ServiceSpec {
  const template = spec.TaskTemplate
  return {
    ...spec,
    TaskTemplate: {
      ...template,
      ContainerSpec: { StopGracePeriod: 10_000_000_000, ...template.ContainerSpec },
      RestartPolicy: { Condition: 'any', Delay: 5_000_000_000, MaxAttempts: 0, ...template.RestartPolicy },
    },
    UpdateConfig: {
      Parallelism: 1,
      FailureAction: 'pause',
      Monitor: 5_000_000_000,
      MaxFailureRatio: 0,
      Order: 'stop-first',
      ...spec.UpdateConfig,
    },
    EndpointSpec: { Mode: 'vip', ...spec.EndpointSpec },
  }
}
