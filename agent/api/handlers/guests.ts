/**
 * Containers of this machine's engine on networks of the cluster: /networks/{id}/connect and disconnect, and /containers/create where it names such a
 * network. Of networks that are the engine's own it is asked itself.
 */
import { z } from 'zod'
import { networkNamed } from '../../core/admit/network.ts'
import { checkWish, type Wish } from '../../core/guests.ts'
import type { View } from '../../core/view.ts'
import { Fault, fault } from '../../fault.ts'
import type { ApiContext, Guests } from '../context.ts'
import { noEngine } from '../engine/engine.ts'
import { bodyOf } from '../engine/merge.ts'
import { throughEngine } from '../engine/paths.ts'
import { type ApiRequest, json, type Reply } from '../exchange.ts'
import { findNetwork } from '../find.ts'
import { assertMayWrite } from '../writes.ts'
import { isEngines } from './networks.ts'

/** An endpoint's settings as Docker's clients send them (swagger.yaml, EndpointSettings): empty fields for all that was not asked for. */
const endpointSchema = z.looseObject({
  Aliases: z.array(z.string()).nullish(),
  Links: z.array(z.string()).nullish(),
  MacAddress: z.string().nullish(),
  DriverOpts: z.record(z.string(), z.string()).nullish(),
  GwPriority: z.number().nullish(),
  IPAMConfig: z
    .looseObject({
      IPv4Address: z.string().nullish(),
      IPv6Address: z.string().nullish(),
      LinkLocalIPs: z.array(z.string()).nullish(),
    })
    .nullish(),
})
type Endpoint = z.infer<typeof endpointSchema>

const connectSchema = z.looseObject({ Container: z.string().min(1), EndpointConfig: endpointSchema.nullish() })
const disconnectSchema = z.looseObject({ Container: z.string().min(1) })

export async function connectContainer(context: ApiContext, request: ApiRequest): Promise<Reply> {
  if (await isEngines(context, request)) return { kind: 'engine' }
  const guests = guestsOf(context, request)
  const { Container: container, EndpointConfig: endpoint } = read(connectSchema, await request.json())
  assertMayWrite(context)
  const network = findNetwork(context.view, request.params.id ?? '')
  const warnings = await guests.connect(network, container, wishOf(endpoint ?? {}))
  return json({}, 200, warnings)
}

/** `Force` is for a container that does not answer: nothing of ours needs its answer. */
export async function disconnectContainer(context: ApiContext, request: ApiRequest): Promise<Reply> {
  if (await isEngines(context, request)) return { kind: 'engine' }
  const guests = guestsOf(context, request)
  const { Container: container } = read(disconnectSchema, await request.json())
  assertMayWrite(context)
  await guests.disconnect(findNetwork(context.view, request.params.id ?? ''), container)
  return json({})
}

const createSchema = z.looseObject({
  HostConfig: z
    .looseObject({
      NetworkMode: z.string().nullish(),
      Dns: z.array(z.string()).nullish(),
      PortBindings: z.record(z.string(), z.unknown()).nullish(),
      PublishAllPorts: z.boolean().nullish(),
    })
    .nullish(),
  NetworkingConfig: z
    .looseObject({ EndpointsConfig: z.record(z.string(), endpointSchema.nullish()).nullish() })
    .nullish(),
})
type Create = z.infer<typeof createSchema>

const madeSchema = z.looseObject({ Id: z.string() })

/**
 * The engine makes the container without our networks, which it does not know. It is connected to them whenever it starts, a moment after its first
 * program: no engine holds one back from outside.
 */
