/**
 * What tasks of this node were given: real ports for their target ports, and where flows to them go.
 *
 * A task gets a port of 20000..29999, chosen by a hash of its id so that two agents on one machine rarely want the same, and never one that
 * anything on the machine listens on. Fixed ports are the target port itself, or `port-taken`.
 */
import type { TaskId } from '../../../protocol/ids.ts'
import type { Protocol } from '../../../protocol/model.ts'
import { hash32 } from '../../core/routes/maglev.ts'
import { fault } from '../../fault.ts'
import type { Attachment, AttachmentPort, AttachRequest, Sandbox } from '../../world.ts'
import { holderText, isTakenAt, takenPorts } from '../holders.ts'

/** Below the kernel's ephemeral ports (32768), so that no outgoing connection takes one between choice and use. */
const firstPort = 20_000
const portCount = 10_000

export interface Attached {
  readonly request: AttachRequest
  readonly attachment: Attachment
}

export class Attachments {
  private readonly tasks = new Map<TaskId, Attached>()

  get(task: TaskId): Attached | undefined {
    return this.tasks.get(task)
  }

  all(): readonly Attached[] {
    return [...this.tasks.values()]
  }

  /** A port on `host` for each target, the same number for both protocols of one target. Throws `port-taken`. */
  choosePorts(request: AttachRequest, host: string): readonly AttachmentPort[] {
    const taken = new Set([...takenPorts('tcp'), ...takenPorts('udp'), ...this.ports()])
    const actual = new Map<number, number>()
    for (const { protocol, target } of request.targets) {
      const fixed = request.fixed.get(target)
      if (fixed !== undefined) this.demandFree(protocol, host, fixed)
      const port = fixed ?? actual.get(target) ?? freePort(`${request.task} ${target}`, taken)
      taken.add(port)
      actual.set(target, port)
    }
    return request.targets.map(({ protocol, target }) => ({ protocol, target, actual: actual.get(target)! }))
  }

  put(request: AttachRequest, attachment: Attachment): void {
    this.tasks.set(request.task, { request, attachment })
  }

  delete(task: TaskId): void {
    this.tasks.delete(task)
  }

  /** Whether a task of this node answers at this very port, so that the agent must not. */
  servesItself(protocol: Protocol, port: number): boolean {
    return this.onNode().some(({ attachment }) =>
      attachment.ports.some((p) => p.protocol === protocol && p.actual === port),
    )
  }

  /** Ports of a task with an address of its own are nobody else's matter. */
  private onNode(): readonly Attached[] {
    return this.all().filter(({ attachment: { netns, listen } }) => netns === undefined && listen === undefined)
  }

  private ports(): readonly number[] {
    return this.onNode().flatMap(({ attachment }) => attachment.ports.map((p) => p.actual))
  }

  private demandFree(protocol: Protocol, host: string, port: number): void {
    const own = this.onNode().find(({ attachment }) =>
      attachment.ports.some((p) => p.protocol === protocol && p.actual === port),
    )
    if (own !== undefined) {
      const { serviceName, slot } = own.request
      throw fault('port-taken', `Port ${port}/${protocol} is used by ${serviceName}.${slot} on this node`)
    }
    const kind = protocol === 'udp' ? 'udp' : 'tcp'
    if (!isTakenAt(kind, host, port)) return
    throw fault(
      'port-taken',
      `Port ${port}/${protocol} is bound by ${holderText(kind, host, port)} on this node`,
      'Stop that program, or choose another port',
    )
  }
}

/**
 * A container on a bridge of its engine: its ports are its own. It does not reach our loopback addresses, so names are its engine's matter.
 * Throws 'unavailable' when it has no address.
 */
export function attachmentOf({ targets }: AttachRequest, { address }: Sandbox): Attachment {
  if (address === undefined)
    throw fault('unavailable', 'The container has no address of its own: Docker has no default bridge')
  const ports = targets.map(({ protocol, target }) => ({ protocol, target, actual: target }))
  return { host: address, listen: '0.0.0.0', ports, resolver: undefined, hostsFile: undefined }
}

function freePort(seed: string, taken: ReadonlySet<number>): number {
  const start = hash32(seed) % portCount
  for (let step = 0; step < portCount; step++) {
    const port = firstPort + ((start + step) % portCount)
    if (!taken.has(port)) return port
  }
  throw fault('port-taken', `All ports from ${firstPort} to ${firstPort + portCount - 1} are in use on this node`)
}
