/** `vine network ls`. */
import type { Call } from '../definition.ts'
import type { Network } from '../docker.ts'
import { filterQuery } from '../filter.ts'
import { printListing } from '../listing.ts'
import { naturalCompare, shortId, utc } from '../wording.ts'

export async function ls(call: Call): Promise<number> {
  const networks = await call.api.get<readonly Network[]>('/networks', { filters: filterQuery(call.options) })
  const rows = networks.toSorted((a, b) => naturalCompare(a.Name, b.Name))
  const full = call.options.trunc === false
  printListing(call, {
    rows,
    fields: {
      ID: { heading: 'NETWORK ID', value: (n) => (full ? n.Id : shortId(n.Id)) },
      Name: { heading: 'NAME', value: (n) => n.Name },
      Driver: { heading: 'DRIVER', value: (n) => n.Driver ?? '' },
      Scope: { heading: 'SCOPE', value: (n) => n.Scope ?? '' },
      Internal: { heading: 'INTERNAL', value: (n) => String(n.Internal ?? false) },
      IPv4: { heading: 'IPV4', value: (n) => String(n.EnableIPv4 ?? true) },
      IPv6: { heading: 'IPV6', value: (n) => String(n.EnableIPv6 ?? false) },
      Labels: {
        heading: 'LABELS',
        value: (n) =>
          Object.entries(n.Labels ?? {})
            .map(([k, v]) => `${k}=${v}`)
            .join(','),
      },
      CreatedAt: { heading: 'CREATED AT', value: (n) => utc(n.Created) },
    },
    table: ['ID', 'Name', 'Driver', 'Scope'],
    quiet: (n) => (full ? n.Id : shortId(n.Id)),
    json: rows,
  })
  return 0
}
