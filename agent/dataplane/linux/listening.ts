/**
 * Where a task's programs are told to listen, and whether they listen for IPv6: asked of its sockets, by ss(8) in its namespace. One that listens at 0.0.0.0 alone would refuse what comes
 * to its IPv6 address, so that is told to nobody then.
 */
import { ingressNetwork } from '../../../protocol/model.ts'
import type { Overlay } from '../../core/routes/overlay.ts'
import type { AttachmentPort, AttachRequest } from '../../world.ts'
import { run } from './tools.ts'

/** Of both kinds where IPv6 was asked for. `ingress` has it unasked, and not every program knows what `::` means. */
export function wildcardFor({ networks }: AttachRequest, overlay: Overlay): string {
  const asked = overlay.networks.filter(({ id, ipv6 }) => id !== ingressNetwork && ipv6 !== undefined)
  return asked.some(({ id }) => networks.some(({ network }) => network === id)) ? '::' : '0.0.0.0'
}

/** On all of these ports; a task without any is not known to refuse. SCTP's sockets are not asked about, as ss(8) may not know them. */
export async function listensIpv6(netns: string, ports: readonly AttachmentPort[]): Promise<boolean> {
  try {
    const open = openPorts(await run('nsenter', [`--net=${netns}`, 'ss', '-6HltunO']))
    return ports.every(({ protocol, actual }) => protocol === 'sctp' || open.has(`${protocol} ${actual}`))
  } catch {
    // Without iproute2's ss, or without the namespace.
    return false
  }
}

/** From the lines of `ss -6HltunO`: protocol, state, two queues, own address and port, the other's. */
export function openPorts(text: string): ReadonlySet<string> {
  const rows = text.split('\n').map((line) => line.trim().split(/\s+/))
  return new Set(
    rows.flatMap(([protocol, , , , own = '']) => {
      const isLoopback = own.startsWith('[::1]:') || own.startsWith('[::ffff:')
      return isLoopback ? [] : [`${protocol} ${own.slice(own.lastIndexOf(':') + 1)}`]
    }),
  )
}
