/**
 * /networks: list, inspect (also as another node sees it), create, remove. Networks of this machine alone are its Docker engine's: they are
 * listed beside the cluster's, and what names one of them goes there.
 */
import { idFromBytes } from '../../../protocol/ids.ts'
import { ingressNetwork, type NetworkValue } from '../../../protocol/model.ts'
import { admitNetwork, checkNetworkRemoval, networkWarnings } from '../../core/admit/network.ts'
import { activeGuest } from '../../core/guests.ts'
import type { Stamped } from '../../core/view.ts'
import { attachments } from '../../core/wanted.ts'
import { fault } from '../../fault.ts'
import type { ApiContext } from '../context.ts'
import { bodyOf, isLocalNetwork, localNetworks } from '../engine/merge.ts'
import { type ApiRequest, empty, flag, json, type Reply } from '../exchange.ts'
import { type Filters, passes, passesLabels, readFilters } from '../filters.ts'
import { findNetwork, findNode } from '../find.ts'
import { allNetworks } from '../networks.ts'
import { relayJson } from '../relay.ts'
import { inspectNetwork, renderNetwork } from '../render/network.ts'
import { admitted, assertMayWrite, commit } from '../writes.ts'

const known = ['dangling', 'driver', 'id', 'label', 'name', 'scope', 'type']

export async function listNetworks(context: ApiContext, request: ApiRequest): Promise<Reply> {
  const text = request.query.get('filters')
  const filters = readFilters(text, known)
  const path = `/networks${text === null ? '' : `?filters=${encodeURIComponent(text)}`}`
  const local = request.relayed ? undefined : await context.engine?.ask('GET', path, request.signal)
  const ours = allNetworks(context.view)
    .filter((network) => fits(context, filters, network))
    .map((network) => renderNetwork(context.view, network))
  return json([...ours, ...localNetworks(local)])
}

/** `?node=NAME` asks that node: what it holds of the network differs from node to node. */
export async function getNetwork(context: ApiContext, request: ApiRequest): Promise<Reply> {
  const name = request.params.id ?? ''
  const scope = request.query.get('scope') ?? ''
  if (await isEngines(context, request)) return { kind: 'engine' }
  if (scope !== '' && scope !== 'swarm') throw fault('not-found', `network ${name} not found`)
  const asked = request.query.get('node')
  if (asked !== null && !request.relayed) {
    const node = findNode(context.view, asked)
    if (node.id !== context.view.self) return relayJson(context, node.id, request)
  }
  return json(
    inspectNetwork(context.view, findNetwork(context.view, name), { verbose: flag(request.query, 'verbose') }),
  )
}

export async function createNetwork(context: ApiContext, request: ApiRequest): Promise<Reply> {
  const raw = await request.json()
  if (isOfOneMachine(raw) && (await hasEngine(context, request))) return { kind: 'engine', body: raw }
  assertMayWrite(context)
  const value = admitted(admitNetwork(raw, context.stamp(), context.view))
  const id = idFromBytes(context.random.bytes(16))
  const held = await commit(context, [{ scope: 'cluster', kind: 'network', id, value }])
  const warnings = [...held, ...networkWarnings(context.view, value)]
  return json({ Id: id, Warning: warnings.join('; ') }, 201)
}

export async function removeNetwork(context: ApiContext, request: ApiRequest): Promise<Reply> {
  if (await isEngines(context, request)) return { kind: 'engine' }
  assertMayWrite(context)
  const network = findNetwork(context.view, request.params.id ?? '')
  admitted(checkNetworkRemoval(context.view, network))
  const warnings = await commit(context, [{ scope: 'cluster', kind: 'network', id: network.id, value: null }])
  return warnings.length === 0 ? empty(204) : json({}, 200, warnings)
}

/** Removes every network that no service uses, and lets the engine remove those that none of its containers uses. */
export async function pruneNetworks(context: ApiContext, request: ApiRequest): Promise<Reply> {
  const filters = readFilters(request.query.get('filters'), ['label'])
  assertMayWrite(context)
  const unused = allNetworks(context.view)
    .filter(({ id }) => id !== ingressNetwork)
    .filter((network) => passesLabels(filters, 'label', network.value.spec.Labels))
    .filter((network) => checkNetworkRemoval(context.view, network) === undefined)
  const writes = unused.map((network) => ({ scope: 'cluster', kind: 'network', id: network.id, value: null }) as const)
  const warnings = writes.length === 0 ? [] : await commit(context, writes)
  const path = `/networks/prune?${request.query}`
  const local = request.relayed ? undefined : await context.engine?.ask('POST', path, request.signal)
  const theirs = bodyOf(local)?.NetworksDeleted
  const names = [...unused.map((network) => network.value.spec.Name), ...(Array.isArray(theirs) ? theirs : [])]
  return json({ NetworksDeleted: names }, 200, warnings)
}

/**
 * Whether the network that is named is one of this machine's engine: not when the cluster has one of that id or name; the start of an id is
 * looked for there first, for a name there may read like one.
 */
export async function isEngines({ engine, view }: ApiContext, request: ApiRequest): Promise<boolean> {
  const name = request.params.id ?? ''
  const scope = request.query.get('scope') ?? ''
  if (engine === undefined || request.relayed || scope === 'swarm') return false
  const isOurs = allNetworks(view).some(({ id, value }) => id === name || value.spec.Name === name)
  if (isOurs && scope === '') return false
  return isLocalNetwork(await engine.ask('GET', `/networks/${encodeURIComponent(name)}`, request.signal))
}

async function hasEngine({ engine }: ApiContext, request: ApiRequest): Promise<boolean> {
  return !request.relayed && (await engine?.ask('GET', '/_ping', request.signal))?.status === 200
}

/** Docker's default driver is `bridge`, which spans one machine. */
function isOfOneMachine(raw: unknown): boolean {
  if (typeof raw !== 'object' || raw === null) return false
  const { Driver: driver = '', Scope: scope = '', Ingress: ingress = false } = raw as Readonly<Record<string, unknown>>
  return driver !== 'overlay' && scope !== 'swarm' && ingress !== true
}

function fits(context: ApiContext, filters: Filters, network: Stamped<NetworkValue>): boolean {
  const { spec } = network.value
  return (
    passes(filters, 'id', (wanted) => network.id.startsWith(wanted)) &&
    passes(filters, 'name', (wanted) => spec.Name.includes(wanted)) &&
    passes(filters, 'driver', (wanted) => wanted === 'overlay') &&
    passes(filters, 'scope', (wanted) => wanted === 'swarm') &&
    passes(filters, 'type', (wanted) => wanted === 'custom') &&
    passes(filters, 'dangling', (wanted) => isDangling(wanted) === !isUsed(context, network)) &&
    passesLabels(filters, 'label', spec.Labels)
  )
}

function isDangling(text: string): boolean {
  if (['true', '1'].includes(text)) return true
  if (['false', '0'].includes(text)) return false
  throw fault('invalid', `invalid filter 'dangling=${text.slice(0, 40)}'`)
}

function isUsed(context: ApiContext, network: Stamped<NetworkValue>): boolean {
  if (network.id === ingressNetwork || activeGuest(context.view, network.id) !== undefined) return true
  return [...context.view.services.values()].some((service) =>
    attachments(service.value.spec).some((a) => a.Target === network.id),
  )
}
