/**
 * The endpoint records that this node should have, and the steps that make it so: one for each network of each task here.
 *
 * Aliases and hostname are what the task was started with; `ready` and `draining` follow what runs. A record without a task here goes.
 */
import type { NetworkId } from '../../../protocol/ids.ts'
import { type EndpointValue, ingressNetwork } from '../../../protocol/model.ts'
import type { Task } from '../placement/slots.ts'
import { isSameData, type Wanted, wanted } from '../wanted.ts'
import type { Local, Situation, Step } from './steps.ts'

export function endpointSteps(situation: Situation, live: readonly Task[]): readonly Step[] {
  const { view, locals, caughtUp } = situation
  const steps: Step[] = []
  const due = new Set<string>()
  for (const task of live) {
    const local = locals.get(task.id)
    if (local?.attached === undefined) continue
    for (const network of networksOf(situation, task)) {
      due.add(`${network} ${task.id}`)
      const held = view.endpoints.get(network)?.get(task.id)?.value
      const value = endpoint(situation, { task, local, network, held })
      if (value !== undefined && !isSameData(held, value)) steps.push({ do: 'endpoint', network, task: task.id, value })
    }
  }
  if (!caughtUp) return steps
  for (const [network, endpoints] of view.endpoints) {
    for (const [task, { value }] of endpoints) {
      if (value.node !== view.self || due.has(`${network} ${task}`)) continue
      steps.push({ do: 'endpoint', network, task, value: null })
    }
  }
  return steps.sort((a, b) => (orderOf(a) < orderOf(b) ? -1 : 1))
}

/** What it was started on, and the ingress network while its service publishes there. */
function networksOf({ view }: Situation, { id, value }: Task): readonly NetworkId[] {
  const ports = view.services.get(value.service)?.value.ports
  // One with an address on ingress does not bind its host-mode ports itself: its node forwards them to it.
  const isForwarded = value.addresses.some(({ network }) => network === ingressNetwork)
  const published = ports?.some(({ mode }) => mode === 'ingress' || isForwarded) ?? false
  const held = view.endpoints.get(ingressNetwork)?.has(id) ?? false
  const networks = value.addresses.map(({ network }) => network).filter((network) => network !== ingressNetwork)
  return published || (ports === undefined && held) ? [...networks, ingressNetwork] : networks
}

interface Place {
  readonly task: Task
  readonly local: Local
  readonly network: NetworkId
  readonly held: EndpointValue | undefined
}

/** Undefined when neither a record nor a fitting spec says how the task is called. */
function endpoint({ view }: Situation, { task, local, network, held }: Place): EndpointValue | undefined {
  const { value } = task
  const service = view.services.get(value.service)
  const asked = service === undefined ? undefined : wanted(service)
  const fits = asked?.template === value.template
  if (held === undefined && !fits) return undefined
  const own = value.addresses.find((a) => a.network === network)?.address
  const host = local.attached?.host ?? ''
  const ipv6 = local.ipv6 ?? held?.ipv6 ?? false
  return {
    service: value.service,
    slot: value.slot,
    node: value.node,
    boot: value.boot,
    address: own ?? host,
    // In a namespace of its own it is dialled at its address on that very network, so that it answers by the way it was asked.
    host: local.attached?.netns === undefined ? host : (own ?? host),
    ports: local.attached?.ports.map((port) => ({ ...port })) ?? [],
    aliases: fits && asked !== undefined ? [...aliasesOn(asked, network)] : (held?.aliases ?? []),
    hostname: local.hostname,
    ready: local.ready && local.unhealthy === undefined,
    ...(ipv6 ? { ipv6 } : {}),
    draining: local.phase === 'stopping' || value.stopping === true,
  }
}

function aliasesOn(asked: Wanted, network: NetworkId): readonly string[] {
  return asked.networks.find((n) => n.network === network)?.aliases ?? []
}

function orderOf(step: Step): string {
  return step.do === 'endpoint' ? `${step.network} ${step.task}` : ''
}
