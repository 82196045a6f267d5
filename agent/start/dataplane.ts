/**
 * Which data plane this agent runs: the one that was asked for, if this machine is fit for it.
 */
import type { AgentConfig } from '../config.ts'
import { fault } from '../fault.ts'

export interface Chosen {
  readonly kind: 'userspace' | 'linux'
  /** Why it is not linux, where `auto` was asked for. */
  readonly reason?: string
  /** Why tasks have no IPv6, where it is linux. */
  readonly noIpv6?: string
}

/** Throws 'unsupported' where linux was asked for and cannot be. */
export async function chooseDataplane({ dataplane }: AgentConfig): Promise<Chosen> {
  const { kind, addresses, dataPathPort } = dataplane
  if (kind === 'userspace') return { kind }
  const { missingForLinux } = await import('../dataplane/linux/probe.ts')
  const reason = unreachable(addresses[0]) ?? (await missingForLinux({ vxlanPort: dataPathPort }))
  if (reason === undefined) {
    const { whyNoIpv6 } = await import('../dataplane/linux/ipv6.ts')
    const noIpv6 = whyNoIpv6(addresses[0] ?? '')
    return { kind: 'linux', ...(noIpv6 === undefined ? {} : { noIpv6 }) }
  }
  if (kind === 'auto') return { kind: 'userspace', reason }
  throw fault(
    'unsupported',
    `The linux data plane is not possible here: ${reason}`,
    'Mend that, or start the agent with --dataplane auto',
  )
}

/** Other nodes send to the first address. */
function unreachable(address = ''): string | undefined {
  if (!/^127\./.test(address)) return undefined
  return `no other node can reach the first --address, ${address}`
}