export async function createContainer(context: ApiContext, request: ApiRequest): Promise<Reply> {
  const passed = throughEngine(context, request)
  const raw = await request.json()
  const asked = createSchema.safeParse(raw)
  const ours = asked.success ? networksAsked(context.view, asked.data) : new Map<string, Wish>()
  if (!asked.success || ours.size === 0) return { ...passed, body: raw } as Reply
  const guests = guestsOf(context, request)
  const { engine } = context
  if (engine === undefined) throw noEngine(undefined)
  assertMayWrite(context)
  const networks = [...ours].map(([name, wish]) => ({ network: findNetwork(context.view, name), wish }))
  for (const { network, wish } of networks) {
    const refused = checkWish(context.view, network, wish)
    if (refused !== undefined) throw refused
  }
  const path = `/containers/create?${request.query}`
  const answer = await engine.ask('POST', path, request.signal, withoutOurs(asked.data, new Set(ours.keys())))
  if (answer === undefined) throw noEngine(engine.socket)
  const made = madeSchema.safeParse(answer.body)
  if (answer.status !== 201 || !made.success) return json(answer.body ?? {}, answer.status)
  const { Id: id } = made.data
  const inspected = bodyOf(await engine.ask('GET', `/containers/${id}/json`, request.signal))
  const name = String(inspected?.Name ?? id).replace(/^\//, '')
  for (const { network, wish } of networks) guests.expect(network.id, { id, name }, wish)
  return json(answer.body, 201)
}

/** The cluster's networks among those that a container is to be on, by the name that stands there. */
function networksAsked(
  view: View,
  { HostConfig: host, NetworkingConfig: networking }: Create,
): ReadonlyMap<string, Wish> {
  const mode = host?.NetworkMode ?? ''
  const endpoints = { ...(mode === '' ? {} : { [mode]: undefined }), ...networking?.EndpointsConfig }
  const found = Object.entries(endpoints).filter(([name]) => isOurs(view, name))
  return new Map(found.map(([name, endpoint]) => [name, wishOf(endpoint ?? {})]))
}

/** As a whole: the start of an id may be one of the engine's. */
function isOurs(view: View, name: string): boolean {
  const found = networkNamed(view, name)
  return found !== undefined && !(found instanceof Fault) && (found.id === name || found.value.spec.Name === name)
}

/**
 * Without a network of the engine's it has none: its way out is ours. For published ports, which are the engine's business, it is on the engine's bridge.
 * Exported for tests.
 */
export function withoutOurs(asked: Create, ours: ReadonlySet<string>): Create {
  const { HostConfig: host, NetworkingConfig: networking } = asked
  const others = Object.entries(networking?.EndpointsConfig ?? {}).filter(([name]) => !ours.has(name))
  const mode = host?.NetworkMode ?? ''
  const publishes = Object.keys(host?.PortBindings ?? {}).length > 0 || host?.PublishAllPorts === true
  const [instead] = others.map(([name]) => name)
  const isAlone = ours.has(mode) && instead === undefined && !publishes
  const named = (host?.Dns ?? []).length > 0
  return {
    ...asked,
    HostConfig: {
      ...host,
      ...(ours.has(mode) ? { NetworkMode: instead ?? (publishes ? 'bridge' : 'none') } : {}),
      // Where containers of an engine find theirs: there is none in a namespace with nothing in it, so that it is ours.
      ...(isAlone && !named ? { Dns: [ownResolver] } : {}),
    },
    NetworkingConfig: { ...networking, EndpointsConfig: Object.fromEntries(others) },
  }
}

const ownResolver = '127.0.0.11'

function wishOf({ Aliases, Links, MacAddress, DriverOpts, GwPriority, IPAMConfig }: Endpoint): Wish {
  const { IPv4Address, IPv6Address, LinkLocalIPs } = IPAMConfig ?? {}
  const unknown = {
    'links (--link)': (Links ?? []).length > 0,
    'a MAC address (--mac-address)': (MacAddress ?? '') !== '',
    'driver options (--driver-opt)': Object.keys(DriverOpts ?? {}).length > 0,
    'gateway priorities (--gw-priority)': (GwPriority ?? 0) !== 0,
    'link-local addresses (--link-local-ip)': (LinkLocalIPs ?? []).length > 0,
  }
  return {
    aliases: [...new Set(Aliases ?? [])],
    address: IPv4Address || IPv6Address || undefined,
    unknown: Object.entries(unknown).find(([, isAsked]) => isAsked)?.[0],
  }
}

/** Not for other members, as all that is the machine's. */
function guestsOf(context: ApiContext, request: ApiRequest): Guests {
  throughEngine(context, request)
  if (context.guests === undefined) throw noEngine(undefined)
  return context.guests
}

function read<T>(schema: z.ZodType<T>, body: unknown): T {
  const found = schema.safeParse(body)
  if (found.success) return found.data
  const [issue] = found.error.issues
  throw fault('invalid', `the body is not as the API has it: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`)
}
