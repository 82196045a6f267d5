/** `vine network create`. */
import type { NetworkSpec } from '../../../protocol/spec.ts'
import { type Call, list, type Options, on } from '../definition.ts'
import { parsePairs } from '../service/words.ts'
import { usage } from '../usage.ts'

export async function create(call: Call): Promise<number> {
  const [name = ''] = call.args
  const made = await call.api.post<{ readonly Id: string; readonly Warning?: string }>(
    '/networks/create',
    networkSpec(name, call.options),
  )
  call.warn(made.Warning ? [made.Warning] : [])
  call.io.out.write(`${made.Id}\n`)
  return 0
}

/** Docker's body of /networks/create. Ranges, gateways and spare addresses belong to the subnet of their kind, IPv4 or IPv6, that was named in the same place. */
export function networkSpec(name: string, options: Options): NetworkSpec {
  const subnets = list(options, 'subnet')
  const [ranges, gateways] = [list(options, 'ipRange'), list(options, 'gateway')]
  const nameless = list(options, 'auxAddress').find((text) => !/^[^=]+=./.test(text))
  if (nameless !== undefined)
    throw usage(`invalid value "${nameless}" for --aux-address`, 'Write it as name=address, such as printer=10.77.0.9')
  const spare = parsePairs(list(options, 'auxAddress'), '--aux-address')
  if (subnets.length === 0 && ranges.length + gateways.length + Object.keys(spare).length > 0)
    throw usage('--gateway, --ip-range and --aux-address need a --subnet', 'Name the subnet: --subnet 10.77.0.0/16')
  const spares = (family: string) => Object.entries(spare).filter(([, address]) => familyOf(address) === family)
  for (const family of ['IPv4', 'IPv6']) {
    const of = (texts: readonly string[]) => texts.filter((text) => familyOf(text) === family).length
    if (of(ranges) > of(subnets) || of(gateways) > of(subnets))
      throw usage(
        `there are more ${family} gateways or ranges than subnets`,
        'Give one for each --subnet, in the same order',
      )
    if (of(subnets) === 0 && spares(family).length > 0)
      throw usage(`an ${family} --aux-address needs a subnet of its kind`, 'Name the subnet with --subnet')
  }
  return {
    Name: name,
    Driver: 'overlay',
    Attachable: on(options, 'attachable'),
    Internal: on(options, 'internal'),
    EnableIPv6: on(options, 'ipv6'),
    IPAM: {
      Driver: 'default',
      Config: subnets.map((subnet, index) => {
        const family = familyOf(subnet)
        const alike = (texts: readonly string[]) => texts.filter((text) => familyOf(text) === family)
        const at = alike(subnets.slice(0, index)).length
        const [range, gateway] = [alike(ranges)[at], alike(gateways)[at]]
        const kept = at === 0 ? spares(family) : []
        return {
          Subnet: subnet,
          ...(range === undefined ? {} : { IPRange: range }),
          ...(gateway === undefined ? {} : { Gateway: gateway }),
          ...(kept.length > 0 ? { AuxiliaryAddresses: Object.fromEntries(kept) } : {}),
        }
      }),
    },
    Options: parsePairs(list(options, 'opt'), '--opt'),
    Labels: parsePairs(list(options, 'label'), '--label'),
  }
}

function familyOf(text: string): string {
  return text.includes(':') ? 'IPv6' : 'IPv4'
}
