/**
 * What names stand for where tasks have addresses of their own: the virtual IP of a service, the address of a task, as `inspect` shows them (design.md 7).
 *
 * An IPv6 address is told only of what serves at it: a program that looks for IPv6 first would find nobody there otherwise, and not ask again.
 */
import type { NetworkId, TaskId } from '../../../protocol/ids.ts'
import { ipv4At, ipv6Maker, ipv6Of } from '../addresses/dual.ts'
import { contains, parseAddress, parseSubnet } from '../addresses/ipv4.ts'
import { carriesIpv6, isLiveTask } from '../live.ts'
import type { View } from '../view.ts'
import type { Target } from './table.ts'

/** Undefined when it has none (yet). */
export function overlayAddressOf(target: Target, family: 4 | 6, view: View): string | undefined {
  const { kind, network, id } = target
  if (family === 6) return ipv6AddressOf(target, view)
  if (kind === 'guest') return view.guests.get(id)?.value.address
  if (kind === 'task') return view.endpoints.get(network)?.get(id)?.value.address
  return view.services.get(id)?.value.vips.find((vip) => vip.network === network)?.address
}

function ipv6AddressOf(target: Target, view: View): string | undefined {
  const { network, id, kind } = target
  const value = view.networks.get(network)?.value
  const ipv6 = value === undefined ? undefined : ipv6Of(view, network, value)
  if (value === undefined || ipv6 === undefined || !carriesIpv6(view.members.get(view.self))) return undefined
  // A guest has none.
  if (kind === 'guest') return undefined
  const serving = [...(view.endpoints.get(network) ?? [])].some(
    ([task, endpoint]) =>
      endpoint.value.ipv6 === true &&
      (kind === 'task' ? task === id : endpoint.value.service === id && isLive(task, view)),
  )
  const address = serving ? overlayAddressOf(target, 4, view) : undefined
  return address === undefined ? undefined : ipv6Maker(value.subnet, ipv6.subnet)(address)
}

function isLive(task: TaskId, view: View): boolean {
  const record = view.tasks.get(task)?.value
  return record !== undefined && isLiveTask(record, view)
}

/** What an address stands for; 'unknown' for one of our subnets that is not in use, undefined for others'. */
export function overlayTargetOf(asked: string, view: View): Target | 'unknown' | undefined {
  const found = asked.includes(':') ? placeOf(asked, view) : { network: networkOf(asked, view), address: asked }
  if (found?.network === undefined) return undefined
  const { network, address } = found
  for (const { id, value } of view.services.values()) {
    if (value.vips.some((vip) => vip.network === network && vip.address === address))
      return { kind: 'service', network, id }
  }
  for (const [id, { value }] of view.endpoints.get(network) ?? []) {
    if (value.address === address) return { kind: 'task', network, id }
  }
  for (const { id, value } of view.guests.values()) {
    if (value.network === network && value.address === address) return { kind: 'guest', network, id }
  }
  return 'unknown'
}

/** The IPv4 address at the place of an IPv6 one; none where no IPv4 address has that place. */
function placeOf(address: string, view: View) {
  for (const { id, value } of view.networks.values()) {
    const ipv6 = ipv6Of(view, id, value)
    const at = ipv6 === undefined ? undefined : ipv4At(value.subnet, ipv6.subnet, address)
    if (at !== undefined) return { network: id, address: at }
  }
  return undefined
}

function networkOf(address: string, view: View): NetworkId | undefined {
  const number = parseAddress(address)
  if (number === undefined) return undefined
  for (const { id, value } of view.networks.values()) {
    const subnet = parseSubnet(value.subnet)
    if (subnet !== undefined && contains(subnet, number)) return id
  }
  return undefined
}
