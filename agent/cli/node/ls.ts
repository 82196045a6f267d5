/** `vine node ls`. */
import type { Call } from '../definition.ts'
import type { Node } from '../docker.ts'
import { filterQuery } from '../filter.ts'
import { printListing } from '../listing.ts'
import { nodeName } from '../tasks.ts'
import { naturalCompare, nodeState, title } from '../wording.ts'
import { selfId } from './find.ts'

export async function ls(call: Call): Promise<number> {
  const [nodes, self] = await Promise.all([
    call.api.get<readonly Node[]>('/nodes', { filters: filterQuery(call.options) }),
    selfId(call),
  ])
  const rows = nodes.toSorted((a, b) => naturalCompare(nodeName(a), nodeName(b)))
  printListing(call, {
    rows,
    fields: {
      ID: { heading: 'ID', value: (n) => n.ID, cell: (n) => `${n.ID} ${n.ID === self ? '*' : ' '}` },
      Hostname: { heading: 'HOSTNAME', value: (n) => n.Description?.Hostname ?? '' },
      Status: { heading: 'STATUS', value: (n) => nodeState(n.Status?.State, n.Status?.Message) },
      Availability: { heading: 'AVAILABILITY', value: (n) => title(n.Spec.Availability) },
      ManagerStatus: { heading: 'MANAGER STATUS', value: (n) => title(n.ManagerStatus?.Reachability ?? '') },
      EngineVersion: { heading: 'ENGINE VERSION', value: (n) => n.Description?.Engine?.EngineVersion ?? '' },
      Self: { heading: 'SELF', value: (n) => n.ID === self },
    },
    table: ['ID', 'Hostname', 'Status', 'Availability', 'ManagerStatus', 'EngineVersion'],
    quiet: (n) => n.ID,
    json: rows,
  })
  return 0
}
