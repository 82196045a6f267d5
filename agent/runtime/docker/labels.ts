/**
 * What containers of ours are called and labelled, and how they are read back: by these labels alone an agent that starts again knows its own.
 *
 * Swarm's labels stand beside ours for tools that look for them. A container without ours is never touched.
 */
import { z } from 'zod'
import type { NodeId, TaskId } from '../../../protocol/ids.ts'
import type { StopHow } from '../../core/wanted.ts'
import type { Attachment, TaskPlan } from '../../world.ts'

export const label = {
  node: 'grapevine.node',
  task: 'grapevine.task',
  /** 'task', or 'net' for its sandbox. */
  role: 'grapevine.role',
  service: 'grapevine.service',
  slot: 'grapevine.slot',
  attachment: 'grapevine.attachment',
  stop: 'grapevine.stop',
  /** Whether it has a terminal: its logs come in another form. */
  tty: 'grapevine.tty',
} as const

export function sandboxName(plan: Pick<TaskPlan, 'name'>): string {
  return `${plan.name}.net`
}

export function labelsOf(plan: TaskPlan, node: NodeId): Readonly<Record<string, string>> {
  return {
    'com.docker.swarm.node.id': node,
    'com.docker.swarm.service.id': plan.service,
    'com.docker.swarm.service.name': plan.serviceName,
    'com.docker.swarm.task': '',
    'com.docker.swarm.task.id': plan.task,
    'com.docker.swarm.task.name': plan.name,
    [label.node]: node,
    [label.task]: plan.task,
    [label.role]: 'task',
    [label.service]: plan.service,
    [label.slot]: plan.slot,
    [label.attachment]: JSON.stringify(plan.attachment),
    [label.stop]: JSON.stringify(plan.stop),
    [label.tty]: String(plan.container.tty),
  }
}

export function sandboxLabels(plan: TaskPlan, node: NodeId): Readonly<Record<string, string>> {
  return { [label.node]: node, [label.task]: plan.task, [label.role]: 'net' }
}

/** A container of ours, by its labels. */
export interface Labelled {
  readonly task: TaskId
  readonly service: string
  readonly slot: string
  readonly attachment: Attachment
  readonly stop: StopHow
  readonly tty: boolean
}

const port = z.number().int().min(0).max(65_535)
const attachmentSchema = z.object({
  host: z.string(),
  ports: z.array(z.object({ protocol: z.enum(['tcp', 'udp', 'sctp']), target: port, actual: port })),
  listen: z.string().optional(),
  resolver: z.string().optional(),
  hostsFile: z.string().optional(),
  netns: z.string().optional(),
  resolvFile: z.string().optional(),
})

const stopSchema = z.object({ signal: z.string().optional(), graceMs: z.number() })

/** Undefined when a label is missing or is not as we write it. */
export function readLabels(labels: Readonly<Record<string, string>>): Labelled | undefined {
  const { [label.task]: task, [label.service]: service, [label.slot]: slot, [label.attachment]: text = '' } = labels
  const attachment = attachmentSchema.safeParse(parsed(text))
  const stop = stopSchema.safeParse(parsed(labels[label.stop] ?? ''))
  if (task === undefined || service === undefined || slot === undefined) return undefined
  if (!attachment.success || !stop.success) return undefined
  const { signal, graceMs } = stop.data
  const { resolver, hostsFile, ...rest } = attachment.data
  return {
    ...{ task, service, slot, tty: labels[label.tty] === 'true' },
    attachment: { resolver, hostsFile, ...rest },
    stop: { signal, graceMs },
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // Not ours, or somebody changed it.
    return undefined
  }
}
