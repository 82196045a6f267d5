/**
 * Decides whether a service may be created or changed as asked, and makes the value to store (design.md 3, 6, 10).
 *
 * Pure: (view, request) to a value or the Fault that the client is told, in Docker's sentences where Docker has one. The choice of
 * ports throws its Fault. Whatever it lets pass
 * is stored as it was given, with network names made ids; what Grapevine cannot do is refused here and never ignored.
 */
import { type Version, versionIndex } from '../../../protocol/hlc.ts'
import type { ServiceId } from '../../../protocol/ids.ts'
import { limits } from '../../../protocol/limits.ts'
import { ingressNetwork, type ServiceValue } from '../../../protocol/model.ts'
import { type ServiceSpec, serviceSpecSchema } from '../../../protocol/spec.ts'
import { Fault, fault } from '../../fault.ts'
import { choosePublishedPorts } from '../addresses/ports.ts'
import { chooseVip } from '../addresses/vip.ts'
import { upMembers } from '../live.ts'
import type { Stamped, View } from '../view.ts'
import { attachments, templateHash } from '../wanted.ts'
import { checkContainer, checkMode, checkName, checkPlacement, checkResources } from './checks.ts'
import { networkNamed } from './network.ts'
import { invalid, readSpec } from './read.ts'
import { checkLabels, checkMounts, checkRuntime, checkSupported } from './unsupported.ts'

export interface Admission {
  readonly view: View
  /** Wall ms of the request. */
  readonly nowMs: number
}

/** A new service. `id` is drawn by the caller, `created` is a version after everything seen. */
export function admitNewService(
  raw: unknown,
  identity: { readonly id: ServiceId; readonly created: Version; readonly fallbackName: string },
  { view, nowMs }: Admission,
): ServiceValue | Fault {
  // Docker's client leaves the name out to have one made up.
  const read = readSpec(serviceSpecSchema.partial({ Name: true }), 'service', raw)
  if (read instanceof Fault) return read
  const named = { ...read, Name: read.Name === undefined || read.Name === '' ? identity.fallbackName : read.Name }
  const refused =
    checkSpec(named) ?? checkSctp(view, named) ?? checkRuntime(view, named) ?? checkNameFree(view, named.Name)
  if (refused !== undefined) return refused
  const spec = withNetworkIds(view, withMode(named))
  if (spec instanceof Fault) return spec
  const vips = chooseVips(view, spec, [])
  if (vips instanceof Fault) return vips
  return checkSize({
    spec,
    created: identity.created,
    ancestors: [],
    generation: 0,
    vips,
    ports: choosePublishedPorts(view, spec, identity.id),
    updatedMs: nowMs,
  })
}

/** A change of a service. `index` is the Version.Index that the client read; `raw` undefined asks for the previous spec. */
export function admitServiceUpdate(
  current: Stamped<ServiceValue>,
  request: { readonly raw: unknown; readonly index: number; readonly rollback: boolean },
  { view, nowMs }: Admission,
): ServiceValue | Fault {
  const old = current.value
  if (request.index !== versionIndex(current.version)) return outOfSequence()
  const read = request.rollback ? previousOf(old) : readSpec(serviceSpecSchema, 'service', request.raw)
  if (read instanceof Fault) return read
  const refused = checkUnchanged(old.spec, read) ?? checkSpec(read) ?? checkSctp(view, read) ?? checkRuntime(view, read)
  if (refused !== undefined) return refused
  const spec = withNetworkIds(view, withMode(read))
  if (spec instanceof Fault) return spec
  const vips = chooseVips(view, spec, old.vips)
  if (vips instanceof Fault) return vips
  return checkSize({
    spec,
    created: old.created,
    previous: old.spec,
    parent: current.version,
    ancestors: [current.version, ...old.ancestors].slice(0, ancestorsMax),
    generation: templateHash(spec) === templateHash(old.spec) ? old.generation : old.generation + 1,
    vips,
    ports: choosePublishedPorts(view, spec, current.id),
    updatedMs: nowMs,
  })
}

/** Docker's daemon writes the default into the spec, and its client refuses a service without it ("unrecognized service mode"). */
function withMode(spec: ServiceSpec): ServiceSpec {
  if (spec.Mode?.Global !== undefined) return spec
  return { ...spec, Mode: { ...spec.Mode, Replicated: { Replicas: 1, ...dropNull(spec.Mode?.Replicated) } } }
}

function dropNull(replicated: { readonly Replicas?: number | null | undefined } | undefined) {
  const { Replicas: replicas, ...rest } = replicated ?? {}
  return replicas === undefined || replicas === null ? rest : { ...rest, Replicas: replicas }
}

