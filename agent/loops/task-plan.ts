/**
 * Everything a runtime needs to start one task: the spec with its templates filled in, and the environment.
 *
 * The environment is the spec's and `GRAPEVINE_*`, `PORT`, `PORT_<target>`; a name that the spec sets itself is left as the spec has it.
 * Pure; it stands beside the loop because it speaks of the runtime's types.
 */

import type { Mount } from '../../protocol/spec.ts'
import type { Task } from '../core/placement/slots.ts'
import { expand, type TemplateContext } from '../core/templates.ts'
import type { Member, View } from '../core/view.ts'
import type { Wanted } from '../core/wanted.ts'
import type { Attachment, AttachRequest, Sandbox, TaskPlan } from '../world.ts'

/** Where Docker's containers find theirs; in a namespace of its own each task may have the same. */
const taskResolver = '127.0.0.11:53'

/** Before the data plane has said where the task is. */
export const unattached: Attachment = { host: '', ports: [], resolver: undefined, hostsFile: undefined }

/** Throws a Fault ('invalid') for a template with an unknown field. */
export function taskPlan(view: View, task: Task, asked: Wanted, attachment: Attachment): TaskPlan {
  const { id, value } = task
  const name = `${asked.name}.${value.slot}.${id}`
  const context = contextOf(asked, task, view.members.get(view.self), attachment)
  const hostname = asked.hostname === undefined ? id.slice(0, 12) : expand(asked.hostname, context)
  return {
    task: id,
    service: asked.id,
    serviceName: asked.name,
    slot: value.slot,
    name,
    image: asked.image,
    command: asked.command.map((word) => expand(word, context)),
    args: asked.args.map((word) => expand(word, context)),
    env: { ...ownEnvironment(context, attachment), ...specEnvironment(asked, context) },
    dir: asked.dir,
    user: asked.user,
    hostname,
    labels: asked.labels,
    stop: asked.stop,
    attachment,
    container: {
      ...asked.container,
      mounts: asked.container.mounts.map((mount) => ({ ...mount, ...source(mount, context) })),
    },
  }
}

/** Swarm fills templates in there too. */
function source({ Source: text }: Mount, context: TemplateContext): Partial<Mount> {
  return text === undefined ? {} : { Source: expand(text, context) }
}

/** What the data plane is to reserve for a task. The first target is the one that `PORT` tells. */
export function attachRequest(task: Task, asked: Wanted, sandbox?: Sandbox): AttachRequest {
  const targets = new Map<string, AttachRequest['targets'][number]>()
  const fixed = new Map<number, number>()
  for (const { protocol, target } of [...asked.ports, ...asked.exposed]) {
    targets.set(`${protocol}/${target}`, { protocol, target })
    if (asked.labels['grapevine.port'] === 'fixed') fixed.set(target, target)
  }
  for (const port of asked.ports) if (port.mode === 'host') fixed.set(port.target, port.published)
  return {
    task: task.id,
    service: asked.id,
    serviceName: asked.name,
    slot: task.value.slot,
    networks: task.value.addresses,
    targets: [...targets.values()],
    fixed,
    sandbox,
    hosts: asked.container.hosts,
    resolv: { search: asked.container.dnsSearch, options: asked.container.dnsOptions },
  }
}

function contextOf(asked: Wanted, task: Task, member: Member | undefined, attachment: Attachment): TemplateContext {
  const { platform } = member?.record.value ?? { platform: { os: '', arch: '' } }
  return {
    service: { id: asked.id, name: asked.name, labels: asked.labels },
    node: { id: task.value.node, hostname: member?.record.value.name ?? '', os: platform.os, arch: platform.arch },
    task: {
      id: task.id,
      name: `${asked.name}.${task.value.slot}.${task.id}`,
      slot: task.value.slot,
      address: attachment.host,
      port: attachment.ports[0]?.actual,
    },
  }
}

function ownEnvironment({ service, node, task }: TemplateContext, attachment: Attachment): Record<string, string> {
  const [first] = attachment.ports
  const resolver = attachment.netns === undefined ? attachment.resolver : taskResolver
  return {
    // In a namespace of its own it is asked at several addresses, none of them anybody else's.
    GRAPEVINE_ADDRESS: attachment.listen ?? attachment.host,
    GRAPEVINE_SERVICE: service.name,
    GRAPEVINE_SLOT: task.slot,
    GRAPEVINE_TASK: task.id,
    GRAPEVINE_NODE: node.hostname,
    ...(resolver === undefined ? {} : { GRAPEVINE_DNS: resolver }),
    ...(first === undefined ? {} : { PORT: String(first.actual) }),
    ...Object.fromEntries(attachment.ports.map(({ target, actual }) => [`PORT_${target}`, String(actual)])),
  }
}

/** `NAME=value`; a name alone is empty, since the agent's own environment is nobody's. */
function specEnvironment(asked: Wanted, context: TemplateContext): Record<string, string> {
  return Object.fromEntries(
    asked.env.map((line) => {
      const cut = line.indexOf('=')
      return cut < 0 ? [line, ''] : [line.slice(0, cut), expand(line.slice(cut + 1), context)]
    }),
  )
}
