/**
 * Which options of a network driver are honoured, and by which data plane: the one place that says so. An option that a node which is up
 * could not honour is refused, because a task of the network may be placed there; none is stored and ignored.
 */
import type { Fault } from '../../fault.ts'
import { fault } from '../../fault.ts'
import { nodeName, upMembers } from '../live.ts'
import type { View } from '../view.ts'
import { invalid } from './read.ts'

interface NetworkOption {
  /** Values of `dataplane` in member records. */
  readonly honouredBy: ReadonlySet<string>
  readonly fits: (value: string) => boolean
  /** What fits, for people. */
  readonly says: string
}

const options: Readonly<Record<string, NetworkOption>> = {
  // In user space all traffic between nodes is TLS 1.3, asked for or not; the kernel's goes through WireGuard.
  encrypted: {
    honouredBy: new Set(['userspace', 'linux']),
    fits: (value) => /^(|true|1)$/.test(value),
    says: 'empty or true',
  },
  // User space forwards streams and datagrams, not packets. 576: what every host of IPv4 takes (RFC 791).
  'com.docker.network.driver.mtu': {
    honouredBy: new Set(['linux']),
    fits: (value) => /^\d{3,5}$/.test(value) && Number(value) >= 576 && Number(value) <= 65_535,
    says: 'a number of bytes from 576 to 65535',
  },
}

export function checkNetworkOptions(view: View, given: Readonly<Record<string, string>>): Fault | undefined {
  for (const [name, value] of Object.entries(given)) {
    const known = Object.hasOwn(options, name) ? options[name] : undefined
    if (known === undefined)
      return fault('unsupported', `Grapevine does not support the network option "${name.slice(0, 80)}"`)
    if (!known.fits(value))
      return invalid(`invalid value "${value.slice(0, 80)}" for the network option "${name}"`, `It is ${known.says}`)
    const unable = upMembers(view).find((member) => !known.honouredBy.has(member.record.value.dataplane))
    if (unable !== undefined) {
      const { dataplane } = unable.record.value
      return fault(
        'unsupported',
        `the network option "${name}" is not supported by node ${nodeName(view, unable.id)}, whose data plane is ${dataplane}`,
        'Create the network without it',
      )
    }
  }
  return undefined
}