/** model.ts bounds the list. */
const ancestorsMax = 16

/** Docker's answer to a write that read an older version. */
export function outOfSequence(): Fault {
  return fault(
    'stale',
    'update out of sequence',
    'Somebody else changed it meanwhile: read it again and repeat the change',
  )
}

/** Node has no sockets for it. A node that cannot says so itself where others can (`service ps`). */
function checkSctp(view: View, spec: Pick<ServiceSpec, 'EndpointSpec'>): Fault | undefined {
  const asks = spec.EndpointSpec?.Ports?.some((port) => port.Protocol === 'sctp') === true
  if (!asks || upMembers(view).some(({ record }) => record.value.dataplane === 'linux')) return undefined
  const fix = 'Publish tcp or udp ports, or start agents with --dataplane linux'
  return fault('unsupported', 'No node of this cluster forwards SCTP: that needs the linux data plane', fix)
}

function checkSpec(spec: ServiceSpec): Fault | undefined {
  return (
    checkName(spec.Name) ??
    checkSupported(spec) ??
    checkMode(spec) ??
    checkResources(spec) ??
    checkContainer(spec) ??
    checkMounts(spec) ??
    checkPlacement(spec) ??
    checkLabels(spec)
  )
}

function checkNameFree(view: View, name: string): Fault | undefined {
  const taken = [...view.services.values()].some((service) => service.value.spec.Name === name)
  return taken
    ? fault('conflict', `name conflicts with an existing object: service ${name} already exists`, 'Choose another name')
    : undefined
}

function checkUnchanged(old: ServiceSpec, spec: ServiceSpec): Fault | undefined {
  if (spec.Name !== old.Name) return fault('unsupported', 'renaming services is not supported')
  const isGlobal = (of: ServiceSpec): boolean => of.Mode?.Global !== undefined
  return isGlobal(spec) === isGlobal(old) ? undefined : fault('unsupported', 'service mode change is not allowed')
}

function previousOf(value: ServiceValue): ServiceSpec | Fault {
  return value.previous ?? invalid(`service ${value.spec.Name} does not have a previous spec`)
}

/** The spec with network ids where the client wrote names. */
function withNetworkIds(view: View, spec: ServiceSpec): ServiceSpec | Fault {
  const seen = new Set<string>()
  const resolved = []
  for (const attachment of attachments(spec)) {
    if (attachment.Target === ingressNetwork)
      return invalid('Service cannot be explicitly attached to the ingress network "ingress"')
    const network = networkNamed(view, attachment.Target)
    if (network instanceof Fault) return network
    if (network === undefined) {
      return fault(
        'not-found',
        `network ${attachment.Target.slice(0, 80)} not found`,
        'Create it with: vine network create',
      )
    }
    if (seen.has(network.id)) return invalid(`network ${network.value.spec.Name} is named twice`)
    seen.add(network.id)
    const badAlias = attachment.Aliases?.find((alias) => !/^[A-Za-z0-9_](?:[-_.A-Za-z0-9]{0,252})$/.test(alias))
    if (badAlias !== undefined) return invalid(`network alias "${badAlias.slice(0, 80)}" is not a DNS name`)
    resolved.push({ ...attachment, Target: network.id })
  }
  const { Networks: _old, ...rest } = spec
  const { Networks: _older, ...template } = spec.TaskTemplate
  return { ...rest, TaskTemplate: resolved.length === 0 ? template : { ...template, Networks: resolved } }
}

/** A service keeps the VIP it has on a network. */
function chooseVips(view: View, spec: ServiceSpec, kept: ServiceValue['vips']): ServiceValue['vips'] | Fault {
  if (spec.EndpointSpec?.Mode === 'dnsrr') return []
  const vips = []
  for (const { Target: id } of attachments(spec)) {
    const address = kept.find((vip) => vip.network === id)?.address ?? chooseVip(view, id, spec.Name)
    if (address === undefined) {
      return fault(
        'conflict',
        `could not find an available IP while allocating VIP on network ${view.networks.get(id)?.value.spec.Name}`,
        'Use a network with a larger subnet',
      )
    }
    vips.push({ network: id, address })
  }
  return vips
}

/** A record that does not fit on the wire would be accepted here and reach nobody. */
function checkSize(value: ServiceValue): ServiceValue | Fault {
  const bytes = JSON.stringify(value).length
  return bytes > limits.recordBytesMax
    ? invalid(`the service is too large: ${bytes} bytes with its previous spec, at most ${limits.recordBytesMax}`)
    : value
}
